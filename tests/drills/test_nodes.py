"""The broker dies, drops every connection, or runs short of room, in the middle of running orders.

What happens to the database is in the drill `database`, which test_drills.py runs.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

import eventlet
import pytest
import requests
from kombu import Connection

from tests.harness.checker import assert_each_ended_once, wait_until_at_rest
from tests.harness.client import Client
from tests.harness.crew import FATES, OUTCOME, Crew
from tools.nodes import Nodes
from tools.rabbit import find_server
from tools.system import System
from tools.waiting import wait_until

pytestmark = pytest.mark.drill

MANY_REQUESTS = 250
"""More than the RPC queue's length and what the service has taken already."""


def kill_the_broker(nodes: Nodes) -> None:
    assert nodes.rabbit is not None
    nodes.rabbit.process.kill()
    nodes.rabbit.start()


def cut_every_connection_to_the_broker(nodes: Nodes) -> None:
    connections = f"{nodes.broker.management_uri}/api/connections"
    names = [found["name"] for found in requests.get(connections, timeout=30).json()]
    assert names
    for name in names:
        requests.delete(f"{connections}/{quote(name, safe='')}", timeout=30)


@pytest.mark.parametrize(
    "blow",
    [kill_the_broker, cut_every_connection_to_the_broker],
    ids=lambda blow: blow.__name__,
)
def test_every_order_ends_in_exactly_one_outcome_whatever_happens_to_the_nodes(
    system: System, nodes: Nodes, blow: Callable[[Nodes], None]
) -> None:
    crew = Crew(system)
    ids = crew.place(60, FATES)
    work = eventlet.spawn(crew.finish, ids)
    wait_until(lambda: work.dead or _closed(system, ids) >= 10, lambda: f"orders go on: {_closed(system, ids)} closed")
    blow(nodes)
    work.wait()
    assert_each_ended_once(system, {order_id: OUTCOME[crew.placed[order_id]] for order_id in ids})


def test_while_the_broker_is_short_of_memory_orders_are_taken_and_done_afterwards(
    system: System, nodes: Nodes
) -> None:
    crew = Crew(system)
    before = crew.place(10)
    with short_of_memory(nodes):
        ids = crew.place(30)
        assert crew.statuses[10:] == [202] * 30, "taken into the journal, and said so"
        begun = time.monotonic()
        crew.place(1)
        assert time.monotonic() - begun < 2, "nobody waits for a broker that has said it takes nothing"
    crew.wait_until_activated(before + ids)
    wait_until_at_rest(system)
    crew.finish(ids[:5])
    assert_each_ended_once(system, dict.fromkeys(ids[:5], "completed"))


def test_a_scheduling_service_that_is_full_refuses_quickly_and_is_left_alone_until_it_is_well(
    system: System, client: Client
) -> None:
    system.freeze("scheduling")
    try:
        _fill_the_queue(system)
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


@contextmanager
def short_of_memory(nodes: Nodes) -> Iterator[None]:
    """The broker's memory alarm: it takes nothing from whoever publishes."""
    _memory_limit(nodes, "1MB")
    try:
        yield
    finally:
        _memory_limit(nodes, "1GB")


def _memory_limit(nodes: Nodes, limit: str) -> None:
    server, process = find_server(), nodes.broker.process
    assert server is not None
    command = [str(server.with_name("rabbitmqctl")), "set_vm_memory_high_watermark", "absolute", limit]
    subprocess.run(command, env=process.env, cwd=process.cwd, check=True, capture_output=True, timeout=60)


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


def _breaker(client: Client) -> str:
    """The state of activation's breaker for scheduling, as the operator sees it."""
    overview = client.call("GET", "/api/ops/overview", as_="operator")
    return str(overview["services"]["activation"]["breakers"]["scheduling"])
