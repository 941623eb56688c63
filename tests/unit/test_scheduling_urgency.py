"""Whom to call first, and what makes a customer likely to cancel."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from scheduling_svc import policy
from scheduling_svc.domain import Visit
from scheduling_svc.urgency import DUE, FLAGGED, NOT_DUE, OUTSIDE, PROMISED, RISKY, call_place, cancel_risk, is_due

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
POLICY = policy.urgency({})
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def a_visit(age: timedelta = HOUR, **changes: Any) -> Visit:
    order_id = UUID("01939c00-0000-7000-8000-000000000001")
    return Visit(**{"order_id": order_id, "state": "requested", "requested_at": NOW - age, **changes})


@pytest.mark.parametrize(
    ("visit", "risk"),
    [
        (a_visit(), "low"),
        (a_visit(DAY), "medium"),
        (a_visit(DAY - timedelta(seconds=1)), "low"),
        (a_visit(missed_calls=1), "medium"),
        (a_visit(3 * DAY), "medium"),
        (a_visit(3 * DAY, missed_calls=1), "high"),
        (a_visit(DAY, missed_calls=2), "high"),
        (a_visit(missed_calls=3, state="flagged"), "high"),
        (a_visit(state="flagged", last_outcome="refused"), "high"),
        (a_visit(last_outcome="call_back", next_call_at=NOW + HOUR), "low"),
        (a_visit(last_outcome="call_back", next_call_at=NOW - HOUR), "medium"),
        (a_visit(last_outcome="no_answer", next_call_at=NOW - HOUR), "low"),
        (a_visit(9 * DAY, state="scheduled", missed_calls=9), "low"),
        (Visit(UUID(int=1), state="cancelled"), "low"),
    ],
)
def test_the_risk_of_a_cancel_grows_with_age_missed_calls_broken_promises_and_a_refusal(
    visit: Visit, risk: str
) -> None:
    assert cancel_risk(visit, POLICY, NOW) == risk


@pytest.mark.parametrize(
    ("visit", "place"),
    [
        (a_visit(last_outcome="call_back", next_call_at=NOW), PROMISED),
        (a_visit(state="flagged", last_outcome="call_back", next_call_at=NOW - HOUR), PROMISED),
        (a_visit(3 * DAY, missed_calls=1), RISKY),
        (a_visit(), DUE),
        (a_visit(last_outcome="no_answer", missed_calls=1, next_call_at=NOW), DUE),
        (a_visit(state="flagged", last_outcome="refused"), FLAGGED),
        (a_visit(last_outcome="call_back", next_call_at=NOW + HOUR), NOT_DUE),
        (a_visit(state="flagged", missed_calls=3, next_call_at=NOW + HOUR), NOT_DUE),
        (a_visit(state="scheduled"), OUTSIDE),
    ],
)
def test_each_visit_has_its_place_in_the_call_order(visit: Visit, place: int) -> None:
    assert call_place(visit, POLICY, NOW)[0] == place
    assert is_due(visit, NOW) == (place < NOT_DUE)


def test_a_missed_call_makes_a_visit_as_urgent_as_one_asked_for_four_hours_earlier() -> None:
    missed, older = a_visit(5 * HOUR, missed_calls=1), a_visit(8 * HOUR)
    assert call_place(missed, POLICY, NOW)[1] < call_place(older, POLICY, NOW)[1]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"RISK_MEDIUM_AT": 0}, "RISK_MEDIUM_AT"),
        ({"RISK_MEDIUM_AT": 4, "RISK_HIGH_AT": 3}, "RISK_HIGH_AT"),
        ({"CLAIM_S": 0}, "CLAIM_S"),
    ],
)
def test_a_wrong_threshold_stops_the_start_and_names_the_setting(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        policy.urgency(settings)
        policy.claim_lasts(settings)


def test_ages_come_from_a_list_or_from_one_text() -> None:
    assert policy.urgency({"RISK_AGES_S": "60,30"}).ages == policy.urgency({"RISK_AGES_S": [30, 60]}).ages
