"""What a run of the simulation is measured by: orders under way, how busy everything was, sizes of rounds, CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """What a run came to, in the time that was measured: `seconds`.

    arrived: orders that came then; until_visible_ms: of those that became visible. left, right: orders under way
    at its beginning and at its end. busy: by resource, the part of the time it was used. sizes: mean items of each
    round. cpu_ms: an order, by service, `db` and `broker`.
    """

    arrived: int
    seconds: float
    until_visible_ms: list[float]
    left: int
    right: int
    busy: Mapping[str, float]
    sizes: Mapping[str, float]
    cpu_ms: Mapping[str, float]

    @property
    def keeps_up(self) -> bool:
        """What is under way does not grow by more than chance explains."""
        return self.right - self.left <= 0.03 * self.arrived + 5


class Meter:
    """Counts while `on`. Times in ms."""

    def __init__(self) -> None:
        self.on = False
        self.came_at: dict[int, float] = {}
        self.took: dict[int, float] = {}
        self.noted = 0
        self._began, self._left, self._first = 0.0, 0, 0
        self._items: Counter[str] = Counter()
        self._rounds: Counter[str] = Counter()
        self._cpu: dict[str, float] = {}
        self._worked: dict[str, float] = {}
        self._loops: Counter[str] = Counter()

    @property
    def under_way(self) -> int:
        """Orders that are not visible yet, or that the order book does not know as activated."""
        return len(self.came_at) - min(len(self.took), self.noted)

    def begin(self, now: float) -> None:
        """From now on it counts."""
        self.on, self._began, self._left, self._first = True, now, self.under_way, len(self.came_at)

    def loop(self, name: str) -> None:
        """One more of the loops of this name."""
        self._loops[name] += 1

    def round(self, name: str, items: int, ms: float) -> None:
        """A loop of this name was at work for so long on so many items."""
        if self.on:
            self._items[name] += items
            self._rounds[name] += 1
            self._worked[name] = self._worked.get(name, 0.0) + ms

    def spent(self, kind: str, ms: float) -> None:
        """CPU of a service, `db` or `broker`."""
        if self.on:
            self._cpu[kind] = self._cpu.get(kind, 0.0) + ms

    def seen(self, now: float, busy: Mapping[str, float]) -> Seen:
        """`busy`: ms by resource, already a part of the time that it is there."""
        ms = now - self._began
        took = [each for order, each in self.took.items() if order >= self._first]
        done = max(1, self._left + len(self.came_at) - self._first - self.under_way)
        parts = {name: used / ms for name, used in busy.items()}
        parts |= {f"workers: {name}": used / ms / self._loops[name]
                  for name, used in self._worked.items() if self._loops[name]}  # fmt: skip
        return Seen(
            len(self.came_at) - self._first, ms / 1000, took, self._left, self.under_way, parts,
            {name: self._items[name] / number for name, number in self._rounds.items()},
            {kind: spent / done for kind, spent in self._cpu.items()},
        )  # fmt: skip
