"""The order's state machine. Pure: no I/O, no clock, no framework.

An order closes exactly once, as completed, rejected or cancelled. Events of different services may
overtake each other, so news of an earlier step that arrives late is ignored.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from chassis.table import IGNORE, NONE, Refusal, Row, Table, rows, to
from contracts import events
from contracts.orders import OrderRequest
from contracts.rpc import PlaceOrder

_CLOSED: dict[str, Row] = {
    "place": IGNORE,
    "activation_completed": IGNORE,
    "activation_failed": IGNORE,
    "visit_scheduled": IGNORE,
    "fieldwork_completed": IGNORE,
    "fieldwork_rejected": IGNORE,
    "activation_reverted/rejected": IGNORE,
    "activation_reverted/cancelled": IGNORE,
}

_OPEN: dict[str, Row] = {
    "place": IGNORE,
    "fieldwork_completed": to("completed", "order_completed"),
    "fieldwork_rejected": to("rejecting"),
    "activation_reverted/rejected": to("rejected", "order_rejected"),
    "cancel": to("cancelling", "order_cancel_requested"),
}

# The activation is put back as cancelled after a cancel, or where an operator abandons one that never worked.
_CALLED_OFF: dict[str, Row] = {"activation_reverted/cancelled": to("cancelled", "order_cancelled")}

CONSUMES = (
    "activation_completed", "activation_failed", "visit_scheduled",
    "fieldwork_completed", "fieldwork_rejected", "activation_reverted",
)
"""The events this service acts on: its `@batch_handler` and the saga model test both read them here."""

TABLE = Table(
    name="order",
    rows=rows(
        (NONE, {"place": to("placed", "order_placed"), "cancel": Refusal("there is no such order")}),
        ("placed", _OPEN | _CALLED_OFF | {
            "activation_completed": to("activated"),
            "activation_failed": to("fallout"),
            "visit_scheduled": to("scheduled"),
        }),
        ("fallout", _OPEN | _CALLED_OFF | {
            "activation_completed": to("activated"),
            "activation_failed": IGNORE,
            "visit_scheduled": to("scheduled"),
        }),
        ("activated", _OPEN | {
            "activation_completed": IGNORE,
            "activation_failed": IGNORE,
            "visit_scheduled": to("scheduled"),
        }),
        ("scheduled", _OPEN | {
            "activation_completed": IGNORE,
            "activation_failed": IGNORE,
            "visit_scheduled": IGNORE,
        }),
        ("cancelling", _OPEN | _CALLED_OFF | {
            "cancel": IGNORE,
            "activation_completed": IGNORE,
            "activation_failed": IGNORE,
            "visit_scheduled": IGNORE,
        }),
        ("rejecting", {
            "place": IGNORE,
            "cancel": Refusal("the installation was rejected on site; the order is being closed"),
            "fieldwork_rejected": IGNORE,
            "activation_reverted/rejected": to("rejected", "order_rejected"),
            "activation_completed": IGNORE,
            "activation_failed": IGNORE,
            "visit_scheduled": IGNORE,
        }),
        ("completed", _CLOSED | {"cancel": Refusal("the work is done; the order is completed")}),
        ("rejected", _CLOSED | {"cancel": Refusal("the order is closed: rejected")}),
        ("cancelled", _CLOSED | {"cancel": Refusal("the order is closed: cancelled")}),
    ),
    final=frozenset({"completed", "rejected", "cancelled"}),
)


@dataclass(frozen=True, slots=True)
class Order:
    """One order as order_svc keeps it. `customer`, `address` and `items` are JSON as in `OrderRequest`."""

    order_id: UUID
    state: str = NONE
    customer: dict[str, Any] = field(default_factory=dict)
    address: dict[str, Any] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)
    accepted_at: datetime | None = None
    idempotency_key: str | None = None
    content_hash: str = ""
    cancel_reason: str = ""
    cancel_requested_by: str = ""
    cancel_refused: bool = False
    rejection_reason: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Store an order that the gateway accepted. Repeating it changes nothing."""

    request: PlaceOrder
    trigger: ClassVar[str] = "place"
    message_id: None = None

    @property
    def order_id(self) -> UUID:
        return self.request.order_id

    @property
    def traceparent(self) -> str | None:
        """The trace of the subscriber's own request, however many orders were forwarded with it."""
        return self.request.traceparent


@dataclass(frozen=True, slots=True)
class Cancel:
    """The subscriber, or an operator for them, wants out."""

    order_id: UUID
    reason: str = ""
    requested_by: str = ""
    trigger: ClassVar[str] = "cancel"
    message_id: None = None


def content_hash(request: OrderRequest) -> str:
    """The same for two requests that order the same for the same customer, whatever their ids and times."""
    content = request.model_dump(mode="json", include={"customer", "address", "items"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def evolve(order: Order, message: Any, now: datetime) -> Order:
    """Take over what the message carries; the table decides the state."""
    match message:
        case Place(request=request):
            content = request.model_dump(mode="json")
            return replace(
                order,
                customer=content["customer"],
                address=content["address"],
                items=content["items"],
                accepted_at=request.accepted_at,
                idempotency_key=request.idempotency_key,
                content_hash=content_hash(request),
            )
        case Cancel(reason=reason, requested_by=requested_by):
            return replace(order, cancel_reason=reason, cancel_requested_by=requested_by)
        case events.FieldworkCompleted():
            # The pivot came first: the cancel has lost, and the subscriber is told so.
            return replace(order, cancel_refused=order.state == "cancelling")
        case events.FieldworkRejected(reason_code=code):
            return replace(order, rejection_reason=code)
        case events.ActivationReverted(outcome="rejected", reason=reason):
            return replace(order, rejection_reason=order.rejection_reason or reason)
        case events.ActivationReverted(reason=reason):
            return replace(order, cancel_reason=order.cancel_reason or reason)
        case _:
            return order


def event(name: str, order: Order, message: Any, envelope: dict[str, Any]) -> events.Event:
    """Build the event that the table names."""
    match name:
        case "order_placed":
            return events.OrderPlaced(**envelope, customer=order.customer, address=order.address, items=order.items)
        case "order_cancel_requested":
            return events.OrderCancelRequested(
                **envelope, reason=order.cancel_reason, requested_by=order.cancel_requested_by
            )
        case "order_completed":
            return events.OrderCompleted(**envelope, cancel_refused=order.cancel_refused)
        case "order_rejected":
            return events.OrderRejected(**envelope, reason=order.rejection_reason)
        case "order_cancelled":
            return events.OrderCancelled(**envelope, reason=order.cancel_reason)
    raise ValueError(f"order_svc emits no {name!r}")
