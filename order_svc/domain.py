"""The order's state machine. Pure: no I/O, no clock, no framework.

An order closes exactly once, as completed, rejected or cancelled. Events of different services may
overtake each other, so news of an earlier step that arrives late is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.table import IGNORE, NONE, Refusal, Table, rows, to

_CLOSED = {
    "place": IGNORE,
    "activation_completed": IGNORE,
    "activation_failed": IGNORE,
    "visit_scheduled": IGNORE,
    "fieldwork_completed": IGNORE,
    "fieldwork_rejected": IGNORE,
    "activation_reverted/rejected": IGNORE,
    "activation_reverted/cancelled": IGNORE,
}

_OPEN = {
    "place": IGNORE,
    "fieldwork_completed": to("completed", "order_completed"),
    "fieldwork_rejected": to("rejecting"),
    "activation_reverted/rejected": to("rejected", "order_rejected"),
    "activation_reverted/cancelled": to("cancelled", "order_cancelled"),
    "cancel": to("cancelling", "order_cancel_requested"),
}

CONSUMES = (
    "activation_completed", "activation_failed", "visit_scheduled",
    "fieldwork_completed", "fieldwork_rejected", "activation_reverted",
)
"""The events this service acts on: its `@batch_handler` and the saga model test both read them here."""

TABLE = Table(
    name="order",
    rows=rows(
        (NONE, {"place": to("placed", "order_placed"), "cancel": Refusal("there is no such order")}),
        ("placed", _OPEN | {
            "activation_completed": to("activated"),
            "activation_failed": to("fallout"),
            "visit_scheduled": to("scheduled"),
        }),
        ("fallout", _OPEN | {
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
        ("cancelling", _OPEN | {
            "cancel": IGNORE,
            "activation_completed": IGNORE,
            "activation_failed": IGNORE,
            "visit_scheduled": IGNORE,
        }),
        ("rejecting", _OPEN | {
            "cancel": Refusal("the installation was rejected on site; the order is being closed"),
            "fieldwork_rejected": IGNORE,
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
