"""The intake forwards what the journal holds: in order, once in effect, and each request gets one answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import eventlet
import pytest

from chassis.rpc_client import DeadlineExceeded, NoRoute, RemoteFault
from contracts.ids import new_id
from gateway_svc import journal_page, parked
from gateway_svc.journal import Journal
from gateway_svc.outcomes import MAX_ATTEMPTS
from tests.harness.intake import Clock, OrderSvc, a_cancel, an_intake, an_order, drain


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite3")
    yield opened
    opened.close()


def test_an_order_is_placed_while_the_client_waits(journal: Journal) -> None:
    svc = OrderSvc()
    stored = an_intake(journal, svc).take(an_order())

    assert (stored.state, stored.answer) == ("forwarded", 201)
    assert svc.placed == [str(stored.order_id)]
    assert not journal.has_backlog


def test_orders_that_wait_together_travel_together(journal: Journal) -> None:
    svc = OrderSvc()
    intake = an_intake(journal, svc)
    stored = list(eventlet.GreenPool(30).imap(intake.take, [an_order() for _ in range(30)]))

    assert all(entry.answer == 201 for entry in stored)
    assert len(svc.calls) < 30
    assert sorted(svc.placed) == sorted(str(entry.order_id) for entry in stored)


def test_without_order_svc_the_order_is_accepted_and_forwarded_later_in_order(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    svc.down = NoRoute("order", "the service is not there", 1.0)
    intake = an_intake(journal, svc, clock=clock)
    stored = [intake.take(an_order()) for _ in range(5)]

    assert all(entry.state == "pending" and entry.answer is None for entry in stored)
    assert intake.is_blocked
    svc.down = None
    clock.now += timedelta(seconds=10)
    drain(intake, svc)
    assert svc.placed == [str(entry.order_id) for entry in stored]
    assert not intake.is_blocked and not journal.has_backlog


def test_a_blocked_way_is_not_tried_again_at_once(journal: Journal) -> None:
    svc = OrderSvc()
    svc.down = NoRoute("order", "gone", 2.0)
    intake = an_intake(journal, svc)
    intake.take(an_order())
    svc.down = None

    assert intake.forward(svc) is False
    assert svc.placed == []


def test_a_lost_answer_places_the_order_once(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)

    def lose_the_answer() -> None:
        raise DeadlineExceeded("order", "no answer", 1.0)

    svc.before_answer = lose_the_answer
    stored = intake.take(an_order())
    assert stored.state == "pending"
    svc.before_answer = lambda: None
    clock.now += timedelta(seconds=10)
    drain(intake, svc)
    assert svc.placed == [str(stored.order_id)]
    assert len(svc.calls) == 2


def test_the_same_key_gets_the_same_answer_whatever_has_happened_since(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)
    placed = intake.take(an_order("placed"))
    assert intake.take(an_order("placed")).answer == placed.answer == 201

    svc.down = NoRoute("order", "gone", 1.0)
    accepted = intake.take(an_order("accepted"))
    svc.down = None
    clock.now += timedelta(seconds=10)
    drain(intake, svc)
    again = intake.take(an_order("accepted"))
    assert again.order_id == accepted.order_id
    assert again.state == "forwarded" and again.answer is None, "it was answered 202, so it is answered 202 again"


def test_the_same_key_at_the_same_moment_is_one_order(journal: Journal) -> None:
    svc = OrderSvc()
    intake = an_intake(journal, svc)
    stored = list(eventlet.GreenPool(20).imap(intake.take, [an_order("k") for _ in range(20)]))

    assert len({entry.order_id for entry in stored}) == 1
    assert {entry.answer for entry in stored} == {201}
    assert len(svc.placed) == 1


def test_a_key_that_order_svc_knew_already_leads_to_the_first_order(journal: Journal) -> None:
    svc = OrderSvc()
    first = an_intake(journal, svc).take(an_order("k"))
    other = Journal(journal.path.with_name("other.sqlite3"))
    second = an_intake(other, svc).take(an_order("k"))

    assert second.stands_as == first.order_id
    assert len(svc.placed) == 1
    other.close()


def test_an_order_that_order_svc_refuses_is_told_or_parked(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)
    told = an_order()
    svc.invalid.add(str(told.order_id))
    assert (intake.take(told).state, intake.take(an_order()).state) == ("refused", "forwarded")

    later = an_order()
    svc.invalid.add(str(later.order_id))
    svc.down = NoRoute("order", "gone", 1.0)
    intake.take(later)
    svc.down = None
    clock.now += timedelta(seconds=10)
    drain(intake, svc)
    (item,) = parked.page(journal, 10, None)["items"]
    assert item["order_id"] == str(later.order_id)
    assert journal_page.from_journal(journal.failed(1)[0], None)["status"] == "fallout"

    svc.invalid.clear()
    assert parked.act(journal, "replay_parked", UUID(item["message_id"]))
    drain(intake, svc)
    assert str(later.order_id) in svc.placed
    assert not parked.act(journal, "drop_parked", UUID(item["message_id"]))


def test_one_poisonous_order_does_not_stop_the_others(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)
    orders = [an_order() for _ in range(3)]
    svc.poison.add(str(orders[1].order_id))
    for order in orders:
        journal.append(order)

    intake.forward(svc)
    assert svc.placed == [str(orders[0].order_id), str(orders[2].order_id)]
    for _ in range(MAX_ATTEMPTS):
        intake.note(an_order())
        clock.now += timedelta(seconds=10)
        intake.forward(svc)
    assert [entry.order_id for entry in journal.failed(10)] == [orders[1].order_id]


def test_a_defect_of_the_whole_service_makes_no_order_fail(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    svc.down = RemoteFault("order.place_orders: OperationalError: no database")
    intake = an_intake(journal, svc, clock=clock)
    for _ in range(2 * MAX_ATTEMPTS):
        journal.append(an_order())
        intake.forward(svc)
        clock.now += timedelta(seconds=10)
    assert journal.lag()["failed"] == 0
    svc.down = None
    drain(intake, svc)
    assert len(svc.placed) == 2 * MAX_ATTEMPTS


def test_a_poisonous_cancel_holds_up_no_order_and_ends_with_a_person(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)
    cancelled = new_id()
    svc.indigestible.add(str(cancelled))
    journal.append(a_cancel(cancelled))
    for turn in range(MAX_ATTEMPTS):
        assert journal.failed(10) == []
        journal.append(an_order())
        intake.forward(svc)
        assert len(svc.placed) == turn + 1 and not intake.is_blocked, "the order went past the cancel"
        clock.now += timedelta(seconds=10)
    assert [entry.order_id for entry in journal.failed(10)] == [cancelled]


def test_a_poisonous_order_alone_holds_up_nobody_but_its_own_cancel(journal: Journal) -> None:
    svc = OrderSvc()
    intake = an_intake(journal, svc)
    poisonous, other = an_order(), an_order()
    svc.poison.add(str(poisonous.order_id))
    svc.indigestible.add(str(poisonous.order_id))
    for entry in (poisonous, a_cancel(poisonous.order_id), a_cancel(other.order_id), other):
        journal.append(entry)
    intake.forward(svc)
    assert svc.placed == svc.cancelled == [str(other.order_id)]
    assert [(entry.kind, entry.order_id) for entry in journal.pending(10)] == [
        ("order", poisonous.order_id), ("cancel", poisonous.order_id),
    ]


@pytest.mark.parametrize("by", ["operator", "subscriber:1"])
def test_a_cancel_waits_for_its_order_that_was_left_behind_when_its_neighbours_went_through(
    journal: Journal, by: str
) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)
    other, poisonous = an_order(), an_order()
    left = str(poisonous.order_id)
    svc.poison.add(left)
    svc.unknown.add(left)
    for entry in (other, poisonous, a_cancel(poisonous.order_id, by)):
        journal.append(entry)
    assert intake.forward(svc)
    assert svc.placed == [str(other.order_id)]
    assert [(entry.kind, entry.order_id, entry.attempts) for entry in journal.pending(10)] == [
        ("order", poisonous.order_id, 1), ("cancel", poisonous.order_id, 0),
    ]

    svc.poison.clear()
    svc.unknown.clear()
    drain(intake, svc)
    assert svc.placed == [str(other.order_id), left] and svc.cancelled == [left]
    assert not journal.has_backlog and journal.failed(10) == []


def test_a_journalled_cancel_follows_its_order(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)
    svc.down = NoRoute("order", "gone", 1.0)
    order = intake.take(an_order())
    intake.note(a_cancel(order.order_id))
    assert journal_page.from_journal(order, journal.cancel(order.order_id))["status"] == "cancelling"
    svc.down = None
    clock.now += timedelta(seconds=10)
    drain(intake, svc)
    assert svc.placed == svc.cancelled == [str(order.order_id)]


def test_a_cancel_that_took_effect_although_its_answer_was_lost_needs_no_operator(journal: Journal) -> None:
    svc = OrderSvc()
    intake = an_intake(journal, svc)
    order_id = new_id()
    svc.cancelled.append(str(order_id))
    svc.poison.add(str(order_id))
    journal.append(a_cancel(order_id))

    drain(intake, svc)

    noted = journal.cancel(order_id)
    assert noted is not None and noted.state == "forwarded"


def test_a_cancel_that_came_too_late_is_shown_to_operators(journal: Journal) -> None:
    svc = OrderSvc()
    intake = an_intake(journal, svc)
    order_id = new_id()
    svc.poison.add(str(order_id))
    journal.append(a_cancel(order_id))
    drain(intake, svc)
    (item,) = parked.page(journal, 10, None)["items"]
    assert "closed" in item["error"]
