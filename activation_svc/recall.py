"""After a restore: which activations were done since the backup, from their own events, which MyPage still has.

An order whose visit scheduling has taken on must not begin from nothing: a cancel would then be turned round here, and
the visit would stand for ever. So it is live again, with resources given out anew; what that means on the elements,
`reconcile.py` writes before anything works.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from activation_svc import inventory
from activation_svc.beliefs import LIVE_STATES
from activation_svc.domain import TABLE, Activation
from activation_svc.models import table
from activation_svc.plan import Holding, lines_of, needs_of
from activation_svc.registry import described_in
from activation_svc.service import SAGA
from activation_svc.worker_settings import worker_settings
from chassis import recall as chassis_recall
from chassis.db import Tx
from chassis.table import NONE
from contracts.events import (
    ActivationCancelRequested,
    ActivationCompleted,
    ActivationFailed,
    ActivationReverted,
    Event,
    OrderPlaced,
)
from contracts.orders import OrderItem

OWN = ("activation_completed", "activation_failed", "activation_cancel_requested", "activation_reverted")
BEFORE_A_VISIT = (NONE, "provisioning", "fallout")


def recall(tx: Tx, events: Iterable[Event], asked: Collection[UUID]) -> int:
    """Take over activation's own events that it does not know; returns how many.

    `asked`: the orders whose visit scheduling has taken on.
    """
    told = list(events)
    lost = chassis_recall.lost(tx, told, OWN)
    placed = {event.order_id: event for event in told if isinstance(event, OrderPlaced)}
    order_ids = {event.order_id for event in lost} | (set(asked) & placed.keys())
    before = SAGA.load(tx, order_ids) if order_ids else {}
    after = {order_id: _filled(row, placed.get(order_id)) for order_id, row in before.items()}
    for event in lost:
        after[event.order_id] = recalled(after[event.order_id], event, tx.now)
    for order_id in asked:
        if order_id in after and after[order_id].state in BEFORE_A_VISIT:
            after[order_id] = _at_rest(after[order_id], "provisioned", tx.now)
    changed = {order_id: row for order_id, row in after.items() if row.state != before[order_id].state}
    changed |= _supplied(tx, {order_id: row for order_id, row in changed.items() if row.state in LIVE_STATES})
    SAGA.store(tx, list(changed.values()))
    _let_go(tx, [order_id for order_id, row in changed.items() if row.state == "reverted"])
    chassis_recall.keep(tx, lost)
    return len(lost)


def recalled(row: Activation, event: Event, now: datetime) -> Activation:
    """The activation after one event of its own. Nothing changes one that is closed."""
    if row.state in TABLE.final:
        return row
    match event:
        case ActivationCompleted() if row.state in (*BEFORE_A_VISIT, "provisioned"):
            return _at_rest(row, "active", None)
        case ActivationFailed(reason=reason, element=element, attempts=attempts) if row.state in BEFORE_A_VISIT:
            failed = replace(row, attempts=attempts, last_error=reason, failed_element=element)
            return replace(failed, state="fallout", next_attempt_at=None, gives_up=False, stuck_since=now)
        case ActivationCancelRequested(reason=reason):
            return replace(_at_rest(row, "cancelling", None), reason=reason)
        case ActivationReverted(reason=reason):
            return replace(_at_rest(row, "reverted", None), reason=reason, lines=[])
    return row


def _filled(row: Activation, order: OrderPlaced | None) -> Activation:
    """What the order says, where the activation is new."""
    if order is None or row.state != NONE:
        return row
    content: dict[str, Any] = order.model_dump(mode="json", include={"customer", "address", "items"})
    return replace(row, **content)


def _at_rest(row: Activation, state: str, due_at: datetime | None) -> Activation:
    return replace(
        row, state=state, attempts=0, visit_attempts=0, next_attempt_at=due_at, gives_up=False, last_error=None,
        failed_element=None, stuck_since=None,
    )


def _supplied(tx: Tx, rows: Mapping[UUID, Activation]) -> dict[UUID, Activation]:
    """The same activations with resources given out for what they lack; who gets none provisions like a new order."""
    held = inventory.held(tx.conn, list(rows)) if rows else {}
    needs = {
        order_id: inventory.lacking(needs_of(_items(row)), held.get(order_id, {})) for order_id, row in rows.items()
    }
    kinds = {name: element.kind for name, element in described_in(worker_settings({})).items()}
    given = inventory.allocate_exactly(tx.conn, {one: need for one, need in needs.items() if need}, kinds)
    supplied = {}
    for order_id, row in rows.items():
        if order_id in given.exhausted:
            supplied[order_id] = _at_rest(row, "provisioning", tx.now)
            continue
        holding: Holding = inventory.together(held.get(order_id, {}), given.holdings.get(order_id, {}))
        lines = [line.as_line() for line in lines_of(_items(row), holding)]
        supplied[order_id] = replace(row, lines=lines)
    return supplied


def _items(row: Activation) -> list[OrderItem]:
    return [OrderItem.model_validate(item) for item in row.items]


def _let_go(tx: Tx, order_ids: list[UUID]) -> None:
    """What they held is free; what still stands in their name is removed by the reconciliation."""
    if order_ids:
        tx.conn.execute(sa.update(table).where(table.c.order_id.in_(order_ids)).values(snapshot=None))
        inventory.release(tx.conn, order_ids)
