"""The job's state machine. Pure: no I/O, no clock, no framework.

`fieldwork_completed` is the pivot: whichever of complete, reject and cancel reaches the job's row first
decides the order's outcome, and the others have lost.
"""

from __future__ import annotations

from chassis.table import IGNORE, NONE, Refusal, Table, rows, to

_UNKNOWN_WHY = "there is no job for this order"
_CANCELLED_WHY = "the customer cancelled; the job is withdrawn"
_DONE_WHY = "the job is already completed"
_REJECTED_WHY = "the job is already rejected"

_OPEN = {
    "visit_scheduled": to("assigned"),
    "start": to("started"),
    "complete": to("completed", "fieldwork_completed"),
    "reject": to("rejected", "fieldwork_rejected"),
    "visit_cancel_requested": to("cancelled", "fieldwork_cancelled"),
}

_CLOSED = {"visit_scheduled": IGNORE, "visit_cancel_requested": IGNORE}

CONSUMES = (
    "visit_scheduled", "visit_cancel_requested",
)
"""The events this service acts on: its `@batch_handler` and the saga model test both read them here."""

TABLE = Table(
    name="fieldwork",
    rows=rows(
        (NONE, {
            "visit_scheduled": to("assigned"),
            "visit_cancel_requested": to("cancelled", "fieldwork_cancelled"),
            "start": Refusal(_UNKNOWN_WHY), "complete": Refusal(_UNKNOWN_WHY), "reject": Refusal(_UNKNOWN_WHY),
        }),
        ("assigned", _OPEN),
        ("started", _OPEN | {"start": IGNORE}),
        ("completed", _CLOSED | {
            "start": Refusal(_DONE_WHY), "complete": Refusal(_DONE_WHY), "reject": Refusal(_DONE_WHY),
        }),
        ("rejected", _CLOSED | {
            "start": Refusal(_REJECTED_WHY), "complete": Refusal(_REJECTED_WHY), "reject": Refusal(_REJECTED_WHY),
        }),
        ("cancelled", _CLOSED | {
            "start": Refusal(_CANCELLED_WHY), "complete": Refusal(_CANCELLED_WHY),
            "reject": Refusal(_CANCELLED_WHY),
        }),
    ),
    final=frozenset({"completed", "rejected", "cancelled"}),
)
