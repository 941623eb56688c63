"""Taking orders and passing them on: append to the journal, wait a moment for order_svc, answer.

There is one way to order_svc, the forwarder, which drains the journal in order and in batches. A request only
waits for it, so an order is sent by one party only, and many waiting requests travel in one call.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from eventlet import Timeout
from eventlet.event import Event

from chassis import tracing
from chassis.logging import get_logger
from chassis.rpc_client import CallFailed, RemoteFault
from contracts.errors import Conflict, DomainError, NotFound
from gateway_svc.journal import Entry, Journal, Mark
from gateway_svc.outcomes import as_told, attempted, placed, refused

BATCH = 100
AHEAD_BATCH = 20
AHEAD_EVERY = timedelta(seconds=1)
AHEAD_AT_MOST = timedelta(days=1)
"""How often a cancel is tried whose order is still in another gateway's journal, and how long."""
FORWARD_LOOP = "forward"

FAILURES = (CallFailed, RemoteFault, DomainError)

_log = get_logger(__name__)


class OrderService(Protocol):
    """The way to order_svc: `chassis.rpc_client`, or a stand-in."""

    def call(self, method: str, **arguments: Any) -> Any: ...


class Intake:
    """The journal, those who wait for an answer, and whether the way to order_svc is clear.

    `wake` is called when there is something to forward; a request waits `wait_s` for order_svc's answer.
    """

    def __init__(
        self, journal: Journal, wake: Callable[[], None], now: Callable[[], datetime], wait_s: float = 2.0
    ) -> None:
        self.journal, self.wait_s = journal, wait_s
        self._wake, self._now = wake, now
        # Requests that have no answer yet, by entry: all requests of one key wait for, and get, the same answer.
        self._undecided: dict[UUID, Event] = {}
        self._claimed: set[UUID] = set()
        self._blocked_until: datetime | None = None
        self._purged_at: datetime | None = None
        self._ahead_at: datetime | None = None

    @property
    def is_blocked(self) -> bool:
        """Whether order_svc could not be reached a moment ago: then nobody waits for it."""
        return self._blocked_until is not None

    def lag(self) -> dict[str, Any]:
        """The journal's lag, and whether the way to order_svc is `blocked`."""
        return self.journal.lag() | {"blocked": self.is_blocked}

    def take(self, entry: Entry) -> Entry:
        """Write `entry` down, wait until it is forwarded or `wait_s` has passed, and return how it stands.

        Returns the earlier entry where its idempotency key was used before. Raises Overloaded or Unavailable where
        it could not be written down.
        """
        self._undecided[entry.entry_id] = Event()
        try:
            stored = self.journal.append(entry)
            self._wait_for(stored.entry_id)
        finally:
            self._decide(entry.entry_id)
        return self.journal.by_entry_id(stored.entry_id) or stored

    def note(self, entry: Entry) -> None:
        """Write `entry` down for the forwarder; nobody waits for what becomes of it."""
        self.journal.append(entry)
        if not self.is_blocked:
            self._wake()

    def forward(self, order: OrderService) -> bool:
        """Send the oldest entries to order_svc. Return True where more may be waiting.

        The same entry may be sent again after a crash or a lost answer; order_svc knows orders by their id.
        """
        now = self._now()
        if self._blocked_until is not None and now < self._blocked_until:
            return False
        entries = self.journal.pending(BATCH)
        ahead = self._ahead(now)
        if not entries and not ahead:
            self._blocked_until = None
            self.journal.flush()
            return False
        try:
            self._pass_on(order, [*entries, *ahead])
        except FAILURES as exc:
            retry_after_s = float(getattr(exc, "retry_after_s", None) or 1.0)
            self._blocked_until = now + timedelta(seconds=min(retry_after_s, 5.0) * random.uniform(0.5, 1.0))
            for entry_id in list(self._undecided):
                self._decide(entry_id)
            _log.warning("orders wait in the journal", pending=len(entries), why=str(exc))
            return False
        self._blocked_until = None
        return bool(self.journal.pending(1))

    def _pass_on(self, order: OrderService, entries: Sequence[Entry]) -> None:
        """Send all of them. One that order_svc has only an error of its own for holds up no other: while others of its
        kind go through (for a cancel, while anything does) it has that many attempts, and then needs a person.

        Raises what order_svc raised where that cannot be told from a defect of the whole service.
        """
        passed: set[str] = set()
        stuck: dict[UUID, tuple[Entry, RemoteFault]] = {}
        left: set[UUID] = set()
        for run in _runs(entries):
            if run[0].kind == "cancel" and run[0].order_id in left:
                continue  # Its order comes first.
            try:
                marks = self._send(order, run)
            except RemoteFault as fault:
                stuck |= {entry.entry_id: (entry, fault) for entry in run}
                left |= {entry.order_id for entry in run}
                continue
            self._settle(marks)
            passed.add(run[0].kind)
            again = {mark.entry_id for mark in marks if mark.state == "pending"}
            left |= {entry.order_id for entry in run if entry.entry_id in again}
        marks = [attempted(entry, fault) for entry, fault in stuck.values()
                 if entry.kind in passed or (entry.kind == "cancel" and passed)]  # fmt: skip
        self._settle(marks)
        if len(marks) < len(stuck):
            raise next(iter(stuck.values()))[1]

    def _ahead(self, now: datetime) -> list[Entry]:
        """Cancels that are ahead of their orders, now and then."""
        if self._ahead_at is not None and now - self._ahead_at < AHEAD_EVERY:
            return []
        self._ahead_at = now
        return self.journal.ahead(AHEAD_BATCH)

    def purge(self, keep: timedelta) -> None:
        """Forget settled entries older than `keep`, some at a time; where none is left, look again in an hour."""
        now = self._now()
        is_due = self._purged_at is None or now - self._purged_at > timedelta(hours=1)
        if is_due and self.journal.purge(now - keep) == 0:
            self._purged_at = now

    def _wait_for(self, entry_id: UUID) -> None:
        """Wait until the entry is forwarded; whose time is over first decides for all who wait with it."""
        undecided = self._undecided.get(entry_id)
        if undecided is None:
            return
        if self.is_blocked:
            self._decide(entry_id)
            return
        self._wake()
        with Timeout(self.wait_s, False):
            undecided.wait()
            return
        if entry_id in self._claimed:
            undecided.wait()  # The forwarder has the answer and is writing it down.
        else:
            self._decide(entry_id)

    def _decide(self, entry_id: UUID) -> None:
        """Let those who wait for this entry go: its answer is what the journal says now."""
        undecided = self._undecided.pop(entry_id, None)
        if undecided is not None and not undecided.ready():
            undecided.send(None)

    def _settle(self, marks: list[Mark]) -> None:
        """Write down what became of entries, and tell those who wait."""
        claimed = {mark.entry_id for mark in marks if mark.state != "pending" and mark.entry_id in self._undecided}
        self._claimed |= claimed
        try:
            self.journal.mark([as_told(mark, mark.entry_id in claimed) for mark in marks])
        finally:
            self._claimed -= claimed
            for entry_id in claimed:
                self._decide(entry_id)

    def _send(self, order: OrderService, run: Sequence[Entry]) -> list[Mark]:
        if run[0].kind == "cancel":
            return [self._cancel(order, run[0])]
        try:
            with _carrying_on(run):
                results = order.call("place_orders", orders=[place_order(entry) for entry in run])
            return [placed(entry, result) for entry, result in zip(run, results, strict=True)]
        except FAILURES as exc:
            # Without an answer the next attempt repeats it. A service that answers with an error may have met one
            # order it cannot take: that one must not stop the others.
            if not _is_answer(exc):
                raise
            if len(run) == 1:
                return [refused(run[0], exc)]
        return self._one_by_one(order, run)

    def _one_by_one(self, order: OrderService, run: Sequence[Entry]) -> list[Mark]:
        marks: list[Mark] = []
        failed: list[tuple[Entry, Exception]] = []
        for entry in run:
            try:
                marks += self._send(order, [entry])
            except FAILURES as exc:
                if not _is_answer(exc):
                    self._settle(marks)
                    raise
                failed.append((entry, exc))
        if not marks:
            raise failed[0][1]
        return marks + [attempted(entry, exc) for entry, exc in failed]

    def _cancel(self, order: OrderService, entry: Entry) -> Mark:
        try:
            order.call("cancel_order", order_id=str(entry.order_id), **entry.body)
        except DomainError as exc:
            if exc.http_status >= 500:
                raise
            if isinstance(exc, NotFound) and self._may_come(entry):
                return Mark(entry.entry_id, "pending", error=exc.as_dict(), attempts=entry.attempts + 1)
            if isinstance(exc, Conflict) and _is_cancelled(order, entry):
                return Mark(entry.entry_id, "forwarded", attempts=entry.attempts)
            _log.warning("a journalled cancel came too late", order_id=str(entry.order_id), why=exc.detail)
            return Mark(entry.entry_id, "failed", error=exc.as_dict(), attempts=entry.attempts)
        return Mark(entry.entry_id, "forwarded", attempts=entry.attempts)

    def _may_come(self, cancel: Entry) -> bool:
        """Whether the order of a cancel may still come: it was accepted, since its subscriber has a token of it, and
        not here. So it is in another gateway's journal.
        """
        return (
            str(cancel.body.get("requested_by")).startswith("subscriber:")
            and self.journal.order(cancel.order_id) is None
            and self._now() - cancel.accepted_at < AHEAD_AT_MOST
        )


