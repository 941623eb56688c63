"""Orders that go on within the process: none waits past its lease, none is lost, and idle workers are called."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from activation_svc.handover import WAIT_S, Handover
from activation_svc.leases import LEASE_S


class Desk:
    """A handover with a clock that a test sets; `called` counts the workers that were called."""

    def __init__(self, most: int = 4) -> None:
        self.now, self.called = 0.0, 0
        self.handover: Handover[str] = Handover(most, self.call, lambda: self.now)

    def call(self) -> None:
        self.called += 1

    def hand(self, *works: str) -> None:
        committed: list[Any] = []
        self.handover.hand(SimpleNamespace(after_commit=committed.append), list(works))  # type: ignore[arg-type]
        for action in committed:
            action()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_is_handed_over_is_taken_once_and_in_order(desk: Desk) -> None:
    desk.hand("a", "b")
    desk.hand("c")
    assert desk.handover.take(2) == ["a", "b"]
    assert desk.handover.take(2) == ["c"]
    assert desk.handover.take(2) == []


def test_nothing_is_handed_over_before_the_commit(desk: Desk) -> None:
    committed: list[Any] = []
    desk.handover.hand(SimpleNamespace(after_commit=committed.append), ["a"])  # type: ignore[arg-type]
    assert (desk.handover.take(1), desk.called) == ([], 0)
    committed[0]()
    assert (desk.handover.take(1), desk.called) == (["a"], 1)


def test_one_worker_is_called_for_what_comes_and_another_for_what_the_first_leaves(desk: Desk) -> None:
    desk.hand("a", "b", "c")
    assert desk.called == 1
    desk.handover.take(2)
    assert desk.called == 2
    desk.handover.take(2)
    assert desk.called == 2
    desk.hand()
    assert desk.called == 2, "nothing came"


def test_room_is_what_may_still_come(desk: Desk) -> None:
    assert desk.handover.room == 4
    desk.hand("a", "b", "c")
    assert desk.handover.room == 1
    desk.hand("d", "e")
    assert desk.handover.room == 0


def test_what_waited_too_long_is_left_to_the_end_of_its_lease(desk: Desk) -> None:
    desk.hand("early")
    desk.now = WAIT_S / 2
    desk.hand("late")
    desk.now = WAIT_S + 1
    assert desk.handover.take(5) == ["late"]
    assert WAIT_S < LEASE_S / 2, "whoever begins has most of the lease before him"


def test_a_worker_is_told_to_look_into_the_database(desk: Desk) -> None:
    desk.handover.behind = False
    desk.handover.look()
    assert (desk.handover.behind, desk.called) == (True, 1)


def test_after_closing_there_is_no_room_and_what_waited_is_given_back(desk: Desk) -> None:
    desk.hand("a", "b")
    assert desk.handover.close() == ["a", "b"]
    assert (desk.handover.room, desk.handover.take(5)) == (0, [])
