"""Promises about the call to scheduling: while it is away the activation stays as it is, and completes by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from contracts.ids import new_id
from tests.harness.activation import (
    ActivationUnderTest,
    FarEnd,
    activation_under_test,
    cancel,
    own_nodes,
    placed,
    scheduling_far_end,
)
from tests.harness.databases import Databases
from tests.harness.elements import SimProcess, simulator
from tools.nodes import Nodes
from tools.waiting import wait_until


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimProcess]:
    with simulator(tmp_path_factory.mktemp("elements")) as running:
        yield running


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


@pytest.fixture
def activation(shared: ActivationUnderTest) -> Iterator[ActivationUnderTest]:
    yield shared
    shared.forget()


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
        assert set(FarEnd.asked) == {str(order_id)}, "again only where its answer came late"


def test_while_scheduling_hangs_calls_pause(activation: ActivationUnderTest, amqp_uri: str) -> None:
    with scheduling_far_end(amqp_uri, "hanging") as far_end:
        started = time.monotonic()
        orders = [new_id() for _ in range(20)]
        activation.handle(*(placed(order_id) for order_id in orders))
        wait_for_breaker(activation)
        wait_until(lambda: states(activation) == {"provisioned": 20}, lambda: str(states(activation)))
        # Three workers until the breaker opens, then one at a time, each with its deadline and a pause.
        allowed = 8 + (time.monotonic() - started)
        assert len(far_end.asked) <= allowed, "20 orders must not queue up before a service that hangs"
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


def test_a_cancel_during_the_call_is_not_undone_by_its_answer(activation: ActivationUnderTest, amqp_uri: str) -> None:
    with scheduling_far_end(amqp_uri, "hanging") as far_end:
        order_id = activation.place()
        wait_until(lambda: far_end.asked, "the request at the far end")
        activation.handle(cancel(order_id))
        far_end.mode = "accepted"
        other = activation.place()
        activation.wait_for(other, "active")
        assert activation.get(order_id)["state"] == "cancelling"
        activation.tap.heard("activation_cancel_requested")
