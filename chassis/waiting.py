"""Waiting for an answer that comes at once: in place, where nobody else has anything to do meanwhile.

The event loop's way (note who waits for what, switch to the loop, ask the system, switch back, forget it) costs more
than the system's answer itself. Here the system is asked at once, for the answer and for whatever the loop waits for.
"""

from __future__ import annotations

from typing import Any

from eventlet import hubs
from eventlet.patcher import original

IN_PLACE_MS = 5
"""For no longer: by then the loop is the better place."""

_select = original("select")


def nobody_else_can_run() -> bool:
    """Whether no greenlet but this one is ready to run, or soon will be by its timer."""
    hub = hubs.get_hub()
    soon = hub.clock() + IN_PLACE_MS / 1000
    return not (hub.timers and hub.timers[0][0] <= soon) and all(
        at > soon or timer.called for at, timer in hub.next_timers
    )


class InPlace:
    """Waits for one file descriptor to become readable, for as long as it is open."""

    def __init__(self, fileno: int) -> None:
        self._fileno = fileno
        self._poll = _select.poll()
        self._poll.register(fileno, _select.POLLIN)
        self._loop_fileno = -1
        loop: Any = hubs.get_hub()
        if hasattr(loop.poll, "fileno"):  # epoll; the loop's other ways of asking the system cannot be asked about
            self._loop_fileno = loop.poll.fileno()
            self._poll.register(self._loop_fileno, _select.POLLIN)

    def wait(self) -> None:
        """Wait until it is readable, or has come to an end."""
        if not self._is_soon():
            hubs.trampoline(self._fileno, read=True)

    def _is_soon(self) -> bool:
        """Whether it is readable within a moment, and nothing else is to be done until then."""
        if self._loop_fileno < 0 or not nobody_else_can_run():
            return False
        ready = self._poll.poll(IN_PLACE_MS)
        return len(ready) == 1 and ready[0][0] == self._fileno
