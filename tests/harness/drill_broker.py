"""The broker is killed, restarted, loses every connection and runs short of memory, in the middle of running orders.

One broker, as on a developer's machine: while it is away nothing but the intake goes on. The loss of one node of
several is another drill (`drill_cluster.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

from tests.harness.crew import FATES, Crew
from tests.harness.drill_faults import cut_broker
from tests.harness.drill_load import Load
from tests.harness.drill_stage import Stage, measured
from tools.drill_report import Result
from tools.rabbit import MEMORY_LIMIT, Rabbit
from tools.waiting import wait_until

NAME = "broker"
AT_ONCE_S = 2.0
"""Nobody waits that long for a broker that has said it takes nothing: it is the deadline of a call here."""


@dataclass
class Scene:
    """What is done to, and what was seen."""

    stage: Stage
    load: Load
    broker: Rabbit
    crews: list[Crew] = field(default_factory=list)
    faults: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def inflict(self, blow: Callable[[Scene], None], name: str) -> None:
        """Do it in the middle of orders, and wait until they go on, which they do by themselves."""
        self._more_closed(3)
        self.stage.say(name)
        self.faults += 1
        blow(self)
        begun = time.monotonic()
        self._more_closed(1)
        self.notes.append(f"{name}: the next order was closed {time.monotonic() - begun:.1f} s after it was over")

    def _more_closed(self, number: int) -> None:
        wanted = self.load.closed + number
        wait_until(lambda: self.load.closed >= wanted, "orders go on", timeout_s=150)


def run(stage: Stage) -> Result:
    """Each blow in turn, in the long form twice, while orders of every fate run."""
    begun = time.monotonic()
    with stage.balanced() as balancer:
        load = Load(stage.system, url=balancer.url, seed=stage.seed, hands=8 if stage.long else 6)
        it = Scene(stage, load, stage.nodes.broker)
        with load:
            for _ in range(2 if stage.long else 1):
                it.inflict(kill, "kill -9")
                it.inflict(restart, "restart")
                it.inflict(cut, "every connection cut")
                it.inflict(run_short, "memory alarm")
        for crew in it.crews:
            crew.finish(crew.placed)
            load.placed |= crew.placed
        result = measured(stage, NAME, it.faults, load, begun, it.notes)
    result.problems += it.problems
    return result


def kill(it: Scene) -> None:
    """`kill -9`, and it is started again."""
    it.broker.process.kill()
    it.broker.start()


def restart(it: Scene) -> None:
    """Stopped as an operator would; orders are taken into the journal, and said so; then it is started again."""
    it.broker.stop()
    try:
        _taken_meanwhile(it, 10, "while the broker is stopped")
    finally:
        it.broker.start()


def cut(it: Scene) -> None:
    """The management interface closes each connection that it knows of; of a new one it hears after some seconds."""
    wait_until(lambda: cut_broker(it.stage.system), "the broker tells of connections, and they are cut")


def run_short(it: Scene) -> None:
    """The broker blocks whoever publishes; orders are taken into the journal at once, and said so."""
    with short_of_memory(it.broker):
        _taken_meanwhile(it, 30, "while the broker is short of memory")
        waits = [_seconds(lambda: _taken_meanwhile(it, 1, "the same")) for _ in range(3)]
    if min(waits) >= AT_ONCE_S:
        it.problems.append(f"orders wait for a broker that has said it takes nothing: {waits} s each")


def _taken_meanwhile(it: Scene, number: int, when: str) -> None:
    """Place so many. All are answered with 202; they are worked on when all blows are over."""
    crew = Crew(it.stage.system)
    it.crews.append(crew)
    crew.place(number, FATES)
    if set(crew.statuses) != {202}:
        it.problems.append(f"{when} orders are answered with {sorted(set(crew.statuses))}, not 202")


def _seconds(action: Callable[[], None]) -> float:
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


@contextmanager
def short_of_memory(broker: Rabbit) -> Iterator[None]:
    """The broker's memory alarm: it takes nothing from whoever publishes."""
    broker.limit_memory("1MB")
    try:
        alarms = f"{broker.management_uri}/api/health/checks/local-alarms"
        wait_until(lambda: requests.get(alarms, timeout=30).status_code == 503, "the alarm is given")
        yield
    finally:
        broker.limit_memory(MEMORY_LIMIT)
