"""Parts of the system are away while orders come in: every order is taken, none is lost, none is done twice."""

from __future__ import annotations

import time

import eventlet
import pytest
from kombu import Connection

from tests.harness.checker import assert_each_ended_once, live_orders, wait_until_at_rest
from tests.harness.client import Client
from tests.harness.crew import OUTCOME, Crew
from tools.nodes import Nodes
from tools.paths import SERVICES
from tools.system import System
from tools.waiting import wait_until

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]

MANY_REQUESTS = 250
"""More than the RPC queue's length and what the service has taken already."""


def test_orders_are_taken_while_activation_is_down_and_done_after_it_is_back(system: System) -> None:
    crew = Crew(system)
    with system.stopped("activation"):
        ids = crew.place(200)
        assert crew.statuses == [201] * 200
        assert len(set(ids)) == 200
    crew.wait_until_activated(ids)
    wait_until_at_rest(system)
    assert live_orders(system) >= set(ids)
    crew.finish(ids[:40])
    assert_each_ended_once(system, dict.fromkeys(ids[:40], "completed"))


def test_orders_are_taken_while_the_broker_is_stopped_and_done_after_it_is_back_none_twice(
    system: System, nodes: Nodes
) -> None:
    crew = Crew(system)
    assert nodes.rabbit is not None
    nodes.rabbit.stop()
    try:
        ids = crew.place(200)
    finally:
        nodes.rabbit.start()
    assert crew.statuses == [202] * 200, "taken into the journal, and said so"
    assert len(set(ids)) == 200
    crew.wait_until_activated(ids)
    wait_until_at_rest(system)
    rows = system.db("order", "select count(*) as n from orders where order_id = any(cast(:ids as uuid[]))", ids=ids)
    assert rows == [{"n": 200}]
    assert live_orders(system) >= set(ids)
    crew.finish(ids[:40])
    assert_each_ended_once(system, dict.fromkeys(ids[:40], "completed"))


def test_orders_are_taken_while_everything_behind_the_gateway_is_down(system: System, nodes: Nodes) -> None:
    crew = Crew(system)
    behind = ("order", "activation", "scheduling", "fieldwork", "mypage")
    for name in behind:
        system.kill(name)
    ids = crew.place(20)
    assert crew.statuses == [202] * 20
    system.start_all()
    crew.finish(ids)
    assert_each_ended_once(system, dict.fromkeys(ids, "completed"))


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_while_scheduling_cannot_be_reached_the_activation_keeps_its_state(
    system: System, client: Client, how: str
) -> None:
    if how == "stopped":
        system.stop("scheduling")
    else:
        system.freeze("scheduling")
    crew = Crew(system)
    ids = crew.place(10)
    wait_until(lambda: _states(system, ids) == {"provisioned"}, lambda: f"all provisioned: {_states(system, ids)}")
    wait_until(lambda: live_orders(system) >= set(ids), "every line is live meanwhile")
    wait_until(lambda: _breaker(client) == "open", "the breaker opens: scheduling is left alone for a while")
    assert _states(system, ids) == {"provisioned"}, "nothing is undone"
    if how == "stopped":
        system.start("scheduling")
    else:
        system.thaw("scheduling")
    crew.wait_until_activated(ids)
    wait_until(lambda: _breaker(client) == "closed", "the breaker closes again")
    crew.finish(ids)
    assert_each_ended_once(system, dict.fromkeys(ids, "completed"))


def test_a_cancel_while_scheduling_is_down_is_done_when_it_is_back(system: System, client: Client) -> None:
    with system.stopped("scheduling"):
        crew = Crew(system)
        [order_id] = crew.place(1, ["cancel_at_once"])
        wait_until(lambda: _states(system, [order_id]) == {"provisioned"}, "provisioned")
        client.remember(order_id, crew.token(order_id))
        assert client.cancel(order_id).status_code == 202
        wait_until(lambda: _states(system, [order_id]) == {"cancelling"}, "the cancel waits")
    client.wait_for_status(order_id, "cancelled")
    assert_each_ended_once(system, {order_id: "cancelled"})


def test_kill_9_of_each_service_in_the_middle_of_300_running_orders_leaves_each_with_one_outcome(
    system: System,
) -> None:
    crew = Crew(system)
    ids = crew.place(300, ["complete", "reject", "cancel_at_once", "cancel_scheduled", "complete"])
    work = eventlet.spawn(crew.finish, ids)
    for number, victim in enumerate(SERVICES, start=1):
        wait_until(
            lambda share=number * 40: work.dead or _closed(system, ids) >= share,
            lambda victim=victim: f"orders go on before {victim} is killed; {_closed(system, ids)} of 300 are closed",
            timeout_s=180,
        )
        system.kill(victim)
        system.start(victim)
    work.wait()
    assert_each_ended_once(system, {order_id: OUTCOME[crew.placed[order_id]] for order_id in ids})


def test_a_scheduling_service_that_is_full_refuses_quickly_and_is_left_alone_until_it_is_well(
    system: System, client: Client
) -> None:
    system.freeze("scheduling")
    try:
        _fill_the_queue(system)
        client.login("dispatcher")
        begun = time.monotonic()
        answers = [client.request("GET", "/api/visits", as_="dispatcher") for _ in range(5)]
        assert {answer.status_code for answer in answers} == {503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
        assert time.monotonic() - begun < 4, "nobody waits for a deadline"
        crew = Crew(system)
        ids = crew.place(20)
        assert crew.statuses == [201] * 20, "orders go on being placed"
        wait_until(lambda: _breaker(client) == "open", "activation leaves scheduling alone")
    finally:
        system.thaw("scheduling")
    crew.wait_until_activated(ids)
    wait_until(lambda: client.request("GET", "/api/visits", as_="dispatcher").status_code == 200, "answers again")
    crew.finish(ids[:5])
    assert_each_ended_once(system, dict.fromkeys(ids[:5], "completed"))


def _fill_the_queue(system: System) -> None:
    with Connection(system.amqp_uri) as connection, connection.Producer(serializer="json") as producer:
        for _ in range(MANY_REQUESTS):
            producer.publish({"args": [], "kwargs": {}}, exchange="nameko-rpc", routing_key="scheduling.list_visits")


def _closed(system: System, ids: list[str]) -> int:
    query = (
        "select count(*) as n from orders where order_id = any(cast(:ids as uuid[]))"
        " and state in ('completed', 'rejected', 'cancelled')"
    )
    return int(system.db("order", query, ids=ids)[0]["n"])


def _states(system: System, ids: list[str]) -> set[str]:
    query = "select distinct state from activations where order_id = any(cast(:ids as uuid[]))"
    return {row["state"] for row in system.db("activation", query, ids=ids)}


def _breaker(client: Client) -> str:
    """The state of activation's breaker for scheduling, as the operator sees it."""
    overview = client.call("GET", "/api/ops/overview", as_="operator")
    return str(overview["services"]["activation"]["breakers"]["scheduling"])
