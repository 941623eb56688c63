"""Waking in-process loops: a commit wakes the relay and the workers that have something to do now."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from eventlet.event import Event


class Wakes:
    """Named wake-up calls. A call that comes while nobody waits is kept, so none is missed."""

    def __init__(self) -> None:
        self._pending: dict[str, int] = defaultdict(int)
        self._waiting: dict[str, list[Event]] = defaultdict(list)

    def wake(self, name: str) -> None:
        """Wake everyone who waits for `name`."""
        self._pending[name] += 1
        waiting, self._waiting[name] = self._waiting[name], []
        for event in waiting:
            event.send(True)

    def wake_next(self, name: str) -> None:
        """Wake the one who has waited longest for `name`; where nobody waits, whoever comes next looks at once."""
        self._pending[name] += 1
        self.wake_one(name)

    def wake_one(self, name: str) -> None:
        """Wake the one who has waited longest for `name`, if anybody does; the others know nothing of it."""
        if self._waiting[name]:
            self._waiting[name].pop(0).send(True)

    def seen(self, name: str) -> int:
        """How often `name` was called so far; take it before looking for work, then `wait` with it."""
        return self._pending[name]

    def wait(self, name: str, seen: int, timeout_s: float) -> bool:
        """Return True at once where `name` was called since `seen`, or when it is; False after `timeout_s`."""
        if self._pending[name] != seen:
            return True
        event = Event()
        self._waiting[name].append(event)
        if event.wait(timeout_s):
            return True
        if event in self._waiting[name]:
            self._waiting[name].remove(event)
        return False


def wakes(container: Any) -> Wakes:
    """The container's wake-up calls. Extensions hold their container by a weak proxy, so it carries them itself."""
    found: Wakes | None = getattr(container, "chassis_wakes", None)
    if found is None:
        found = container.chassis_wakes = Wakes()
    return found
