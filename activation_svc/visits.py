"""Asking scheduling for the visit of each provisioned order: the saga's one synchronous step.

While scheduling cannot be reached, nothing about the order changes but when it is asked for again, and calls pause:
one at a time finds out whether scheduling is back.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from pydantic import TypeAdapter

from activation_svc import leases
from activation_svc.commands import VisitAccepted
from activation_svc.domain import Activation, retry_delay_s
from activation_svc.handover import Handover
from activation_svc.models import VISIT_STATES
from chassis import tracing
from chassis.db import StoreSession, Tx
from chassis.rpc_client import CallFailed, RemoteFault
from chassis.saga import Saga
from contracts.errors import DomainError
from contracts.rpc import VisitAnswer, VisitResult

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.5
CALLING_S = 15.0
"""A round stops calling after this long, well before its leases end (`leases.LEASE_S`)."""


class Scheduling(Protocol):
    """The part of `RpcClient("scheduling")` that is used here."""

    def call(self, method: str, *, fallback: Callable[[CallFailed], Any] | None = None, **arguments: Any) -> Any: ...


class Gate:
    """Holds all workers of this process back while scheduling is not there, and lets one through to find out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._closed = False
        self._until = 0.0
        self._probing = False

    def enter(self, batch: int) -> int:
        """How many orders the caller may take now: `batch`, 1 to find out, or 0. Call `leave` after 1 or more."""
        if not self._closed:
            return batch
        if self._probing or self._clock() < self._until:
            return 0
        self._probing = True
        return 1

    def leave(self, pause_s: float | None) -> None:
        """Say what the calls found: None where scheduling answered, else for how long to leave it alone."""
        self._probing = False
        self._closed = pause_s is not None
        self._until = self._clock() + (pause_s or 0.0)

    def give_up(self) -> None:
        """Nothing was found out, because there was no order to ask for."""
        self._probing = False


@dataclass(frozen=True)
class Visits:
    """What a worker works with. `provisioned` are orders that come to be asked for.

    `batch` orders are asked for at once; `retry_longest_s` caps every wait; `jitter` gives random numbers in [0, 1).
    """

    gate: Gate
    owner: leases.Owner
    batch: int
    retry_longest_s: float
    provisioned: Handover[Activation]
    jitter: Callable[[], float] = random.random

    def no_answer(self, failed: CallFailed) -> NoAnswer:
        """What is known after a call without an answer."""
        return NoAnswer(str(failed), failed.retry_after_s, min(failed.retry_after_s, self.retry_longest_s))


@dataclass(frozen=True)
class NoAnswer:
    """Scheduling did not take the request. `pause_s`: leave it alone altogether; None where only this order failed."""

    why: str
    retry_after_s: float
    pause_s: float | None


Answers = dict[UUID, str | NoAnswer]
"""What came of each order that was asked for: `accepted`, `cancelled`, or no answer."""

_RESULTS = TypeAdapter(list[VisitResult])


def work(
    store: StoreSession, saga: Saga[Activation], scheduling: Scheduling, visits: Visits, *, claims: bool = True
) -> bool:
    """Ask for the visits of some orders that are due; return whether there may be more to ask for.

    `claims`: also for those in the database, and not only for what was handed over.
    """
    allowed = visits.gate.enter(visits.batch)
    if not allowed:
        # Nobody asks for them now. Without their lease they are found again as soon as somebody may.
        if waiting := visits.provisioned.take(visits.batch):
            _record(store, saga, visits, waiting, {})
        return False
    try:
        handed = visits.provisioned
        claimed = handed.next(allowed, partial(_claim, store, visits)) if claims else handed.take(allowed)
        if not claimed:
            visits.gate.give_up()
            return False
        answers = _ask(scheduling, claimed, visits)
        visits.gate.leave(_pause_s(answers))
    except BaseException:
        visits.gate.give_up()
        raise
    _record(store, saga, visits, claimed, answers)
    return visits.provisioned.behind


def _claim(store: StoreSession, visits: Visits, limit: int) -> list[Activation]:
    with store.transaction() as tx:
        return [leases.activation_of(row) for row in leases.claim(tx.conn, visits.owner, VISIT_STATES, tx.now, limit)]


def _ask(scheduling: Scheduling, claimed: Sequence[Any], visits: Visits) -> Answers:
    """Call for all of them together, and alone for each that was in a call without an answer before.

    What scheduling cannot carry out may be one order's fault. It must not hold up the others for ever.
    """
    fresh = [row for row in claimed if row.visit_attempts == 0]
    alone = [row for row in claimed if row.visit_attempts > 0]
    started = time.monotonic()
    answers: Answers = {}
    if len(fresh) > 1:
        try:
            answers = _request_together(scheduling, fresh, visits)
        except (DomainError, RemoteFault, ValueError) as exc:
            # A defect over there, or the release before, which does not know this method.
            log.warning("asking for %d visits one by one: %s", len(fresh), exc)
    alone = [*(row for row in fresh if row.order_id not in answers), *alone]
    for row in alone:
        if _pause_s(answers) is not None or time.monotonic() - started > CALLING_S:
            break
        answers[row.order_id] = _request(scheduling, row, visits)
    return answers


