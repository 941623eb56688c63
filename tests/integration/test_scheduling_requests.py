"""Visits that are asked for together: one transaction, an answer for each, and one that is wrong spoils only itself."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from chassis import clock
from contracts.rpc import VisitResult
from scheduling_svc import models
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


def test_each_order_of_a_call_is_told_to_the_gateways(scheduling: Scheduling, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    hints = next(each for each in scheduling.container.dependencies if each.attr_name == "hints")
    monkeypatch.setattr(hints, "announce", told.extend)
    orders = ids(3)
    ask(scheduling, *(a_request(order_id) for order_id in orders))
    assert [hint.key for hint in told] == orders
    ask(scheduling, a_request(orders[0]))
    assert len(told) == 3, "a request that changes nothing is nothing new"
