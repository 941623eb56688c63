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
from contracts.errors import BY_NAME, Conflict, DomainError, Invalid, NotFound
from gateway_svc.journal import Entry, Journal, Mark

BATCH = 100
MAX_ATTEMPTS = 10
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
            return False
        try:
            for run in _runs([*entries, *ahead]):
                self._settle(self._send(order, run))
        except FAILURES as exc:
            retry_after_s = float(getattr(exc, "retry_after_s", None) or 1.0)
            self._blocked_until = now + timedelta(seconds=min(retry_after_s, 5.0) * random.uniform(0.5, 1.0))
            for entry_id in list(self._undecided):
                self._decide(entry_id)
            _log.warning("orders wait in the journal", pending=len(entries), why=str(exc))
            return False
        self._blocked_until = None
        return bool(self.journal.pending(1))

    def _ahead(self, now: datetime) -> list[Entry]:
        """Cancels that are ahead of their orders, now and then."""
        if self._ahead_at is not None and now - self._ahead_at < AHEAD_EVERY:
            return []
        self._ahead_at = now
        return self.journal.ahead(AHEAD_BATCH)

    def purge(self, keep: timedelta) -> None:
        """Forget settled entries older than `keep`; at most once an hour."""
        now = self._now()
        if self._purged_at is None or now - self._purged_at > timedelta(hours=1):
            self._purged_at = now
            self.journal.purge(now - keep)

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
            self.journal.mark([_as_told(mark, mark.entry_id in claimed) for mark in marks])
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
            return [_placed(entry, result) for entry, result in zip(run, results, strict=True)]
        except FAILURES as exc:
            # Without an answer the next attempt repeats it. A service that answers with an error may have met one
            # order it cannot take: that one must not stop the others.
            if not _is_answer(exc):
                raise
            if len(run) == 1:
                return [_refused(run[0], exc)]
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
        return marks + [_attempted(entry, exc) for entry, exc in failed]

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


def _placed(entry: Entry, result: dict[str, Any]) -> Mark:
    if result["status"] == "placed":
        stands_as = UUID(result["order_id"])
        return Mark(entry.entry_id, "forwarded", 201, stands_as=None if stands_as == entry.order_id else stands_as)
    _log.error("order_svc refuses this order", order_id=str(entry.order_id), error=result["error"])
    return Mark(entry.entry_id, "failed", _status(result["error"]), error=result["error"])


def _refused(entry: Entry, exc: Exception) -> Mark:
    """order_svc raised for this one order. A defect there is raised on, for the caller to try again."""
    if not isinstance(exc, DomainError):
        raise exc
    _log.error("order_svc refuses this order", order_id=str(entry.order_id), error=exc.as_dict())
    return Mark(entry.entry_id, "failed", exc.http_status, error=exc.as_dict())


def _status(error: dict[str, Any]) -> int:
    """The HTTP status of an error that came as a value."""
    return BY_NAME.get(str(error.get("error")), Invalid).http_status


def _attempted(entry: Entry, exc: Exception) -> Mark:
    """One more failed attempt of an order whose neighbours went through."""
    attempts = entry.attempts + 1
    error = {"error": type(exc).__name__, "detail": str(exc)[:2000], "fields": []}
    _log.error("order_svc cannot take this order", order_id=str(entry.order_id), attempts=attempts, error=error)
    return Mark(entry.entry_id, "failed" if attempts >= MAX_ATTEMPTS else "pending", error=error, attempts=attempts)


def _as_told(mark: Mark, told: bool) -> Mark:
    """What a waiting client hears now needs no operator; what nobody hears does."""
    if mark.state == "failed" and mark.answer is not None and told:
        return Mark(mark.entry_id, "refused", mark.answer, mark.error, mark.attempts, mark.stands_as)
    return Mark(mark.entry_id, mark.state, mark.answer if told else None, mark.error, mark.attempts, mark.stands_as)


def _is_answer(exc: Exception) -> bool:
    """Whether the service was reached and answered with an error of its own."""
    return isinstance(exc, RemoteFault) or (isinstance(exc, DomainError) and exc.http_status < 500)
