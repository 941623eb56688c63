"""Requests for visits: an answer for each, one that is wrong spoils only itself, and new ones take one question."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from chassis import clock
from chassis.connection import Transacting
from contracts.rpc import VisitRequest, VisitResult
from scheduling_svc import domain, models
from scheduling_svc.service import SAGA
from tests.harness.scheduling import Scheduling, a_request, running, scheduling

__all__ = ["running", "scheduling"]


def ids(count: int) -> list[str]:
    return [str(clock.new_uuid7()) for _ in range(count)]


def ask(scheduling: Scheduling, *requests: Any) -> list[VisitResult]:
    return [VisitResult.model_validate(result) for result in scheduling.call("request_visits", requests=list(requests))]


def outcomes(results: list[VisitResult]) -> list[str]:
    return [result.outcome for result in results]


def stored(scheduling: Scheduling) -> dict[str, str]:
    """The state of every visit, by order."""
    with scheduling.store.engine.connect() as conn:
        rows = conn.execute(sa.select(models.visits.c.order_id, models.visits.c.state))
        return {str(order_id): state for order_id, state in rows}


def row_of(scheduling: Scheduling, order_id: str) -> dict[str, Any]:
    """Everything that is stored of the visit, but for the order."""
    with scheduling.store.engine.connect() as conn:
        found = conn.execute(sa.select(models.visits).where(models.visits.c.order_id == UUID(order_id))).one()
    return {name: value for name, value in found._asdict().items() if name != "order_id"}


@pytest.fixture
def told(scheduling: Scheduling, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The hints so far."""
    hints: list[Any] = []
    announced = next(each for each in scheduling.container.dependencies if each.attr_name == "hints")
    monkeypatch.setattr(announced, "announce", hints.extend)
    return hints