def _pause_s(answers: Answers) -> float | None:
    """For how long to leave scheduling alone; None where it is there."""
    pauses = (answer.pause_s for answer in answers.values() if isinstance(answer, NoAnswer))
    return max((pause for pause in pauses if pause is not None), default=None)


def _request_together(scheduling: Scheduling, rows: Sequence[Any], visits: Visits) -> Answers:
    """One call for several orders. Raises DomainError, RemoteFault, ValueError where that is no way to ask."""
    traces = [row.traceparent for row in rows if row.traceparent]
    with tracing.span("request visits", links=traces):
        told = scheduling.call("request_visits", fallback=visits.no_answer, requests=[_arguments(row) for row in rows])
    if isinstance(told, NoAnswer):
        return dict.fromkeys((row.order_id for row in rows), told)
    results = _RESULTS.validate_python(told, extra="ignore")
    if [result.order_id for result in results] != [row.order_id for row in rows]:
        raise ValueError("the answer is not to what was asked")
    return {result.order_id: _outcome(result) for result in results if result.order_id is not None}


def _outcome(result: VisitResult) -> str | NoAnswer:
    if result.outcome != "invalid":
        return result.outcome
    return NoAnswer(f"scheduling says: {(result.error or {}).get('detail')}", 0.0, None)


def _request(scheduling: Scheduling, row: Any, visits: Visits) -> str | NoAnswer:
    try:
        with tracing.span("request visit", traceparent=row.traceparent):
            answer = scheduling.call("request_visit", fallback=visits.no_answer, **_arguments(row))
        return answer if isinstance(answer, NoAnswer) else VisitAnswer.model_validate(answer, extra="ignore").outcome
    except DomainError as exc:
        pause_s = None if exc.retry_after_s is None else min(exc.retry_after_s, visits.retry_longest_s)
        return NoAnswer(f"scheduling says: {exc}", exc.retry_after_s or 0.0, pause_s)
    except (RemoteFault, ValueError) as exc:
        # A defect over there, or an answer that is none: this order waits, the others go on.
        return NoAnswer(str(exc), 0.0, None)


def _arguments(row: Any) -> dict[str, Any]:
    """The VisitRequest of an activation's row."""
    return {"order_id": str(row.order_id), "customer": row.customer, "address": row.address, "items": row.items}


def _record(
    store: StoreSession,
    saga: Saga[Activation],
    visits: Visits,
    claimed: Sequence[Activation],
    answers: Answers,
) -> None:
    """Store what was answered, as far as the orders are still ours, and let go of all of them."""
    recorded = _record_accepted(store, saga, [row for row in claimed if answers.get(row.order_id) == "accepted"])
    claimed = [row for row in claimed if row.order_id not in recorded]
    if not claimed:
        return
    with store.transaction() as tx:
        rows = saga.load(tx, [row.order_id for row in claimed])
        held = {row.order_id: row for row in claimed}
        ours = {order_id: row for order_id, row in rows.items() if leases.is_held(row, held[order_id], tx.now)}
        accepted = [VisitAccepted(order_id) for order_id in ours if answers.get(order_id) == "accepted"]
        _, changed = saga.decide(tx, rows, accepted)
        for order_id, row in ours.items():
            answer = answers.get(order_id)
            if answer is not None and answer != "accepted" and row.state == "provisioned":
                changed[order_id] = _later(row, answer, visits, tx)
        saga.store(tx, [leases.released(changed.get(order_id, row)) for order_id, row in ours.items()])
        if any(row.order_id not in answers for row in claimed):
            visits.provisioned.leave(tx)


def _record_accepted(store: StoreSession, saga: Saga[Activation], claimed: Sequence[Activation]) -> set[UUID]:
    """Store that the visits of these are accepted, where nobody has moved them since they were leased. Returns those.

    See `provisioning.Round`: nothing need be loaded.
    """
    if not claimed:
        return set()
    with store.single() as tx:
        rows = {row.order_id: row for row in claimed if leases.is_held(row, row, tx.now)}
        _, changed, events = saga.effects(tx, rows, [VisitAccepted(order_id) for order_id in rows])
        return saga.swap(tx, list(rows.values()), [leases.released(row) for row in changed.values()], events)


def _later(row: Activation, answer: str | NoAnswer, visits: Visits, tx: Tx) -> Activation:
    """The same activation, to be asked for again later: its state stays exactly as it was."""
    if not isinstance(answer, NoAnswer):
        # It can only have heard of a cancel through us, so this does not happen; if it does, our state decides.
        log.error("scheduling says cancelled, but nobody has cancelled here", extra={"order_id": str(row.order_id)})
        answer = NoAnswer("scheduling says: cancelled", 0.0, None)
    log.warning("no visit yet: %s", answer.why, extra={"order_id": str(row.order_id)})
    return postponed(row, answer, visits.retry_longest_s, visits.jitter(), tx.now)


def postponed(row: Activation, answer: NoAnswer, longest_s: float, jitter: float, now: datetime) -> Activation:
    """When to ask again: not before scheduling said, growing with each try, capped at `longest_s` seconds."""
    attempts = row.visit_attempts + 1
    delay_s = max(retry_delay_s(attempts, FIRST_RETRY_S, longest_s, jitter), min(answer.retry_after_s, longest_s))
    return replace(
        row, visit_attempts=attempts, next_attempt_at=now + timedelta(seconds=delay_s), last_error=answer.why
    )
