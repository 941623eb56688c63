"""Orders that go on to their next step under the lease they have, within this process; no statement claims them.

In memory only: what is lost with the process, or waits here for too long, is claimed from the database like all that
was not handed over, once its lease has ended or was cleared at start.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from activation_svc.leases import LEASE_S
from chassis.db import Tx

WAIT_S = LEASE_S / 3
"""How long an order may wait here: what is begun then still has most of its lease."""
LOOK_S = 1.0
"""So often the database is asked also while orders are handed over: what is to be tried again is there."""

T = TypeVar("T")


class Handover(Generic[T]):
    """To the workers of one step. `most`: how many may wait; `wake` calls the next worker that is idle.

    `behind`: whether orders that were not handed over may be due in the database. `straight`: whether somebody who
    handed over is on the way with it himself.
    """

    def __init__(self, most: int, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._wake, self._clock = most, wake, clock
        self._waiting: deque[tuple[float, T]] = deque()
        self._look_at = 0.0
        self.behind = True
        self.straight = False

    @property
    def room(self) -> int:
        """How many more may be handed over now: none while others, who came before, wait in the database."""
        return 0 if self.behind else max(0, self._most - len(self._waiting))

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits, and nobody is on the way who handed over himself."""
        return not (self.straight or self._waiting)

    def hand(self, tx: Tx, works: Sequence[T], go: Callable[[], None] | None = None) -> None:
        """Hand these over, which are leased in this transaction, once it has committed.

        For one order, where nobody else is on the way so, `go` is called instead of a worker: whoever hands over goes
        on himself, in a greenlet of his, under `going`. One at a time, so that under load they are taken together.
        """
        if works:
            tx.after_commit(lambda: self._put(works, go))

    @contextmanager
    def going(self) -> Iterator[None]:
        """The way of one whose `go` was called."""
        try:
            yield
        finally:
            self.straight = False

    def call_worker(self) -> None:
        """Who was to go on himself cannot: a worker does."""
        self.straight = False
        self._wake()

    def leave(self, tx: Tx) -> None:
        """Let a worker look into the database, once this transaction has committed."""
        tx.after_commit(self._call)

    def next(self, limit: int, claim: Callable[[int], Sequence[T]]) -> list[T]:
        """Up to `limit` orders to work on: handed over, or due in the database and taken from there by `claim`."""
        looked = self._clock() >= self._look_at
        works = self._claimed(limit, claim) if looked else []
        works += self.take(limit - len(works))
        return works if works or looked else self._claimed(limit, claim)

    def take(self, limit: int) -> list[T]:
        """Up to `limit` orders that were handed over. Where some are left another worker is called."""
        while self._waiting and self._waiting[0][0] < self._clock() - WAIT_S:
            self._waiting.popleft()
        taken = [self._waiting.popleft()[1] for _ in range(min(limit, len(self._waiting)))]
        if self._waiting:
            self._wake()
        return taken

    def close(self) -> list[T]:
        """No more is handed over. Returns what still waits."""
        self._most = 0
        left = [work for _, work in self._waiting]
        self._waiting.clear()
        return left

    def _put(self, works: Sequence[T], go: Callable[[], None] | None) -> None:
        now, alone = self._clock(), len(works) == 1 and self.is_idle
        self._waiting.extend((now, work) for work in works)
        if go is None or not alone:
            self._wake()
            return
        self.straight = True
        go()

    def _claimed(self, limit: int, claim: Callable[[int], Sequence[T]]) -> list[T]:
        self.behind, self._look_at = False, self._clock() + LOOK_S
        found = list(claim(limit))
        if len(found) == limit:
            self._call()
        return found

    def _call(self) -> None:
        self.behind = True
        self._wake()
