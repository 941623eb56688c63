"""Promises about the call to scheduling: while it is away the activation stays as it is, and completes by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from activation_svc.dependencies import VisitsProvider
from contracts.ids import new_id
from tests.harness.activation import (
    ActivationUnderTest,
    FarEnd,
    FormerFarEnd,
    activation_under_test,
    cancel,
    own_nodes,
    placed,
    scheduling_far_end,
)
from tests.harness.activation_shared import activation, process
from tests.harness.databases import Databases
from tests.harness.elements import SimProcess
from tools.nodes import Nodes
from tools.waiting import wait_until

__all__ = ["activation", "process"]


@pytest.fixture(scope="module")
def uris(databases: Databases, nodes: Nodes) -> Iterator[tuple[str, str]]:
    with own_nodes(databases, nodes) as made:
        yield made


@pytest.fixture(scope="module")
def shared(uris: tuple[str, str], process: SimProcess) -> Iterator[ActivationUnderTest]:
    with activation_under_test(*uris, process.client, process.port) as running:
        yield running


@pytest.fixture
def amqp_uri(uris: tuple[str, str]) -> str:
    return uris[1]


def breaker(activation: ActivationUnderTest) -> str:
    return str(activation.call("overview")["breakers"]["scheduling"])


def wait_for_breaker(activation: ActivationUnderTest) -> None:
    wait_until(lambda: breaker(activation) == "open", lambda: f"breaker open, is {breaker(activation)}")


def states(activation: ActivationUnderTest) -> dict[str, int]:
    return dict(activation.sql("select state, count(*) from activations group by state"))


def test_while_scheduling_is_absent_nothing_changes_and_it_completes_by_itself(
    activation: ActivationUnderTest, amqp_uri: str
) -> None:
    orders = [new_id() for _ in range(20)]
    activation.handle(*(placed(order_id) for order_id in orders))
    wait_for_breaker(activation)
    wait_until(lambda: states(activation) == {"provisioned": 20}, lambda: str(states(activation)))
    assert activation.sql("select count(*) from outbox")[0][0] == 0, "nothing was said"
    with scheduling_far_end(amqp_uri):
        wait_until(lambda: states(activation) == {"active": 20}, lambda: str(states(activation)))
        assert len(activation.tap.heard("activation_completed", 20)) == 20
        wait_until(lambda: breaker(activation) == "closed", "breaker closed again")


def test_an_accepted_visit_completes_the_activation(activation: ActivationUnderTest, amqp_uri: str) -> None:
    with scheduling_far_end(amqp_uri):
        order_id = activation.place(internet_500=1, tv_basic=1)
        activation.wait_for(order_id, "active")
        (completed,) = activation.tap.heard("activation_completed")
        assert [line.product for line in completed.lines] == ["internet-500", "tv-basic"]
        assert set(FarEnd.asked()) == {str(order_id)}, "again only where its answer came late"


def test_while_scheduling_hangs_calls_pause(activation: ActivationUnderTest, amqp_uri: str) -> None:
    with scheduling_far_end(amqp_uri, "hanging") as far_end:
        started = time.monotonic()
        orders = [new_id() for _ in range(20)]
        activation.handle(*(placed(order_id) for order_id in orders))
        wait_for_breaker(activation)
        wait_until(lambda: states(activation) == {"provisioned": 20}, lambda: str(states(activation)))
        # Three workers until the breaker opens, then one at a time, each with its deadline and a pause.
        allowed = 8 + (time.monotonic() - started)
        assert len(far_end.calls) <= allowed, "20 orders must not queue up before a service that hangs"
        far_end.mode = "accepted"
        wait_until(lambda: states(activation) == {"active": 20}, lambda: str(states(activation)))
        assert len(activation.tap.heard("activation_completed", 20)) == 20


@pytest.mark.parametrize("mode", ["overloaded", "cancelled"])
def test_an_answer_that_is_no_yes_keeps_the_state_and_asks_again(
    activation: ActivationUnderTest, amqp_uri: str, mode: str
) -> None:
    with scheduling_far_end(amqp_uri, mode) as far_end:
        order_id = activation.place()
        wait_until(lambda: activation.get(order_id)["visit_attempts"] >= 2, lambda: str(activation.get(order_id)))
        assert activation.get(order_id)["state"] == "provisioned"
        far_end.mode = "accepted"
        activation.wait_for(order_id, "active")


def test_a_defect_with_one_order_does_not_hold_up_the_others(activation: ActivationUnderTest, amqp_uri: str) -> None:
    with scheduling_far_end(amqp_uri) as far_end:
        orders = [new_id() for _ in range(6)]
        far_end.spoilt.add(str(orders[0]))
        activation.handle(*(placed(order_id) for order_id in orders))
        wait_until(lambda: states(activation) == {"provisioned": 1, "active": 5}, lambda: str(states(activation)))
        assert breaker(activation) == "closed"
        far_end.spoilt.clear()
        activation.wait_for(orders[0], "active")


@contextmanager
def nobody_asked(activation: ActivationUnderTest) -> Iterator[None]:
    """Nobody is asked for within the block, everybody after it."""
    (visits,) = (each for each in activation.container.dependencies if isinstance(each, VisitsProvider))
    visits._gate.leave(3600)
    try:
        yield
    finally:
        visits._gate.leave(None)


def waiting_together(activation: ActivationUnderTest, count: int) -> list[UUID]:
    """So many orders, provisioned."""
    orders = [new_id() for _ in range(count)]
    activation.handle(*(placed(order_id) for order_id in orders))
    wait_until(lambda: states(activation) == {"provisioned": count}, lambda: str(states(activation)))
    return orders


def test_orders_that_wait_together_are_asked_for_in_one_call(activation: ActivationUnderTest, amqp_uri: str) -> None:
    with scheduling_far_end(amqp_uri) as far_end:
        with nobody_asked(activation):
            orders = waiting_together(activation, 12)
        wait_until(lambda: states(activation) == {"active": 12}, lambda: str(states(activation)))
        assert [set(call) for call in far_end.calls] == [{str(order_id) for order_id in orders}]
        assert len(activation.tap.heard("activation_completed", 12)) == 12


def test_one_of_several_that_is_not_valid_waits_alone(activation: ActivationUnderTest, amqp_uri: str) -> None:
    with scheduling_far_end(amqp_uri) as far_end:
        with nobody_asked(activation):
            orders = waiting_together(activation, 4)
            far_end.invalid.add(str(orders[1]))
        wait_until(lambda: states(activation) == {"provisioned": 1, "active": 3}, lambda: str(states(activation)))
        assert activation.get(orders[1])["last_error"] == "scheduling says: customer: is none"
        far_end.invalid.clear()
        activation.wait_for(orders[1], "active")


def test_a_scheduling_of_the_release_before_is_asked_for_one_at_a_time(
    activation: ActivationUnderTest, amqp_uri: str
) -> None:
    with scheduling_far_end(amqp_uri, service=FormerFarEnd) as far_end:
        with nobody_asked(activation):
            orders = waiting_together(activation, 6)
        wait_until(lambda: states(activation) == {"active": 6}, lambda: str(states(activation)))
        assert set(far_end.asked()) == {str(order_id) for order_id in orders}


def test_an_order_that_ends_every_call_it_is_in_does_not_hold_up_the_others(
    activation: ActivationUnderTest, amqp_uri: str
) -> None:
    with scheduling_far_end(amqp_uri) as far_end:
        with nobody_asked(activation):
            orders = waiting_together(activation, 6)
            far_end.deadly.add(str(orders[3]))
        wait_until(lambda: states(activation) == {"provisioned": 1, "active": 5}, lambda: str(states(activation)))
        assert activation.get(orders[3])["state"] == "provisioned"
        far_end.deadly.clear()
        activation.wait_for(orders[3], "active")


def test_a_cancel_during_the_call_is_not_undone_by_its_answer(activation: ActivationUnderTest, amqp_uri: str) -> None:
    with scheduling_far_end(amqp_uri, "hanging") as far_end:
        order_id = activation.place()
        wait_until(lambda: far_end.calls, "the request at the far end")
        activation.handle(cancel(order_id))
        far_end.mode = "accepted"
        other = activation.place()
        activation.wait_for(other, "active")
        assert activation.get(order_id)["state"] == "cancelling"
        activation.tap.heard("activation_cancel_requested")
