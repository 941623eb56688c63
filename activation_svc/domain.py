"""The activation's state machine. Pure: no I/O, no clock, no framework.

Besides events it is driven by its own workers' outcomes: `provisioned`, `provision_failed`, `reverted`
(network elements) and `visit_accepted`, `visit_refused` (the synchronous call to scheduling). While
scheduling cannot be reached there is no outcome, and the activation stays `provisioned`.
"""

from __future__ import annotations

from chassis.table import IGNORE, NONE, Refusal, Table, rows, to

_UNKNOWN_WHY = "there is no activation for this order"

_REVERTING = {
    "order_placed": IGNORE,
    "order_cancel_requested": IGNORE,
    "provisioned": IGNORE,
    "provision_failed": IGNORE,
    "visit_accepted": IGNORE,
    "visit_refused": IGNORE,
    "visit_cancelled": IGNORE,
    "fieldwork_rejected": IGNORE,
    "retry": Refusal("the activation is being put back"),
    "abandon": Refusal("the activation is being put back already"),
}

_NOT_FALLOUT = {
    "retry": Refusal("there is no fallout case for this order"),
    "abandon": Refusal("there is no fallout case for this order"),
}

CONSUMES = (
    "order_placed", "order_cancel_requested", "visit_cancelled", "fieldwork_completed", "fieldwork_rejected",
)
"""The events this service acts on: its `@batch_handler` and the saga model test both read them here."""

TABLE = Table(
    name="activation",
    rows=rows(
        (NONE, {
            "order_placed": to("provisioning"),
            "retry": Refusal(_UNKNOWN_WHY),
            "abandon": Refusal(_UNKNOWN_WHY),
            # The cancel overtook its order: a tombstone, so that nothing is provisioned afterwards.
            "order_cancel_requested": to("reverted", "activation_reverted/cancelled"),
        }),
        ("provisioning", _NOT_FALLOUT | {
            "order_placed": IGNORE,
            "provisioned": to("provisioned"),
            "provision_failed": to("fallout", "activation_failed"),
            "order_cancel_requested": to("reverting_cancelled"),
        }),
        ("fallout", {
            "order_placed": IGNORE,
            "retry": to("provisioning"),
            "abandon": to("reverting_cancelled"),
            "order_cancel_requested": to("reverting_cancelled"),
        }),
        ("provisioned", _NOT_FALLOUT | {
            "order_placed": IGNORE,
            "visit_accepted": to("active", "activation_completed"),
            # A visit may have been asked for even where no answer came back, so the cancel travels down.
            "order_cancel_requested": to("cancelling", "activation_cancel_requested"),
            # The request took effect though its answer was lost, and the job is already done.
            "fieldwork_completed": to("in_service", "activation_completed"),
            "fieldwork_rejected": to("reverting_rejected", "activation_completed"),
        }),
        ("active", _NOT_FALLOUT | {
            "order_placed": IGNORE,
            "visit_accepted": IGNORE,
            "order_cancel_requested": to("cancelling", "activation_cancel_requested"),
            "fieldwork_completed": to("in_service"),
            "fieldwork_rejected": to("reverting_rejected"),
        }),
        ("cancelling", _NOT_FALLOUT | {
            "order_placed": IGNORE,
            "order_cancel_requested": IGNORE,
            "visit_accepted": IGNORE,
            "visit_refused": IGNORE,
            "visit_cancelled": to("reverting_cancelled"),
            "fieldwork_completed": to("in_service"),
            "fieldwork_rejected": to("reverting_rejected"),
        }),
        ("reverting_cancelled", _REVERTING | {"reverted": to("reverted", "activation_reverted/cancelled")}),
        ("reverting_rejected", _REVERTING | {"reverted": to("reverted", "activation_reverted/rejected")}),
        ("reverted", _REVERTING | _NOT_FALLOUT | {"reverted": IGNORE}),
        ("in_service", _NOT_FALLOUT | {
            "order_placed": IGNORE,
            "order_cancel_requested": IGNORE,
            "visit_accepted": IGNORE,
            "fieldwork_completed": IGNORE,
        }),
    ),
    final=frozenset({"reverted", "in_service"}),
)
