"""The activation's state machine. Pure: no I/O, no clock, no framework.

Besides events it is driven by its own workers' outcomes: `provisioned`, `provision_failed`, `reverted`
(network elements) and `visit_accepted`, `visit_refused` (the synchronous call to scheduling). While
scheduling cannot be reached there is no outcome, and the activation stays `provisioned`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from activation_svc.commands import Abandon, FailedTry, Provisioned, ProvisionFailed, Retry, Reverted
from chassis.table import IGNORE, NONE, Refusal, Row, Table, rows, to
from contracts.events import (
    ActivationCancelRequested,
    ActivationCompleted,
    ActivationFailed,
    ActivationReverted,
    Event,
    FieldworkRejected,
    OrderCancelRequested,
    OrderPlaced,
    VisitCancelled,
)

_UNKNOWN_WHY = "there is no activation for this order"

_REVERTING: dict[str, Row] = {
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

_NOT_FALLOUT: dict[str, Row] = {
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


@dataclass(frozen=True, slots=True)
class Activation:
    """One order's activation.

    `lines` as `contracts.events.Line`; `attempts` and `visit_attempts` count failed tries of the present step;
    `gives_up`: the tries are used up, what was written is to be put back, then a person is asked. `tried` holds
    the last tries as `{"at", "step", "element", "error", "ports"}`; `traceparent` is the order's own trace, for what
    the workers cause; `lease_owner` works on the order until `lease_until` (`leases.py`).
    """

    order_id: UUID
    state: str = NONE
    customer: dict[str, Any] | None = None
    address: dict[str, Any] | None = None
    items: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    attempts: int = 0
    visit_attempts: int = 0
    next_attempt_at: datetime | None = None
    gives_up: bool = False
    last_error: str | None = None
    failed_element: str | None = None
    stuck_since: datetime | None = None
    tried: list[dict[str, Any]] = field(default_factory=list)
    traceparent: str | None = None
    lease_owner: str | None = None
    lease_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How often provisioning is tried, and how long between tries (seconds; doubling from first to longest)."""

    attempts: int
    refused_attempts: int
    first_delay_s: float
    longest_delay_s: float
    revert_alarm_after: int


TRIED_KEPT = 10


def evolve(row: Activation, message: Any, now: datetime) -> Activation:
    """Take over what `message` says into the activation; its state is the table's business."""
    fresh = replace(
        row, attempts=0, visit_attempts=0, next_attempt_at=now, gives_up=False,
        last_error=None, failed_element=None, stuck_since=None,
    )
    match message:
        case OrderPlaced():
            order = message.model_dump(mode="json", include={"customer", "address", "items"})
            return replace(fresh, traceparent=message.traceparent, **order)
        case OrderCancelRequested() | VisitCancelled():
            return replace(fresh, reason=message.reason or row.reason)
        case FieldworkRejected():
            return replace(fresh, reason=": ".join(filter(None, (message.reason_code, message.note))))
        case Provisioned():
            return replace(fresh, lines=list(message.lines))
        case ProvisionFailed():
            tried = row.tried if message.not_restored is None else with_try(row.tried, message.not_restored, now)
            return replace(row, next_attempt_at=None, gives_up=False, stuck_since=now, tried=tried)
        case Reverted():
            return replace(fresh, lines=[], next_attempt_at=None)
        case Abandon():
            return replace(fresh, reason=message.reason or f"abandoned by {message.by or 'an operator'}")
        case Retry():
            return fresh
    return replace(fresh, next_attempt_at=None)


def event(name: str, row: Activation, message: Any, envelope: Mapping[str, Any]) -> Event:
    """Build the event that the table named for what `message` did to the activation."""
    match name:
        case "activation_completed":
            return ActivationCompleted(**envelope, lines=row.lines)
        case "activation_failed":
            return ActivationFailed(
                **envelope, reason=row.last_error or "unknown", element=row.failed_element, attempts=row.attempts
            )
        case "activation_cancel_requested":
            return ActivationCancelRequested(**envelope, reason=row.reason)
        case "activation_reverted/rejected" | "activation_reverted/cancelled":
            return ActivationReverted(**envelope, outcome=name.partition("/")[2], reason=row.reason)
    raise ValueError(f"{type(message).__name__} does not cause {name!r}")


def after_failure(row: Activation, failed: FailedTry, patience: Patience, jitter: float, now: datetime) -> Activation:
    """What a failed try leaves behind. The state stays; only when and whether to try again changes.

    Provisioning gives up after `patience.attempts` tries, sooner where the element refused. Putting back is
    tried for ever, and shown to operators after `patience.revert_alarm_after` tries.
    """
    attempts = row.attempts + 1
    gives_up = False
    stuck_since = row.stuck_since
    if row.state == "provisioning":
        gives_up = attempts >= (patience.refused_attempts if failed.refused else patience.attempts)
    elif attempts >= patience.revert_alarm_after:
        stuck_since = row.stuck_since or now
    delay_s = 0.0 if gives_up else retry_delay_s(attempts, patience.first_delay_s, patience.longest_delay_s, jitter)
    return replace(
        row, attempts=attempts, gives_up=gives_up, next_attempt_at=now + timedelta(seconds=delay_s),
        last_error=failed.error, failed_element=failed.element, stuck_since=stuck_since,
        tried=with_try(row.tried, failed, now),
    )


def with_try(tried: list[dict[str, Any]], failed: FailedTry, now: datetime) -> list[dict[str, Any]]:
    """The list of failed tries, as operators see it, with one more; only the last are kept."""
    latest = {"at": now.isoformat(), "step": failed.step, "element": failed.element, "error": failed.error,
              "ports": list(failed.ports)}
    return [*tried, latest][-TRIED_KEPT:]


def retry_delay_s(attempt: int, first_s: float, longest_s: float, jitter: float) -> float:
    """Seconds until the try after the `attempt`th: doubling, capped, and shortened by up to a half.

    `jitter` is a random number in [0, 1), so that many orders that failed together do not return together.
    """
    full: float = min(longest_s, first_s * 2.0 ** min(attempt - 1, 30))
    return full * (1.0 - jitter / 2.0)
