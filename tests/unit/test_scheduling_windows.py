"""Visit windows: the grid, who could come, and who is best."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Invalid
from scheduling_svc import policy
from scheduling_svc.windows import WEEKDAYS, Booking, Site, Technician, Window, rank, why_unfit

GRID = policy.grid({})
HOME = Site("06236", frozenset({"internet", "tv"}))
WEDNESDAY = date(2026, 11, 25)


def seoul(hour: int, minute: int = 0, day: date = WEDNESDAY) -> datetime:
    return datetime.combine(day, time(hour, minute), GRID.timezone).astimezone(UTC)


def a_window(hour: int = 9, day: date = WEDNESDAY) -> Window:
    return Window(seoul(hour, day=day), seoul(hour + 2, day=day))


def a_technician(id: str = "tech-kim", **changes: Any) -> Technician:
    all_day = {day: [(time(9), time(19))] for day in WEEKDAYS}
    return replace(Technician(id, id, frozenset({"internet", "tv"}), ("*",), all_day), **changes)


def test_a_day_has_five_windows_of_two_hours_stored_in_utc() -> None:
    windows = list(GRID.of_day(WEDNESDAY))
    assert [w.start.hour for w in windows] == [0, 2, 4, 6, 8]
    assert all(w.end - w.start == timedelta(hours=2) and w.start.tzinfo is UTC for w in windows)


def test_windows_that_have_begun_are_not_offered_and_later_ones_of_today_are() -> None:
    now = seoul(11)
    offered = GRID.between(now, now + GRID.horizon, now)
    assert offered[0] == a_window(13)
    assert offered[-1].start < now + timedelta(days=GRID.days)
    assert len(offered) == 3 + (GRID.days - 1) * 5


def test_min_lead_and_an_end_narrow_the_offer() -> None:
    now = seoul(8)
    patient = replace(GRID, min_lead=timedelta(hours=3))
    assert patient.between(now, seoul(15), now) == [a_window(13)]


def test_a_list_that_starts_beyond_the_horizon_is_empty() -> None:
    assert GRID.between(datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), seoul(8)) == []


@given(st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)))
def test_whatever_is_offered_can_be_booked(now: datetime) -> None:
    for window in GRID.between(now, now + GRID.horizon, now):
        assert GRID.check(window.start, window.end, now) == window


@pytest.mark.parametrize(
    ("start", "end", "field", "says"),
    [
        (seoul(9), seoul(11), "window_start", "must be in the future"),
        (seoul(10), seoul(12), "window_start", "must be in the future"),
        (seoul(14), seoul(16), "window_start", "09:00, 11:00, 13:00, 15:00, 17:00 (Asia/Seoul)"),
        (seoul(13), seoul(16), "window_end", "must be 2026-11-25T06:00:00Z"),
        (seoul(13), seoul(13), "window_end", "must be 2026-11-25T06:00:00Z"),
        (seoul(13) + timedelta(days=90), seoul(15) + timedelta(days=90), "window_start", "within 60 days"),
        (datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), "window_start", "within 60 days"),
        (datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), "window_start", "in the future"),
    ],
)
def test_a_window_outside_the_grid_is_refused_by_field(start: datetime, end: datetime, field: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        GRID.check(start, end, seoul(10))
    assert refused.value.fields[0]["field"] == field
    assert says in refused.value.detail


@pytest.mark.parametrize(
    ("technician", "why"),
    [
        (a_technician(), None),
        (a_technician(skills=frozenset({"internet"})), "does not install tv"),
        (a_technician(areas=("07", "0624")), "does not work in the area"),
        (a_technician(areas=("07", "0623")), None),
        (a_technician(shifts={"tue": [(time(9), time(19))]}), "does not work in this window"),
        (a_technician(shifts={"wed": [(time(9), time(10, 59))]}), "does not work in this window"),
        (a_technician(shifts={"wed": [(time(14), time(18)), (time(9), time(11))]}), None),
    ],
)
def test_who_could_come(technician: Technician, why: str | None) -> None:
    found = why_unfit(technician, HOME, a_window(9), GRID)
    assert found is None if why is None else why in (found or "")


def test_best_is_who_has_least_to_do_that_day_then_who_knows_the_area_then_by_id() -> None:
    areas = {"a": ("*",), "b": ("06",), "c": ("*", "0623"), "d": ("0623",)}
    technicians = [a_technician(id, areas=known) for id, known in areas.items()]
    assert [t.id for t in rank(technicians, HOME, a_window(13), [], GRID)] == ["c", "d", "b", "a"]
    busy_day = [Booking("c", a_window(9)), Booking("d", a_window(9, WEDNESDAY + timedelta(days=1)))]
    assert [t.id for t in rank(technicians, HOME, a_window(13), busy_day, GRID)] == ["d", "b", "a", "c"]


def test_a_booked_technician_is_not_offered_even_where_the_windows_only_overlap() -> None:
    odd = Window(seoul(14), seoul(16))
    assert rank([a_technician()], HOME, a_window(13), [Booking("tech-kim", odd)], GRID) == []
    assert rank([a_technician()], HOME, a_window(11), [Booking("tech-kim", odd)], GRID) == [a_technician()]


@pytest.mark.parametrize("value", ["9-11", "11:00-09:00", "09:00-11:00,10:00-12:00", "nonsense"])
def test_a_wrong_grid_stops_the_start_and_names_the_setting(value: str) -> None:
    with pytest.raises(ValueError, match="VISIT_WINDOWS"):
        policy.grid({"VISIT_WINDOWS": value})


def test_the_grid_can_be_set_from_one_text() -> None:
    grid = policy.grid({"VISIT_WINDOWS": "10:00-12:00, 08:00-10:00", "TIMEZONE": "UTC"})
    assert grid.windows == ((time(8), time(10)), (time(10), time(12)))
