"""Work that waits in the database, as a Nameko entrypoint: greenlets that look for it when woken, or now and then.

The method does one piece of work and says whether it found any; it is called again at once when it did. Of those
that are idle one looks now and then, and calls the others when it has found something.
"""

from __future__ import annotations

import logging
import random
from typing import Any

import eventlet
from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import Entrypoint

from chassis.health import register_check
from chassis.settings import merged
from chassis.wake import wakes

log = logging.getLogger(__name__)

ERROR_PAUSE_S = (0.5, 10.0)
LONGEST_WAIT_S = 60.0


class Loop(Entrypoint):
    """`@loop("name", workers=4, idle_s=1.0)`; both numbers may be the name of a setting instead.

    A transaction wakes it with `tx.wake("name")`. An error is logged and followed by a growing pause.
    """

    # A round that finds nothing would otherwise leave a span of its own each time.
    traced = False

    def __init__(self, name: str, workers: int | str = 1, idle_s: float | str = 1.0, **kwargs: Any) -> None:
        self.name = name
        self._workers = workers
        self._idle = idle_s
        super().__init__(**kwargs)

    def setup(self) -> None:
        config = merged(self.container.config)
        self._count = int(config[self._workers] if isinstance(self._workers, str) else self._workers)
        self._idle_s = float(config[self._idle] if isinstance(self._idle, str) else self._idle)
        self._wakes = wakes(self.container)
        self._pause = f"{self.name}-pause"
        self._stopping = False
        self._gts: list[Any] = []
        self._clock: Any = None
        register_check(self.container, f"loop-{self.name}", live=lambda: not any(gt.dead for gt in self._gts))

    def start(self) -> None:
        self._gts = [
            self.container.spawn_managed_thread(self._run, identifier=f"loop-{self.name}-{number}")
            for number in range(self._count)
        ]
        self._clock = self.container.spawn_managed_thread(self._tick, identifier=f"loop-{self.name}-clock")

    def stop(self) -> None:
        """Let the work at hand finish."""
        self._stopping = True
        if self._clock is not None:
            self._clock.kill()
        self._wakes.wake(self.name)
        self._wakes.wake(self._pause)
        for gt in self._gts:
            gt.wait()

    def _run(self) -> None:
        pause_s, was_idle = ERROR_PAUSE_S[0], False
        while not self._stopping:
            seen = self._wakes.seen(self.name)
            found, error = self._once()
            if error is not None:
                # Not woken by commits: what failed now would only fail again, and at once.
                self._wakes.wait(self._pause, 0, pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, ERROR_PAUSE_S[1])
                continue
            pause_s = ERROR_PAUSE_S[0]
            if found and was_idle:
                self._wakes.wake(self.name)
            was_idle = not found
            if was_idle and not self._stopping:
                self._wakes.wait(self.name, seen, LONGEST_WAIT_S)

    def _tick(self) -> None:
        while True:
            eventlet.sleep(self._idle_s * random.uniform(0.8, 1.2))
            self._wakes.wake_one(self.name)

    def _once(self) -> tuple[bool, BaseException | None]:
        try:
            result, exc_info = self.container.carry_out(self, (), {})
        except ContainerBeingKilled as exc:
            return False, exc
        return bool(result), None if exc_info is None else exc_info[1]


loop = Loop.decorator
