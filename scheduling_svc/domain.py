"""The visit's state machine. Pure: no I/O, no clock, no framework.

`requested` visits wait in the call queue; `flagged` ones too, but need an operator's eye (too many missed
calls, or the customer refused). The cancel of a visit that nobody asked for yet leaves a tombstone.
The rules for visit windows and technicians are in `windows.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from chassis.table import IGNORE, NONE, Refusal, Row, Table, rows, to
from contracts.errors import Invalid
from contracts.events import ActivationCancelRequested, Event, VisitCancelled, VisitCancelRequested, VisitScheduled
from contracts.rpc import CallOutcome, VisitRequest

_CLOSED_WHY = "the visit is closed"
_UNKNOWN_WHY = "no visit has been requested for this order"

_IN_QUEUE: dict[str, Row] = {
    "request_visit": IGNORE,
    "missed": to("requested"),
    "flag": to("flagged"),
    "agree": to("scheduled", "visit_scheduled"),
    "activation_cancel_requested": to("cancelled", "visit_cancelled"),
}

_CLOSED: dict[str, Row] = {
    "request_visit": IGNORE,
    "activation_cancel_requested": IGNORE,
    "fieldwork_completed": IGNORE,
    "fieldwork_rejected": IGNORE,
    "fieldwork_cancelled": IGNORE,
    "missed": Refusal(_CLOSED_WHY),
    "flag": Refusal(_CLOSED_WHY),
    "agree": Refusal(_CLOSED_WHY),
}

CONSUMES = (
    "activation_cancel_requested", "fieldwork_completed", "fieldwork_rejected", "fieldwork_cancelled",
)
"""The events this service acts on: its `@batch_handler` and the saga model test both read them here."""

TABLE = Table(
    name="scheduling",
    rows=rows(
        (NONE, {
            "request_visit": to("requested"),
            "activation_cancel_requested": to("cancelled", "visit_cancelled"),
            "missed": Refusal(_UNKNOWN_WHY),
            "flag": Refusal(_UNKNOWN_WHY),
            "agree": Refusal(_UNKNOWN_WHY),
        }),
        ("requested", _IN_QUEUE),
        ("flagged", _IN_QUEUE | {"missed": to("flagged")}),
        ("scheduled", {
            "request_visit": IGNORE,
            "missed": Refusal("the visit is already agreed"),
            "flag": Refusal("the visit is already agreed"),
            "agree": to("scheduled", "visit_scheduled"),
            "activation_cancel_requested": to("cancelling", "visit_cancel_requested"),
            "fieldwork_completed": to("completed"),
            "fieldwork_rejected": to("rejected"),
        }),
        ("cancelling", {
            "request_visit": IGNORE,
            "missed": Refusal("the visit is being cancelled"),
            "flag": Refusal("the visit is being cancelled"),
            "agree": Refusal("the visit is being cancelled"),
            "activation_cancel_requested": IGNORE,
            "fieldwork_cancelled": to("cancelled", "visit_cancelled"),
            "fieldwork_completed": to("completed"),
            "fieldwork_rejected": to("rejected"),
        }),
        ("cancelled", _CLOSED),
        ("completed", _CLOSED),
        ("rejected", _CLOSED),
    ),
    final=frozenset({"cancelled", "completed", "rejected"}),
)

IN_QUEUE = ("requested", "flagged")
"""The states of a visit that somebody should call about."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One order's visit; a row of `visits`. A tombstone (cancelled before it was asked for) has no customer.

    `customer`, `address` and `items` are the JSON forms of the types in `contracts.orders`. `next_call_at` is
    None where the customer may be called at any time.
    """

    order_id: UUID
    state: str = NONE
    customer: dict[str, Any] | None = None
    address: dict[str, Any] | None = None
    items: list[dict[str, Any]] | None = None
    requested_at: datetime | None = None
    calls: int = 0
    missed_calls: int = 0
    last_outcome: str | None = None
    next_call_at: datetime | None = None
    flag_reason: str | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None
    technician_id: str | None = None
    technician_name: str | None = None
    revision: int = 0
    cancel_reason: str = ""


@dataclass(frozen=True, slots=True)
class RequestVisit:
    """Activation wants somebody to go there. Repeating it changes nothing."""

    trigger: ClassVar[str] = "request_visit"
    order_id: UUID
    customer: dict[str, Any]
    address: dict[str, Any]
    items: list[dict[str, Any]]
    message_id: str | None = None


def requested(request: VisitRequest) -> RequestVisit:
    """The command that a request over RPC is."""
    value = request.model_dump(mode="json", include={"customer", "address", "items"})
    return RequestVisit(request.order_id, value["customer"], value["address"], value["items"])


@dataclass(frozen=True, slots=True)
class CallRecorded:
    """A call was made; made by `judge_call`.

    The table knows two kinds of call: after `missed` the visit stays in the queue as it was (also where the
    customer answered and no appointment is fixed yet), after `flag` an operator must look at it.
    """

    trigger: str
    order_id: UUID
    outcome: CallOutcome
    missed_calls: int
    next_call_at: datetime | None = None
    flag_reason: str | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class FixAppointment:
    """A visit window and a technician, already booked in this transaction. `called`: agreed in a call, which counts."""

    trigger: ClassVar[str] = "agree"
    order_id: UUID
    window_start: datetime
    window_end: datetime
    technician_id: str
    technician_name: str
    called: bool = False
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """`max_missed` missed calls flag a visit; until then the pause doubles from `retry_s` up to `retry_max_s`."""

    max_missed: int
    retry_s: float
    retry_max_s: float
    horizon: timedelta

    def pause(self, missed_calls: int) -> timedelta:
        """How long to wait after the `missed_calls`-th missed call (counted from 1) before the next try."""
        doublings = min(max(missed_calls, 1) - 1, 30)
        return timedelta(seconds=min(self.retry_s * 2**doublings, self.retry_max_s))


def judge_call(
    visit: Visit, outcome: CallOutcome, note: str, call_back_at: datetime | None, policy: CallPolicy, now: datetime
) -> CallRecorded:
    """Decide what a call's outcome means for the visit (issue 2, point 6).

    `agreed` only records that the customer will take a visit: the visit stays in the queue until an appointment
    is fixed. Missed calls are counted over the visit's whole life. Raises Invalid naming `call_back_at`.
    """
    _check_call_back(outcome, call_back_at, policy, now)
    if outcome == "refused":
        reason = f"the customer refused: {note}" if note else "the customer refused"
        return CallRecorded("flag", visit.order_id, outcome, visit.missed_calls, None, reason)
    if outcome == "no_answer":
        missed = visit.missed_calls + 1
        next_call_at = now + policy.pause(missed)
        if missed >= policy.max_missed:
            reason = f"{missed} call(s) were missed"
            return CallRecorded("flag", visit.order_id, outcome, missed, next_call_at, reason)
        return CallRecorded("missed", visit.order_id, outcome, missed, next_call_at)
    return CallRecorded("missed", visit.order_id, outcome, visit.missed_calls, call_back_at, visit.flag_reason)


def _check_call_back(outcome: CallOutcome, at: datetime | None, policy: CallPolicy, now: datetime) -> None:
    if outcome != "call_back":
        message = None if at is None else "only goes with the outcome call_back"
    elif at is None:
        message = "is required with the outcome call_back"
    elif at <= now:
        message = f"must be in the future; it is {now:%Y-%m-%dT%H:%M:%SZ} now"
    elif at > now + policy.horizon:
        message = f"must be within {policy.horizon.days} days"
    else:
        message = None
    if message is not None:
        raise Invalid(f"call_back_at {message}", [{"field": "call_back_at", "message": message}])


def why_call(visit: Visit) -> str | None:
    """Why the customer should be called, for the queue; None where nobody needs to call."""
    if visit.state not in IN_QUEUE:
        return None
    if visit.last_outcome is None:
        return "new"
    return {"agreed": "appointment_open", "call_back": "call_back_promised"}.get(
        visit.last_outcome, visit.last_outcome
    )


def evolve(visit: Visit, message: Any, now: datetime) -> Visit:
    """Take over what `message` carries; the state is the table's business."""
    match message:
        case RequestVisit():
            return replace(
                visit, customer=message.customer, address=message.address, items=message.items, requested_at=now
            )
        case CallRecorded():
            return replace(
                visit, calls=visit.calls + 1, missed_calls=message.missed_calls, last_outcome=message.outcome,
                next_call_at=message.next_call_at, flag_reason=message.flag_reason,
            )
        case FixAppointment():
            return replace(
                visit, window_start=message.window_start, window_end=message.window_end,
                technician_id=message.technician_id, technician_name=message.technician_name,
                revision=visit.revision + 1, next_call_at=None, flag_reason=None,
                calls=visit.calls + message.called,
                last_outcome="agreed" if message.called else visit.last_outcome,
            )
        case ActivationCancelRequested():
            return replace(visit, cancel_reason=message.reason, next_call_at=None)
    return visit


def event(name: str, visit: Visit, message: Any, envelope: Mapping[str, Any]) -> Event:
    """Build the event that the table names, from the visit as it now stands."""
    match name:
        case "visit_scheduled":
            return VisitScheduled.model_validate({
                **envelope, "revision": visit.revision,
                "window_start": visit.window_start, "window_end": visit.window_end,
                "technician_id": visit.technician_id, "technician_name": visit.technician_name,
                "customer": visit.customer, "address": visit.address, "items": visit.items,
            })
        case "visit_cancel_requested":
            return VisitCancelRequested(**envelope, reason=visit.cancel_reason)
        case "visit_cancelled":
            return VisitCancelled(**envelope, reason=visit.cancel_reason)
    raise ValueError(f"scheduling emits no {name!r}")
