"""Gathering: in a rush a moment's wait takes several pieces together; whoever is alone never waits."""

from __future__ import annotations

from chassis.rush import RUSH, RUSH_WITHIN_S, Rush

GATHER_S = 0.025


class Clock:
    """Stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def waits(every_s: float, pieces: int = 1) -> list[float]:
    """How long each of 50 takers would wait who come that often."""
    clock = Clock()
    rush = Rush(GATHER_S, clock)
    found = []
    for _ in range(50):
        found.append(rush.wait_s())
        rush.took(pieces)
        clock.now += every_s
    return found


def test_ten_orders_a_second_with_two_events_each_wait_for_nothing() -> None:
    assert set(waits(every_s=0.05)) == {0.0}


def test_in_a_rush_they_are_gathered_from_the_first_moment_that_it_is_known() -> None:
    assert waits(every_s=0.01) == [0.0] * RUSH + [GATHER_S] * (50 - RUSH)


def test_a_large_batch_is_a_rush_by_itself_and_is_over_when_nothing_follows() -> None:
    assert waits(every_s=RUSH_WITHIN_S / 2, pieces=100)[1:] == [GATHER_S] * 49
    assert set(waits(every_s=RUSH_WITHIN_S * 1.01, pieces=100)) == {0.0}


def test_without_a_time_to_gather_nobody_waits() -> None:
    rush = Rush(0.0)
    rush.took(100)
    assert rush.wait_s() == 0.0