def _is_cancelled(order: OrderService, cancel: Entry) -> bool:
    """Whether the order is closed as it was asked for: an earlier try took effect, and its answer was lost."""
    return bool(order.call("get_order", order_id=str(cancel.order_id))["status"] == "cancelled")


def place_order(entry: Entry) -> dict[str, Any]:
    """The entry as `contracts.rpc.PlaceOrder`, in JSON types."""
    return {
        **entry.body,
        "order_id": str(entry.order_id),
        "accepted_at": entry.accepted_at.isoformat(),
        "idempotency_key": entry.idempotency_key,
        "traceparent": entry.traceparent,
    }


def _carrying_on(run: Sequence[Entry]) -> AbstractContextManager[Any]:
    """A span of the one request's trace, or one that is linked to the traces of all requests."""
    traces = [entry.traceparent for entry in run if entry.traceparent]
    single = traces[0] if len(run) == 1 and traces else None
    return tracing.span("forward orders", traceparent=single, links=() if single else traces, orders=len(run))


def _runs(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Consecutive orders together; each cancel alone, after what came before it."""
    run: list[Entry] = []
    for entry in entries:
        if entry.kind == "cancel":
            if run:
                yield run
            yield [entry]
            run = []
        else:
            run.append(entry)
    if run:
        yield run


def _is_answer(exc: Exception) -> bool:
    """Whether the service was reached and answered with an error of its own."""
    return isinstance(exc, RemoteFault) or (isinstance(exc, DomainError) and exc.http_status < 500)
