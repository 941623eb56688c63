"""Loops: work that waits is found at once when called, soon when not, by all workers, and idling costs little."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import eventlet
import pytest

from chassis import loop as loop_module
from chassis.container import Container
from chassis.loop import loop
from chassis.wake import wakes
from tests.harness.toys import started
from tools.waiting import wait_until


class Working:
    """Takes numbers from `todo`, one a round; `looked` counts the rounds."""

    name = "working"
    todo: ClassVar[list[int]] = []
    done: ClassVar[list[int]] = []
    looked: ClassVar[list[float]] = []
    gate: ClassVar[Any]
    error: ClassVar[bool] = False

    @loop("work", workers=4, idle_s=0.1)
    def work(self) -> bool:
        self.looked.append(time.monotonic())
        if Working.error:
            raise ValueError("a defect")
        if not self.todo:
            return False
        number = self.todo.pop()
        self.gate.wait()
        self.done.append(number)
        return True


@pytest.fixture
def container() -> Iterator[Container]:
    Working.todo, Working.done, Working.looked, Working.error = [], [], [], False
    Working.gate = eventlet.Event()
    Working.gate.send()
    with started(Working, {"max_workers": 10}) as running:
        wait_until(lambda: len(Working.looked) >= 4, "all have looked once")
        yield running


def watch(seconds: float) -> int:
    """How many rounds there are in that time."""
    before, begun = len(Working.looked), time.monotonic()
    wait_until(lambda: time.monotonic() - begun > seconds, "watched")
    return len(Working.looked) - before


def test_all_workers_are_called_when_one_of_them_finds_work_that_nobody_announced(container: Container) -> None:
    Working.gate = eventlet.Event()
    Working.todo = list(range(8))
    wait_until(lambda: len(Working.todo) == 4, "four are at work")
    Working.gate.send()
    wait_until(lambda: sorted(Working.done) == list(range(8)), "all is done")


def test_while_most_workers_are_busy_the_last_one_goes_on_looking(container: Container) -> None:
    Working.gate = eventlet.Event()
    Working.todo = [1, 2, 3]
    wait_until(lambda: not Working.todo, "three are at work")
    Working.todo.append(4)
    begun = time.monotonic()
    wait_until(lambda: not Working.todo, "found by the fourth, without a call")
    assert time.monotonic() - begun < 2
    Working.gate.send()
    wait_until(lambda: sorted(Working.done) == [1, 2, 3, 4], "all is done")


def test_idle_workers_look_as_often_as_one_of_them_would(container: Container) -> None:
    begun = time.monotonic()
    rounds = watch(1.0)
    assert rounds <= 20 * (time.monotonic() - begun), "four workers of their own would look 40 times a second"


def test_a_call_is_answered_at_once(container: Container) -> None:
    Working.todo = [1]
    wakes(container).wake("work")
    wait_until(lambda: Working.done == [1], "done", timeout_s=5)


def test_a_loop_that_fails_pauses_and_still_stops_at_once(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "ERROR_PAUSE_S", (30.0, 30.0))
    Working.error = True
    wakes(container).wake("work")
    wait_until(lambda: watch(0.3) == 0, "all pause")
    begun = time.monotonic()
    container.stop()
    assert time.monotonic() - begun < 5
