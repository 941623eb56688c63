"""After a restore: what the order book did since the backup, from its own events, which MyPage still has.

The steps between (activated, scheduled, rejecting) come by themselves, with the other services' events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis import recall as chassis_recall
from chassis.db import Tx
from chassis.table import NONE
from contracts.events import Event, OrderCancelled, OrderCancelRequested, OrderCompleted, OrderPlaced, OrderRejected
from contracts.orders import OrderRequest
from order_svc.domain import TABLE, Order, content_hash
from order_svc.service import SAGA

OWN = ("order_placed", "order_cancel_requested", "order_completed", "order_rejected", "order_cancelled")


@dataclass(frozen=True, slots=True)
class Taken:
    """What only the gateway's journal knows of an order."""

    accepted_at: datetime
    idempotency_key: str | None


def recall(tx: Tx, events: Iterable[Event], taken: Mapping[UUID, Taken]) -> int:
    """Take over the order book's own events that it does not know; returns how many.

    An order whose place in the book was lost comes back; `taken`: journal entries by order id, where there are any.
    """
    lost = chassis_recall.lost(tx, events, OWN)
    orders = SAGA.load(tx, (event.order_id for event in lost)) if lost else {}
    for event in lost:
        orders[event.order_id] = recalled(orders[event.order_id], event, taken.get(event.order_id))
    SAGA.store(tx, [order for order in orders.values() if order.state != NONE])
    chassis_recall.keep(tx, lost)
    return len(lost)


def recalled(order: Order, event: Event, taken: Taken | None = None) -> Order:
    """The order after one event of its own. Nothing changes one that is closed, or that was never placed."""
    if order.state == NONE:
        return _placed(order, event, taken) if isinstance(event, OrderPlaced) else order
    if order.state in TABLE.final:
        return order
    match event:
        case OrderCancelRequested():
            return replace(
                order, state="cancelling", cancel_reason=event.reason, cancel_requested_by=event.requested_by
            )
        case OrderCompleted():
            return replace(order, state="completed", cancel_refused=event.cancel_refused)
        case OrderRejected():
            return replace(order, state="rejected", rejection_reason=event.reason)
        case OrderCancelled():
            return replace(order, state="cancelled", cancel_reason=event.reason or order.cancel_reason)
    return order


def _placed(order: Order, event: OrderPlaced, taken: Taken | None) -> Order:
    content: dict[str, Any] = event.model_dump(mode="json", include={"customer", "address", "items"})
    return replace(
        order, state="placed", **content, content_hash=content_hash(OrderRequest.model_validate(content)),
        accepted_at=taken.accepted_at if taken else event.occurred_at,
        idempotency_key=taken.idempotency_key if taken else None,
    )
