"""Time and ids as values that can be handed in, so that a test can fix them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from uuid6 import uuid7


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


Source = TypeVar("Source")


class SharedClock(Generic[Source]):
    """The time that all processes of a service agree on, whatever their machines' clocks say: that of `ask(source)`.

    It is asked now and then; in between the monotonic clock counts on. Where `ask` knows no time (None), it is this
    machine's.
    """

    ASK_AGAIN_S = 10.0

    def __init__(
        self, ask: Callable[[Source], datetime | None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask, self._monotonic = ask, monotonic
        self._known: tuple[datetime, float] | None = None

    def now(self, source: Source) -> datetime:
        """The present moment, aware, in UTC. Raises what `ask` raises."""
        at = self._monotonic()
        if self._known is None or at - self._known[1] > self.ASK_AGAIN_S:
            told = self._ask(source)
            if told is None:
                return utc_now()
            # The answer was made somewhere between the question and now; the middle is off by half of that at most.
            asked, at = at, self._monotonic()
            self._known = told.astimezone(UTC), (asked + at) / 2
        moment, since = self._known
        return moment + timedelta(seconds=at - since)


def new_uuid7() -> uuid.UUID:
    """A fresh UUIDv7 (RFC 9562)."""
    return uuid.UUID(bytes=uuid7().bytes)


def first_uuid7(moment: datetime) -> uuid.UUID:
    """The least UUIDv7 of this millisecond: ids that sort before it were made earlier."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)


def rfc3339(moment: datetime) -> str:
    """An aware moment as text, in UTC (RFC 3339)."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
