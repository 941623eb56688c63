"""Gathering in a rush: where pieces of work come quickly one after the other, a moment's wait takes several at once.

A transaction, a publish with its confirms and an acknowledgement cost the same for one piece as for ten. Whoever is
alone does not wait: it takes several pieces within a short time to make a rush.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

RUSH = 8
RUSH_WITHIN_S = 0.2
"""So many pieces within so long are a rush: more than 40 a second."""


class Rush:
    """Counts what is taken. `gather_s`: how long to wait in a rush; 0 never waits."""

    def __init__(self, gather_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._gather_s = gather_s
        self._clock = clock
        self._taken: deque[float] = deque(maxlen=RUSH)

    def took(self, pieces: int) -> None:
        """Note that so many were taken together just now."""
        self._taken.extend([self._clock()] * min(pieces, RUSH))

    def wait_s(self) -> float:
        """For how long to wait before the next are taken."""
        rush = len(self._taken) == RUSH and self._clock() - self._taken[0] < RUSH_WITHIN_S
        return self._gather_s if rush else 0.0
