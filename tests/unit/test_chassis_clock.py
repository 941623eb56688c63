"""The clock that all processes of a service share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from chassis import clock
from chassis.clock import SharedClock

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


class Machine:
    """A monotonic clock, and a database that can be asked what time it is."""

    def __init__(self) -> None:
        self.since_start_s, self.database, self.asked = 1000.0, NOON, 0

    def pass_s(self, seconds: float) -> None:
        self.since_start_s += seconds
        self.database += timedelta(seconds=seconds)

    def ask(self, source: str) -> datetime:
        self.asked += 1
        return self.database


def test_two_machines_whose_own_clocks_are_ten_minutes_apart_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    ahead, behind = (SharedClock(machine.ask, lambda: machine.since_start_s) for _ in range(2))
    monkeypatch.setattr(clock, "utc_now", lambda: NOON + timedelta(minutes=5))
    told = ahead.now("")
    monkeypatch.setattr(clock, "utc_now", lambda: NOON - timedelta(minutes=5))

    assert told == behind.now("") == NOON


def test_between_two_questions_the_monotonic_clock_counts_on() -> None:
    machine = Machine()
    shared = SharedClock(machine.ask, lambda: machine.since_start_s)
    shared.now("")
    machine.pass_s(7)

    assert shared.now("") == NOON + timedelta(seconds=7)
    assert machine.asked == 1


def test_it_is_asked_again_and_so_follows_a_database_that_has_moved_elsewhere() -> None:
    machine = Machine()
    shared = SharedClock(machine.ask, lambda: machine.since_start_s)
    shared.now("")
    machine.database += timedelta(seconds=90)
    machine.pass_s(SharedClock.ASK_AGAIN_S + 1)

    assert shared.now("") == machine.database
    assert machine.asked == 2


def test_a_database_that_is_away_is_said_and_asked_again_the_next_time() -> None:
    machine = Machine()

    def ask(source: str) -> datetime:
        if source == "away":
            raise ConnectionError("the database is away")
        return machine.ask(source)

    shared = SharedClock(ask, lambda: machine.since_start_s)
    with pytest.raises(ConnectionError):
        shared.now("away")

    assert shared.now("here") == NOON


def test_where_the_database_knows_no_time_it_is_this_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    shared: SharedClock[str] = SharedClock(lambda source: None)
    monkeypatch.setattr(clock, "utc_now", lambda: NOON)

    assert shared.now("") == NOON


def test_the_moment_is_in_utc_whatever_zone_the_database_speaks() -> None:
    machine = Machine()
    machine.database = NOON.astimezone(timezone(timedelta(hours=9)))
    told = SharedClock(machine.ask, lambda: machine.since_start_s).now("")

    assert told == NOON
    assert told.utcoffset() == timedelta(0)
