"""The visit's state machine. Pure: no I/O, no clock, no framework.

`requested` visits wait in the call queue; `flagged` ones too, but need an operator's eye (too many missed
calls, or the customer refused). The cancel of a visit that nobody asked for yet leaves a tombstone.
"""

from __future__ import annotations

from chassis.table import IGNORE, NONE, Refusal, Table, rows, to

_CLOSED_WHY = "the visit is closed"
_UNKNOWN_WHY = "no visit has been requested for this order"

_IN_QUEUE = {
    "request_visit": IGNORE,
    "missed": to("requested"),
    "flag": to("flagged"),
    "agree": to("scheduled", "visit_scheduled"),
    "activation_cancel_requested": to("cancelled", "visit_cancelled"),
}

_CLOSED = {
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
