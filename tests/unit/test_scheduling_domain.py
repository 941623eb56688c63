"""The visit's rules: what a call's outcome means, what the events carry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.table import NONE, Transition
from contracts.errors import Invalid
from contracts.events import ActivationCancelRequested, VisitScheduled
from scheduling_svc import domain
from scheduling_svc.domain import CallPolicy, FixAppointment, RequestVisit, Visit, evolve, judge_call, why_call

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
ORDER = UUID("01939c00-0000-7000-8000-000000000001")
POLICY = CallPolicy(max_missed=3, retry_s=600, retry_max_s=3600, horizon=timedelta(days=60))
CUSTOMER = {"name": "김하늘", "phone": "010-1234-5678", "email": None}
ADDRESS = {"postcode": "06236", "line1": "테헤란로 1", "line2": ""}
ITEMS = [{"product": "internet-500", "quantity": 1}]


def a_visit(**changes: Any) -> Visit:
    return Visit(**{
        "order_id": ORDER, "state": "requested", "customer": CUSTOMER, "address": ADDRESS, "items": ITEMS,
        "requested_at": NOW, **changes,
    })


def called(visit: Visit, outcome: Any, note: str = "", call_back_at: datetime | None = None) -> Visit:
    """The visit after this call, as the shell would store it."""
    command = judge_call(visit, outcome, note, call_back_at, POLICY, NOW)
    after = evolve(visit, command, NOW)
    return domain.Visit(**{
        **{name: getattr(after, name) for name in Visit.__dataclass_fields__},
        "state": domain.TABLE.decide(visit.state, command.trigger).to,
    })


def an_envelope() -> dict[str, Any]:
    return {"event_id": ORDER, "occurred_at": NOW, "order_id": ORDER, "causation_id": None, "traceparent": None}


def test_a_request_carries_everything_the_visit_needs() -> None:
    visit = evolve(Visit(ORDER), RequestVisit(ORDER, CUSTOMER, ADDRESS, ITEMS), NOW)
    assert (visit.customer, visit.address, visit.items, visit.requested_at) == (CUSTOMER, ADDRESS, ITEMS, NOW)


def test_a_request_says_nothing_and_changes_only_what_nobody_has_heard_of() -> None:
    """That is why a visit can be stored unless there is one, without a look at what is there (`call_queue.add`)."""
    decided = {state: domain.TABLE.decide(state, RequestVisit.trigger) for state in domain.TABLE.states()}
    assert decided.pop(NONE) == Transition("requested")
    assert all(transition.ignored for transition in decided.values())


def test_the_pause_doubles_with_each_missed_call_until_the_visit_is_flagged() -> None:
    visit, pauses = a_visit(), []
    for _ in range(3):
        visit = called(visit, "no_answer")
        assert visit.next_call_at is not None
        pauses.append((visit.next_call_at - NOW).total_seconds())
    assert pauses == [600, 1200, 2400]
    assert (visit.state, visit.calls, visit.missed_calls) == ("flagged", 3, 3)
    assert visit.flag_reason == "3 call(s) were missed"


@given(st.integers(min_value=0, max_value=100_000))
def test_the_pause_never_shrinks_and_keeps_its_limit(missed: int) -> None:
    assert POLICY.pause(missed) <= POLICY.pause(missed + 1) <= timedelta(seconds=POLICY.retry_max_s)


def test_a_refusal_flags_the_visit_with_the_customers_reason() -> None:
    visit = called(a_visit(), "refused", note="이사 취소")
    assert (visit.state, visit.flag_reason) == ("flagged", "the customer refused: 이사 취소")


def test_agreed_keeps_the_visit_in_the_queue_until_an_appointment_is_fixed() -> None:
    visit = called(a_visit(missed_calls=1, next_call_at=NOW + timedelta(hours=1)), "agreed")
    assert (visit.state, visit.next_call_at, why_call(visit)) == ("requested", None, "appointment_open")


def test_a_promised_call_back_is_planned_for_that_time() -> None:
    at = NOW + timedelta(hours=5)
    visit = called(a_visit(), "call_back", call_back_at=at)
    assert (visit.state, visit.next_call_at, why_call(visit)) == ("requested", at, "call_back_promised")


def test_talking_to_the_customer_does_not_take_a_flag_away() -> None:
    visit = called(a_visit(state="flagged", flag_reason="3 call(s) were missed", missed_calls=3), "agreed")
    assert (visit.state, visit.flag_reason) == ("flagged", "3 call(s) were missed")


@pytest.mark.parametrize(
    ("outcome", "at"),
    [
        ("call_back", None),
        ("call_back", NOW),
        ("call_back", NOW - timedelta(seconds=1)),
        ("call_back", NOW + timedelta(days=61)),
        ("no_answer", NOW + timedelta(hours=1)),
        ("agreed", NOW + timedelta(hours=1)),
    ],
)
def test_a_call_back_time_that_makes_no_sense_is_refused_by_name(outcome: Any, at: datetime | None) -> None:
    with pytest.raises(Invalid) as refused:
        judge_call(a_visit(), outcome, "", at, POLICY, NOW)
    assert [field["field"] for field in refused.value.fields] == ["call_back_at"]


def test_each_appointment_grows_the_revision_and_says_who_comes_where_and_for_what() -> None:
    start = NOW + timedelta(days=1)
    visit = a_visit(flag_reason="x", next_call_at=NOW)
    for _ in range(2):
        visit = evolve(visit, FixAppointment(ORDER, start, start + timedelta(hours=2), "tech-kim", "김도현"), NOW)
    built = domain.event("visit_scheduled", visit, None, an_envelope())
    assert isinstance(built, VisitScheduled)
    assert (built.revision, built.technician_id, built.technician_name) == (2, "tech-kim", "김도현")
    assert (built.customer.name, built.address.postcode, built.items[0].product) == ("김하늘", "06236", "internet-500")
    assert (visit.flag_reason, visit.next_call_at) == (None, None)


def test_the_reason_of_a_cancel_travels_on() -> None:
    request = ActivationCancelRequested(**an_envelope(), reason="이사")
    visit = evolve(a_visit(state="scheduled"), request, NOW)
    for name in ("visit_cancel_requested", "visit_cancelled"):
        assert domain.event(name, visit, request, an_envelope()).reason == "이사"  # type: ignore[attr-defined]


def test_an_event_the_table_does_not_name_is_a_defect() -> None:
    with pytest.raises(ValueError, match="emits no"):
        domain.event("order_placed", a_visit(), None, an_envelope())


def test_every_event_and_command_of_the_table_is_known_to_the_domain() -> None:
    commands = {"request_visit", "missed", "flag", "agree"}
    assert domain.TABLE.triggers() == commands | set(domain.CONSUMES)
