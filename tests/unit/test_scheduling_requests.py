"""What scheduling is asked: every field at fault is named, and nothing strange gets past the edge."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import Invalid
from scheduling_svc import call_queue, policy, queries
from scheduling_svc.requests import Appointment, Call, VisitList, checked, moment
from scheduling_svc.seed import SeedTechnician

ORDER = "01939c00-0000-7000-8000-000000000001"
CALL = {"order_id": ORDER, "by": "dispatcher", "outcome": "no_answer"}
APPOINTMENT = {
    "order_id": ORDER, "by": "dispatcher",
    "window_start": "2026-11-26T00:00:00Z", "window_end": "2026-11-26T11:00:00+09:00",
}


@pytest.mark.parametrize(
    ("model", "good", "field", "value"),
    [
        (Call, CALL, "order_id", "no-uuid"),
        (Call, CALL, "order_id", None),
        (Call, CALL, "by", ""),
        (Call, CALL, "outcome", "maybe"),
        (Call, CALL, "outcome", 1),
        (Call, CALL, "note", "x" * 501),
        (Call, CALL, "note", "\x00"),
        (Call, CALL, "note", "\ud800"),
        (Call, CALL, "call_back_at", "tomorrow"),
        (Call, CALL, "call_back_at", "2026-11-26T09:00:00"),
        (Call, CALL, "call_back_at", 1764000000),
        (Call, CALL, "call_back_at", "0001-01-01T00:00:00+14:00"),
        (Call, CALL, "call_back_at", "2026-13-26T09:00:00Z"),
        (Appointment, APPOINTMENT, "window_start", None),
        (Appointment, APPOINTMENT, "window_end", "9999-12-31T23:59:59-14:00"),
        (Appointment, APPOINTMENT, "technician_id", ""),
        (Appointment, APPOINTMENT, "technician_id", "t" * 65),
        (Appointment, APPOINTMENT, "technician_id", 7),
        (VisitList, {}, "state", "lost"),
        (VisitList, {}, "limit", 0),
        (VisitList, {}, "limit", 201),
        (VisitList, {}, "limit", "10"),
        (VisitList, {}, "cursor", "x" * 501),
    ],
)
def test_the_field_at_fault_is_named(model: Any, good: dict[str, Any], field: str, value: Any) -> None:
    with pytest.raises(Invalid) as refused:
        checked(model, **{**good, field: value})
    assert [error["field"] for error in refused.value.fields] == [field]


def test_times_arrive_in_utc() -> None:
    wanted = checked(Appointment, **APPOINTMENT)
    assert queries.rfc3339(wanted.window_end) == "2026-11-26T02:00:00Z"


def test_a_date_means_its_first_local_instant() -> None:
    assert queries.rfc3339(moment("from", "2026-11-26", policy.grid({}))) == "2026-11-25T15:00:00Z"


@pytest.mark.parametrize(
    "value", ["", "2026-02-30", "0001-01-01", "9999-12-31", "26.11.2026", 5, [], "2026-11-26T10:00", "١٢٣٤-١٢-١٢"]
)
def test_a_bound_that_is_no_time_is_refused_by_name(value: Any) -> None:
    with pytest.raises(Invalid) as refused:
        moment("from", value, policy.grid({}))
    assert refused.value.fields[0]["field"] == "from"


@pytest.mark.parametrize("cursor", ["", "e30", "bm90IGpzb24", "WzEsMiwzLDRd", "한글", "W10", "[" * 400])
def test_a_cursor_of_our_own_making_only(cursor: str) -> None:
    with pytest.raises(Invalid) as refused:
        call_queue._read_cursor(cursor)
    assert refused.value.fields[0]["field"] == "cursor"


@pytest.mark.parametrize(
    "change",
    [
        {"id": "Tech Kim"}, {"skills": ["fibre"]}, {"areas": []}, {"areas": ["서울"]},
        {"shifts": [{"days": ["monday"], "from": "09:00", "to": "18:00"}]},
        {"shifts": [{"days": ["mon"], "from": "18:00", "to": "09:00"}]},
        {"shifts": [{"days": ["mon"], "from": "9:00", "to": "18:00"}]},
        {"phone": "010-1234-5678"},
    ],
)
def test_a_wrong_seed_file_is_refused(change: dict[str, Any]) -> None:
    good = {"id": "tech-kim", "name": "김도현", "skills": ["internet"], "areas": ["*"], "shifts": []}
    SeedTechnician.model_validate(good)
    with pytest.raises(ValueError):
        SeedTechnician.model_validate(good | change)