@pytest.fixture
def asked(scheduling: Scheduling, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is sent to the database, one entry for each wait for an answer."""
    found: list[bytes] = []
    send = Transacting.with_all_that_waits

    def record(self: Transacting, statement: bytes) -> bytes:
        found.append(send(self, statement))
        return found[-1]

    monkeypatch.setattr(Transacting, "with_all_that_waits", record)
    return found


def test_several_requests_are_answered_in_their_order_and_queued(scheduling: Scheduling) -> None:
    orders = ids(3)
    results = ask(scheduling, *(a_request(order_id) for order_id in orders))
    assert [str(result.order_id) for result in results] == orders
    assert outcomes(results) == ["accepted"] * 3
    assert sorted(scheduling.queue()) == sorted(orders)


def test_asking_twice_in_one_call_or_in_two_changes_nothing(scheduling: Scheduling) -> None:
    first, second = ids(2)
    assert outcomes(ask(scheduling, a_request(first), a_request(second), a_request(first))) == ["accepted"] * 3
    scheduling.appoint(first, 9)
    before = scheduling.call("get_visit", order_id=first)
    assert outcomes(ask(scheduling, a_request(first, postcode="48058"), a_request(second))) == ["accepted"] * 2
    assert scheduling.call("get_visit", order_id=first) == before
    assert stored(scheduling) == {first: "scheduled", second: "requested"}


def test_an_order_that_was_cancelled_before_is_told_so_and_the_others_are_queued(scheduling: Scheduling) -> None:
    gone, wanted = ids(2)
    scheduling.receive(scheduling.event("activation_cancel_requested", gone, reason="이사"))
    assert outcomes(ask(scheduling, a_request(gone), a_request(wanted))) == ["cancelled", "accepted"]
    assert stored(scheduling) == {gone: "cancelled", wanted: "requested"}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"customer": {"name": "김하늘", "phone": "none"}}, "customer.phone"),
        ({"items": [{"product": "internet-9000", "quantity": 1}]}, "items.0.product"),
        ({"priority": "high"}, "priority"),
    ],
)
def test_one_that_is_not_valid_is_told_so_under_its_order_and_spoils_no_other(
    scheduling: Scheduling, wrong: dict[str, Any], field: str
) -> None:
    first, bad, last = ids(3)
    results = ask(scheduling, a_request(first), a_request(bad) | wrong, a_request(last))
    assert outcomes(results) == ["accepted", "invalid", "accepted"]
    assert str(results[1].order_id) == bad
    assert results[1].error is not None
    assert [each["field"] for each in results[1].error["fields"]] == [field]
    assert sorted(stored(scheduling)) == sorted([first, last])


@pytest.mark.parametrize("nonsense", [None, 7, "text", [], {}, {"order_id": 7}])
def test_what_is_no_request_at_all_is_answered_without_an_order(scheduling: Scheduling, nonsense: Any) -> None:
    (good,) = ids(1)
    results = ask(scheduling, nonsense, a_request(good))
    assert [(result.order_id and str(result.order_id), result.outcome) for result in results] == [
        (None, "invalid"), (good, "accepted")
    ]


def test_nothing_to_ask_for_is_answered_with_nothing(scheduling: Scheduling) -> None:
    assert ask(scheduling) == []
    assert stored(scheduling) == {}


def test_each_order_of_a_call_is_told_to_the_gateways(scheduling: Scheduling, told: list[Any]) -> None:
    orders = ids(3)
    ask(scheduling, *(a_request(order_id) for order_id in orders))
    assert [hint.key for hint in told] == orders
    (new,) = ids(1)
    ask(scheduling, a_request(orders[0]), a_request(new))
    assert [hint.key for hint in told] == [*orders, new], "a request that changes nothing is nothing new"


def test_visits_that_nobody_has_heard_of_take_one_question(scheduling: Scheduling, asked: list[bytes]) -> None:
    alone, first, second = ids(3)
    scheduling.call("request_visit", **a_request(alone))
    ask(scheduling, a_request(first), a_request(second))
    # The service's loops may ask for something of their own meanwhile.
    for order_id in (alone, first, second):
        assert sum(order_id.encode() in question for question in asked) == 1
    assert stored(scheduling) == dict.fromkeys((alone, first, second), "requested")


def test_a_visit_stored_by_one_question_is_the_one_that_the_saga_stores(scheduling: Scheduling) -> None:
    by_one, by_saga = ids(2)
    scheduling.call("request_visit", **a_request(by_one))
    with scheduling.store.transaction() as tx:
        SAGA.command(tx, domain.requested(VisitRequest.model_validate(a_request(by_saga))))
    assert row_of(scheduling, by_one) == row_of(scheduling, by_saga)
    assert scheduling.emitted(by_one) == []


def test_of_an_order_twice_in_one_call_the_first_request_counts(scheduling: Scheduling, told: list[Any]) -> None:
    (order_id,) = ids(1)
    requests = a_request(order_id), a_request(order_id, postcode="48058")
    assert outcomes(ask(scheduling, *requests)) == ["accepted"] * 2
    assert row_of(scheduling, order_id)["address"]["postcode"] == requests[0]["address"]["postcode"]
    assert [hint.key for hint in told] == [order_id]


def test_of_two_calls_at_one_moment_one_stores_the_visit_and_both_are_told_yes(
    scheduling: Scheduling, told: list[Any]
) -> None:
    (order_id,) = ids(1)
    with scheduling.store.transaction() as tx:
        tx.lock([UUID(order_id)])
        tx.conn.exec_driver_sql("select 1")
        calls = [scheduling.calling("request_visit", **a_request(order_id)) for _ in range(2)]
        scheduling.wait_until_blocked(2)
    assert [call.wait() for call in calls] == [{"outcome": "accepted"}] * 2
    assert [hint.key for hint in told] == [order_id]


def test_a_cancel_that_comes_while_a_visit_is_being_stored_takes_it_back(scheduling: Scheduling) -> None:
    (order_id,) = ids(1)
    with scheduling.store.engine.connect() as somebody:
        # Somebody who is about to store the same visit, without the order's lock, and then does not.
        somebody.execute(models.visits.insert().values(
            order_id=UUID(order_id), state="requested", calls=0, missed_calls=0, revision=0, cancel_reason="",
            created_at=scheduling.now, updated_at=scheduling.now,
        ))  # fmt: skip
        request = scheduling.calling("request_visit", **a_request(order_id))
        scheduling.wait_until_blocked(1)
        cancel = scheduling.calling("on_events", events=[scheduling.event("activation_cancel_requested", order_id)])
        scheduling.wait_until_blocked(2)
        somebody.rollback()
    assert (request.wait(), cancel.wait()) == ({"outcome": "accepted"}, None)
    assert row_of(scheduling, order_id)["state"] == "cancelled"
    assert row_of(scheduling, order_id)["customer"] is not None, "the visit that was asked for, and no tombstone"
    assert [event["event_type"] for event in scheduling.emitted(order_id)] == ["visit_cancelled"]


def test_after_a_failure_between_the_new_and_the_known_asking_again_gets_every_answer(
    scheduling: Scheduling, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, gone, new = ids(3)
    ask(scheduling, a_request(known))
    scheduling.receive(scheduling.event("activation_cancel_requested", gone))
    requests = [a_request(order_id) for order_id in (known, gone, new)]
    with monkeypatch.context() as broken:
        broken.setattr(SAGA, "load", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ask(scheduling, *requests)
    assert stored(scheduling) == {known: "requested", gone: "cancelled", new: "requested"}
    assert told[-1].key == new, "what is stored is told, whatever comes after it"
    assert outcomes(ask(scheduling, *requests)) == ["accepted", "cancelled", "accepted"]
