"""After a restore: which visits were asked for and agreed since the backup, from events that MyPage still has.

Activation does not ask twice for a visit that was accepted, so what its `activation_completed` says is taken over too.
Calls that came to no appointment are forgotten: the customer is called again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from chassis import recall as chassis_recall
from chassis.db import Tx
from chassis.table import NONE
from contracts.events import (
    ActivationCompleted,
    Event,
    OrderPlaced,
    VisitCancelled,
    VisitCancelRequested,
    VisitScheduled,
)
from scheduling_svc import appointments, models
from scheduling_svc.domain import TABLE, Visit
from scheduling_svc.service import SAGA

OWN = ("visit_scheduled", "visit_cancel_requested", "visit_cancelled")
BOOKED_BY = "restore"


def recall(tx: Tx, events: Iterable[Event]) -> int:
    """Take over accepted requests and scheduling's own events that it does not know; returns how many events."""
    told = list(events)
    lost = chassis_recall.lost(tx, told, OWN)
    asked = _asked(told)
    visits = SAGA.load(tx, {*asked, *(event.order_id for event in lost)}) if asked or lost else {}
    for order_id, order in asked.items():
        if visits[order_id].state == NONE:
            visits[order_id] = _requested(visits[order_id], order)
    for event in lost:
        visits[event.order_id] = recalled(visits[event.order_id], event)
    SAGA.store(tx, [visit for visit in visits.values() if visit.state != NONE])
    _book(tx, [visits[order_id] for order_id in dict.fromkeys(event.order_id for event in lost)])
    chassis_recall.keep(tx, lost)
    return len(lost)


def recalled(visit: Visit, event: Event) -> Visit:
    """The visit after one event of its own. Nothing changes one that is closed."""
    if visit.state in TABLE.final:
        return visit
    match event:
        case VisitScheduled() if event.revision > visit.revision:
            agreed: dict[str, Any] = event.model_dump(mode="json", include={"customer", "address", "items"})
            return replace(
                visit, state="scheduled", **agreed, requested_at=visit.requested_at or event.occurred_at,
                window_start=event.window_start, window_end=event.window_end, technician_id=event.technician_id,
                technician_name=event.technician_name, revision=event.revision, next_call_at=None, flag_reason=None,
            )
        case VisitCancelRequested(reason=reason):
            return replace(visit, state="cancelling", cancel_reason=reason, next_call_at=None)
        case VisitCancelled(reason=reason):
            return replace(visit, state="cancelled", cancel_reason=reason, next_call_at=None)
    return visit


def _asked(told: Iterable[Event]) -> dict[UUID, OrderPlaced]:
    """The orders whose visit was accepted."""
    placed: dict[UUID, OrderPlaced] = {}
    accepted: set[UUID] = set()
    for event in told:
        match event:
            case OrderPlaced():
                placed[event.order_id] = event
            case ActivationCompleted():
                accepted.add(event.order_id)
    return {order_id: placed[order_id] for order_id in accepted & placed.keys()}


def _requested(visit: Visit, order: OrderPlaced) -> Visit:
    asked: dict[str, Any] = order.model_dump(mode="json", include={"customer", "address", "items"})
    return replace(visit, state="requested", requested_at=order.occurred_at, **asked)


def _book(tx: Tx, visits: list[Visit]) -> None:
    """Book what is agreed, after everything that these visits had booked is free: they may have swapped windows."""
    if not visits:
        return
    table = models.bookings
    mine = table.c.order_id.in_([visit.order_id for visit in visits]) & table.c.released_at.is_(None)
    tx.conn.execute(sa.update(table).where(mine).values(released_at=tx.now))
    rows = [
        {
            "id": tx.new_id(), "order_id": visit.order_id, "technician_id": visit.technician_id,
            "window_start": visit.window_start, "window_end": visit.window_end, "booked_by": BOOKED_BY,
            "booked_at": tx.now,
        }
        for visit in visits if visit.state in ("scheduled", "cancelling") and visit.technician_id is not None
    ]
    if rows:
        # A window that a visit still has which is about to be closed, by news that are on their way.
        tx.conn.execute(pg.insert(table).values(rows).on_conflict_do_nothing(
            index_elements=["technician_id", "window_start"], index_where=table.c.released_at.is_(None)
        ))  # fmt: skip
    appointments.free(tx, [visit.order_id for visit in visits if visit.state in TABLE.final])
