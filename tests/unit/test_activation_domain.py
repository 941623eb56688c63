"""Promises of activation's pure parts: what a row takes over, which events say what, how patience runs out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from activation_svc import domain
from activation_svc.claims import need_of
from activation_svc.commands import FailedTry, ProvisionFailed, Retry, Reverted
from activation_svc.domain import TABLE, Activation, Patience
from activation_svc.plan import PORT
from activation_svc.visits import Gate, NoAnswer, postponed
from contracts.events import FieldworkRejected, OrderCancelRequested, OrderPlaced, VisitCancelled
from contracts.ids import new_id

NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
ORDER = UUID("01920000-0000-7000-8000-000000000001")
PATIENCE = Patience(attempts=4, refused_attempts=2, first_delay_s=1.0, longest_delay_s=10.0, revert_alarm_after=3)
REFUSED = FailedTry("apply", "olt-1: port is locked", "olt-1", refused=True)
SILENT = FailedTry("apply", "bng-1: no answer within 2 s", "bng-1")


def envelope() -> dict[str, Any]:
    return {"event_id": new_id(), "occurred_at": NOW, "order_id": ORDER}


def placed() -> OrderPlaced:
    return OrderPlaced(
        **envelope(),
        customer={"name": "김하늘", "phone": "010-1234-5678"},
        address={"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1"},
        items=[{"product": "internet-500", "quantity": 1}],
    )


def moved(row: Activation, message: Any) -> Activation:
    step = TABLE.decide(row.state, message.trigger)
    return row if step.ignored else replace(domain.evolve(row, message, NOW), state=step.to)


def provisioning() -> Activation:
    return moved(Activation(ORDER), placed())


def failing(row: Activation, *failures: FailedTry) -> Activation:
    for failed in failures:
        row = domain.after_failure(row, failed, PATIENCE, 0.0, NOW)
    return row


def test_a_placed_order_is_due_at_once_and_keeps_what_a_visit_will_need() -> None:
    row = provisioning()
    assert (row.state, row.next_attempt_at) == ("provisioning", NOW)
    assert row.customer == {"name": "김하늘", "phone": "010-1234-5678", "email": None}
    assert row.items == [{"product": "internet-500", "quantity": 1}]


def test_only_for_an_order_that_is_placed_alone_something_is_looked_for_ahead() -> None:
    assert need_of([placed()]) == {1: (PORT, "vlan", "ip")}
    assert not need_of([placed(), placed()])
    assert not need_of([OrderCancelRequested(**envelope(), reason="")])


def test_delays_grow_and_are_capped() -> None:
    delays = [domain.retry_delay_s(attempt, 0.5, 30.0, 0.0) for attempt in (1, 2, 3, 7, 1000)]
    assert delays == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert domain.retry_delay_s(1, 0.5, 30.0, 0.99) >= 0.25


def test_silence_is_tried_to_the_end_and_a_refusal_sooner_given_up() -> None:
    assert not failing(provisioning(), *[SILENT] * 3).gives_up
    assert failing(provisioning(), *[SILENT] * 4).gives_up
    assert failing(provisioning(), REFUSED, REFUSED).gives_up


def test_a_failed_try_changes_no_state_and_is_remembered_in_the_elements_own_words() -> None:
    row = failing(provisioning(), SILENT, REFUSED)
    assert row.state == "provisioning"
    assert (row.last_error, row.failed_element) == ("olt-1: port is locked", "olt-1")
    assert [entry["error"] for entry in row.tried] == ["bng-1: no answer within 2 s", "olt-1: port is locked"]
    assert len(failing(row, *[SILENT] * 50).tried) == domain.TRIED_KEPT


def test_a_fallout_says_the_elements_words_in_its_event() -> None:
    row = moved(failing(provisioning(), REFUSED, REFUSED), ProvisionFailed(ORDER))
    event = domain.event("activation_failed", row, ProvisionFailed(ORDER), envelope())
    assert row.state == "fallout"
    assert (event.reason, event.element, event.attempts) == ("olt-1: port is locked", "olt-1", 2)
    assert (row.stuck_since, row.next_attempt_at) == (NOW, None)


def test_a_retry_starts_with_all_its_tries() -> None:
    fallout = moved(failing(provisioning(), REFUSED, REFUSED), ProvisionFailed(ORDER, REFUSED))
    row = moved(fallout, Retry(ORDER, "kim"))
    assert (row.state, row.attempts, row.gives_up, row.stuck_since) == ("provisioning", 0, False, None)
    assert row.next_attempt_at == NOW
    assert len(row.tried) == 3, "what was tried before stays readable"


def test_a_revert_is_never_given_up_and_shown_to_operators_after_a_while() -> None:
    row = replace(provisioning(), state="reverting_rejected")
    assert failing(row, *[SILENT] * 2).stuck_since is None
    row = failing(row, *[SILENT] * 100)
    assert (row.gives_up, row.stuck_since, row.state) == (False, NOW, "reverting_rejected")
    assert row.next_attempt_at == NOW + timedelta(seconds=PATIENCE.longest_delay_s)
    assert moved(row, Reverted(ORDER)).stuck_since is None


def test_reverts_say_what_they_were_for() -> None:
    rejection = FieldworkRejected(**envelope(), technician_id="tech-1", reason_code="no_duct", note="막힘")
    rejected = moved(replace(provisioning(), state="active"), rejection)
    event = domain.event("activation_reverted/rejected", rejected, Reverted(ORDER), envelope())
    assert (event.trigger, event.reason) == ("activation_reverted/rejected", "no_duct: 막힘")
    cancelled = moved(provisioning(), OrderCancelRequested(**envelope(), reason="이사"))
    event = domain.event("activation_reverted/cancelled", cancelled, Reverted(ORDER), envelope())
    assert (event.trigger, event.reason) == ("activation_reverted/cancelled", "이사")


def test_the_customers_reason_outlives_the_way_down_and_back() -> None:
    row = moved(replace(provisioning(), state="active"), OrderCancelRequested(**envelope(), reason="이사"))
    assert moved(row, VisitCancelled(**envelope())).reason == "이사"


def test_every_event_the_table_emits_can_be_built() -> None:
    row = replace(provisioning(), lines=[{"product": "tv-basic", "kind": "tv", "element": "olt-1", "port": "1/1/1"}])
    for _, _, outcome in TABLE:
        for name in getattr(outcome, "emits", ()):
            assert domain.event(name, row, placed(), envelope()).trigger == name
    with pytest.raises(ValueError, match="does not cause 'order_completed'"):
        domain.event("order_completed", row, placed(), envelope())


def test_a_visit_that_is_not_answered_changes_only_when_to_ask_again() -> None:
    row = replace(provisioning(), state="provisioned")
    later = postponed(row, NoAnswer("scheduling: no answer", 2.0, 2.0), 15.0, 0.0, NOW)
    assert replace(later, visit_attempts=0, next_attempt_at=NOW, last_error=None) == row
    assert later.next_attempt_at == NOW + timedelta(seconds=2)
    for _ in range(30):
        later = postponed(later, NoAnswer("no", 100.0, 100.0), 15.0, 0.0, NOW)
    assert later.next_attempt_at == NOW + timedelta(seconds=15)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_while_scheduling_is_away_one_call_at_a_time_finds_out() -> None:
    clock = Clock()
    gate = Gate(clock)
    assert gate.enter(8) == 8
    gate.leave(pause_s=5.0)
    assert gate.enter(8) == 0
    clock.now += 5.0
    assert gate.enter(8) == 1
    assert gate.enter(8) == 0, "somebody is finding out already"
    gate.leave(pause_s=5.0)
    assert gate.enter(8) == 0
    clock.now += 5.0
    assert gate.enter(8) == 1
    gate.leave(pause_s=None)
    assert [gate.enter(8), gate.enter(8)] == [8, 8]


def test_a_probe_that_found_no_order_lets_the_next_one_try() -> None:
    gate = Gate(Clock())
    gate.leave(pause_s=0.0)
    assert gate.enter(8) == 1
    gate.give_up()
    assert gate.enter(8) == 1
