"""Asking scheduling for the visit of each provisioned order: the saga's one synchronous step.

While scheduling cannot be reached, nothing about the order changes but when it is asked for again, and calls pause:
one at a time finds out whether scheduling is back.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from activation_svc import leases
from activation_svc.commands import VisitAccepted
from activation_svc.domain import Activation, retry_delay_s
from chassis import tracing
from chassis.db import StoreSession, Tx
from chassis.rpc_client import CallFailed, RemoteFault
from chassis.saga import Saga
from contracts.errors import DomainError
from contracts.rpc import VisitAnswer

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
    """What a worker works with. `retry_longest_s` caps every wait; `jitter` gives random numbers in [0, 1)."""

    gate: Gate
    owner: leases.Owner
    batch: int
    retry_longest_s: float
    jitter: Callable[[], float] = random.random


@dataclass(frozen=True)
class NoAnswer:
    """Scheduling did not take the request. `pause_s`: leave it alone altogether; None where only this order failed."""

    why: str
    retry_after_s: float
    pause_s: float | None


def work(store: StoreSession, saga: Saga[Activation], scheduling: Scheduling, visits: Visits) -> bool:
    """Ask for the visits of some orders that are due; return whether there were any."""
    allowed = visits.gate.enter(visits.batch)
    if not allowed:
        return False
    try:
        with store.transaction() as tx:
            claimed = list(leases.claim(tx.conn, visits.owner, ("provisioned",), tx.now, allowed))
        if not claimed:
            visits.gate.give_up()
            return False
        answers = _ask(scheduling, claimed, visits)
        failed = [answer.pause_s for answer in answers.values() if isinstance(answer, NoAnswer)]
        pause_s = max((pause for pause in failed if pause is not None), default=None)
        visits.gate.leave(pause_s)
    except BaseException:
        visits.gate.give_up()
        raise
    _record(store, saga, visits, [row.order_id for row in claimed], answers)
    return True


def _ask(scheduling: Scheduling, claimed: list[Any], visits: Visits) -> dict[UUID, str | NoAnswer]:
    """Call for one order after the other, up to the first that shows that scheduling is not there."""
    answers: dict[UUID, str | NoAnswer] = {}
    started = time.monotonic()
    for row in claimed:
        answer = answers[row.order_id] = _request(scheduling, row, visits)
        if isinstance(answer, NoAnswer):
            log.warning("no visit yet: %s", answer.why, extra={"order_id": str(row.order_id)})
            if answer.pause_s is not None:
                break
        if time.monotonic() - started > CALLING_S:
            break
    return answers


def _request(scheduling: Scheduling, row: Any, visits: Visits) -> str | NoAnswer:
    longest_s = visits.retry_longest_s

    def no_answer(failed: CallFailed) -> NoAnswer:
        return NoAnswer(str(failed), failed.retry_after_s, min(failed.retry_after_s, longest_s))

    try:
        with tracing.span("request visit", traceparent=row.traceparent):
            answer = scheduling.call(
                "request_visit", fallback=no_answer,
                order_id=str(row.order_id), customer=row.customer, address=row.address, items=row.items,
            )
        return answer if isinstance(answer, NoAnswer) else VisitAnswer.model_validate(answer, extra="ignore").outcome
    except DomainError as exc:
        pause_s = min(exc.retry_after_s, longest_s) if exc.retry_after_s is not None else None
        return NoAnswer(f"scheduling says: {exc}", exc.retry_after_s or 0.0, pause_s)
    except (RemoteFault, ValueError) as exc:
        # A defect over there, or an answer that is none: this order waits, the others go on.
        return NoAnswer(str(exc), 0.0, None)


def _record(
    store: StoreSession,
    saga: Saga[Activation],
    visits: Visits,
    order_ids: list[UUID],
    answers: dict[UUID, str | NoAnswer],
) -> None:
    with store.transaction() as tx:
        rows = saga.load(tx, order_ids)
        ours = leases.hold(tx.conn, visits.owner, order_ids, tx.now)
        accepted: list[VisitAccepted] = []
        later: list[Activation] = []
        for order_id in ours:
            row, answer = rows[order_id], answers.get(order_id)
            if answer == "accepted":
                accepted.append(VisitAccepted(order_id))
            elif answer is not None and row.state == "provisioned":
                later.append(_later(row, answer, visits, tx))
        saga.commands(tx, accepted)
        saga.store(tx, later)
        leases.release(tx.conn, visits.owner, ours)


def _later(row: Activation, answer: str | NoAnswer, visits: Visits, tx: Tx) -> Activation:
    """The same activation, to be asked for again later: its state stays exactly as it was."""
    if not isinstance(answer, NoAnswer):
        # It can only have heard of a cancel through us, so this does not happen; if it does, our state decides.
        log.error("scheduling says cancelled, but nobody has cancelled here", extra={"order_id": str(row.order_id)})
        answer = NoAnswer("scheduling says: cancelled", 0.0, None)
    return postponed(row, answer, visits.retry_longest_s, visits.jitter(), tx.now)


def postponed(row: Activation, answer: NoAnswer, longest_s: float, jitter: float, now: datetime) -> Activation:
    """When to ask again: not before scheduling said, growing with each try, capped at `longest_s` seconds."""
    attempts = row.visit_attempts + 1
    delay_s = max(retry_delay_s(attempts, FIRST_RETRY_S, longest_s, jitter), min(answer.retry_after_s, longest_s))
    return replace(
        row, visit_attempts=attempts, next_attempt_at=now + timedelta(seconds=delay_s), last_error=answer.why
    )
