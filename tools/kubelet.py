"""Stands in for the kubelet in drills: asks processes whether they live, as their manifests say, and replaces those
that do not.

It knows what the kubelet knows (probe path, period, timeout, thresholds, grace period) and nothing else about a
process. Not for production: there the real one does this.
"""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import eventlet

from tools.manifests import Probe, Probes
from tools.process import Child
from tools.waiting import NotInTime, wait_until

BACKOFF_S = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""Before the first restart, the second and so on (CrashLoopBackOff)."""


@dataclass
class Watch:
    """The probes' verdict on one container, probe by probe. Pure.

    While the startup probe has not succeeded once, only it is asked; after that the liveness probe.
    """

    startup: Probe
    liveness: Probe
    started: bool = False
    failures: int = 0

    @property
    def probe(self) -> Probe:
        """The probe to be asked next."""
        return self.liveness if self.started else self.startup

    def observe(self, success: bool) -> bool:
        """Take one answer; True where the container is to be killed and started again."""
        probe = self.probe
        if success:
            self.started, self.failures = True, 0
            return False
        self.failures += 1
        return self.failures >= probe.failure_threshold

    def restarted(self) -> None:
        """A new container: from the beginning."""
        self.started, self.failures = False, 0


@dataclass(frozen=True)
class Healing:
    """One replacement: of whom, why, and when (`time.monotonic()`) it was decided and when the new one was ready."""

    name: str
    why: str
    noticed_at: float
    back_at: float


@dataclass
class Kubelet:
    """Watches processes, each in a greenlet of its own, until `stop`.

    `speed` divides every time in the manifests, for a short form; the thresholds stay. `child(name)` and `port(name)`
    look a process up, since a rolling replacement changes both.
    """

    child: Callable[[str], Child]
    port: Callable[[str], int]
    speed: float = 1.0
    healed: list[Healing] = field(default_factory=list)
    _watching: list[Any] = field(default_factory=list)

    def watch(self, name: str, probes: Probes) -> None:
        """From now on watch this process; one that runs already has passed its startup probe."""
        self._watching.append(eventlet.spawn(self._watch, name, probes))

    def stop(self) -> None:
        """Watch nothing more."""
        for watching in self._watching:
            watching.kill()

    def _watch(self, name: str, probes: Probes) -> None:
        watch = Watch(probes.startup, probes.liveness, started=True)
        restarts = 0
        asked_at = time.monotonic()
        while True:
            # A period runs from question to question, however long the answer takes.
            ended = self._wait_for_end(name, asked_at + watch.probe.period_s / self.speed - time.monotonic())
            asked_at = time.monotonic()
            dead = ended or watch.observe(answers(self.port(name), watch.probe, self.speed))
            if not dead:
                continue
            noticed_at = time.monotonic()
            exit_code = self.child(name).exit_code
            why = f"ended with {exit_code}" if ended else f"{watch.failures} failures of {watch.probe.path}"
            if not ended:
                self._kill(name, probes)
            eventlet.sleep(BACKOFF_S[min(restarts, len(BACKOFF_S) - 1)] / self.speed)
            restarts += 1
            self.child(name).start()
            watch.restarted()
            back_at = self._wait_until_ready(name, probes, watch)
            self.healed.append(Healing(name, why, noticed_at, back_at))

    def _wait_for_end(self, name: str, left_s: float) -> bool:
        """Wait for what is left of a period, or until the process has ended by itself: that is noticed at once."""
        try:
            wait_until(lambda: not self.child(name).alive, "it ends", timeout_s=max(0.0, left_s))
        except NotInTime:
            return False
        return True

    def _kill(self, name: str, probes: Probes) -> None:
        """SIGTERM, and SIGKILL after the grace period. A process that is stopped does not hear the first."""
        child = self.child(name)
        os.kill(child.pid, signal.SIGTERM)
        grace_s = probes.liveness_grace_s / self.speed
        try:
            wait_until(lambda: not child.alive, f"{name} ends", timeout_s=grace_s)
        except NotInTime:
            child.kill()

    def _wait_until_ready(self, name: str, probes: Probes, watch: Watch) -> float:
        """The moment from which the new process is ready; a process that never is counts as back when it started."""
        started_at = time.monotonic()
        try:
            wait_until(lambda: answers(self.port(name), probes.readiness, 1.0), f"{name} is ready", timeout_s=60)
        except NotInTime:
            return started_at
        # Readiness is only asked once the startup probe has succeeded.
        watch.observe(True)
        return time.monotonic()


def answers(port: int, probe: Probe, speed: float) -> bool:
    """Whether the probe succeeds: an answer from 200 to 399 within its timeout. At least a second, however quick."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=max(1.0, probe.timeout_s / speed))
    try:
        connection.request("GET", probe.path)
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
