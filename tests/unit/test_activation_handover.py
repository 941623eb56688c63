"""Orders that go on within the process: none waits past its lease, none is lost, and idle workers are called."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from activation_svc.handover import LOOK_S, WAIT_S, Handover
from activation_svc.leases import LEASE_S


class Desk:
    """A handover with a clock that a test sets; `called` counts the workers that were called."""

    def __init__(self, most: int = 4) -> None:
        self.now, self.called, self.looks = 0.0, 0, 0
        self.due: list[str] = []
        self.handover: Handover[str] = Handover(most, self.call, lambda: self.now)
        self.handover.next(1, self.claim)
        self.looks = 0

    def call(self) -> None:
        self.called += 1

    def claim(self, limit: int) -> list[str]:
        """What the database has."""
        self.looks += 1
        taken, self.due = self.due[:limit], self.due[limit:]
        return taken

    def next(self, limit: int) -> list[str]:
        return self.handover.next(limit, self.claim)

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


def test_who_works_on_what_was_handed_over_asks_no_database(desk: Desk) -> None:
    desk.hand("a", "b")
    assert desk.next(5) == ["a", "b"]
    assert desk.looks == 0
    assert (desk.next(5), desk.looks) == ([], 1)


def test_what_is_to_be_tried_again_is_found_however_many_are_handed_over(desk: Desk) -> None:
    desk.due = ["again"]
    for number in range(10):
        desk.hand(f"{number}a", f"{number}b")
        assert desk.handover.take(0) == []
        desk.now += LOOK_S / 4
        if "again" in desk.next(2):
            break
    assert desk.due == []
    assert desk.now <= LOOK_S


def test_while_others_wait_in_the_database_nobody_overtakes_them(desk: Desk) -> None:
    desk.due = ["a", "b", "c", "d", "e"]
    desk.handover.leave(SimpleNamespace(after_commit=lambda action: action()))  # type: ignore[arg-type]
    assert (desk.handover.room, desk.called) == (0, 1)
    assert desk.next(3) == ["a", "b", "c"]
    assert (desk.handover.room, desk.handover.behind, desk.called) == (0, True, 2), "another worker helps"
    assert desk.next(3) == ["d", "e"]
    assert (desk.handover.room, desk.handover.behind) == (4, False)


def test_what_comes_while_a_worker_looks_is_not_forgotten(desk: Desk) -> None:
    def claim(limit: int) -> list[str]:
        desk.handover.leave(SimpleNamespace(after_commit=lambda action: action()))  # type: ignore[arg-type]
        return []

    assert desk.handover.next(3, claim) == []
    assert (desk.handover.behind, desk.called) == (True, 1)


def test_after_closing_there_is_no_room_and_what_waited_is_given_back(desk: Desk) -> None:
    desk.hand("a", "b")
    assert desk.handover.close() == ["a", "b"]
    assert (desk.handover.room, desk.handover.take(5)) == (0, [])


def test_who_hands_over_goes_on_himself_while_nobody_else_does_and_nobody_waits(desk: Desk) -> None:
    gone: list[str] = []
    tx: Any = SimpleNamespace(after_commit=lambda action: action())
    desk.handover.hand(tx, ["a"], lambda: gone.append("first"))
    assert (gone, desk.called) == (["first"], 0)
    with desk.handover.going():
        assert desk.handover.take(5) == ["a"]
        desk.handover.hand(tx, ["b"], lambda: gone.append("second"))
        assert (gone, desk.called) == (["first"], 1), "one at a time: a worker takes what comes meanwhile"
    desk.handover.hand(tx, ["c"], lambda: gone.append("third"))
    assert (gone, desk.called) == (["first"], 2), "b came before"
    assert desk.handover.take(5) == ["b", "c"]
    desk.handover.hand(tx, ["d"], lambda: gone.append("fourth"))
    assert gone == ["first", "fourth"]


def test_several_are_left_to_the_workers(desk: Desk) -> None:
    gone: list[str] = []
    desk.handover.hand(SimpleNamespace(after_commit=lambda action: action()), ["a", "b"], lambda: gone.append("go"))  # type: ignore[arg-type]
    assert (gone, desk.called) == ([], 1)


def test_after_an_error_on_the_way_the_next_goes_on_as_before(desk: Desk) -> None:
    gone: list[str] = []
    tx: Any = SimpleNamespace(after_commit=lambda action: action())
    desk.handover.hand(tx, ["a"], lambda: gone.append("first"))
    with pytest.raises(ZeroDivisionError), desk.handover.going():
        desk.handover.take(5)
        raise ZeroDivisionError
    desk.handover.hand(tx, ["b"], lambda: gone.append("second"))
    assert gone == ["first", "second"]


def test_who_cannot_go_on_himself_leaves_it_to_a_worker_and_the_way_is_free_again(desk: Desk) -> None:
    gone: list[str] = []
    tx: Any = SimpleNamespace(after_commit=lambda action: action())
    desk.handover.hand(tx, ["a"], lambda: gone.append("first"))
    desk.handover.call_worker()
    assert desk.called == 1
    assert desk.handover.take(1) == ["a"]
    desk.handover.hand(tx, ["b"], lambda: gone.append("second"))
    assert gone == ["first", "second"]
