"""The database dies or drops every connection, and a queue runs full, in the middle of running orders.

What befalls the broker is a drill: `tests/harness/drill_broker.py`, whose short form `test_drills.py` runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import eventlet
import pytest
import sqlalchemy as sa
from kombu import Connection

from tests.harness.checker import assert_each_ended_once
from tests.harness.client import Client
from tests.harness.crew import FATES, OUTCOME, Crew
from tools.nodes import Nodes
from tools.system import System
from tools.waiting import NotInTime, wait_until

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]

MANY_REQUESTS = 250
"""More than the RPC queue's length and what the service has taken already."""


def kill_the_database_and_restart_it_once_more(nodes: Nodes) -> None:
    postgres = nodes.postgres
    assert postgres is not None
    postgres.process.kill()
    # The server processes it leaves behind end by themselves; until they have, no new one may start.
    wait_until(lambda: postgres.start() or True, "PostgreSQL is back", answered=(NotInTime,))
    postgres.stop()
    postgres.start()


def cut_every_connection_to_the_database(nodes: Nodes) -> None:
    engine = sa.create_engine(nodes.database_uri("postgres"), poolclass=sa.NullPool)
    query = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname like 'oss_%'"
    with engine.connect() as connection:
        assert connection.execute(sa.text(query)).scalar_one() > 0


@pytest.mark.parametrize(
    "blow",
    [kill_the_database_and_restart_it_once_more, cut_every_connection_to_the_database],
    ids=lambda blow: blow.__name__,
)
def test_every_order_ends_in_exactly_one_outcome_whatever_happens_to_the_nodes(
    system: System, nodes: Nodes, blow: Callable[[Nodes], None]
) -> None:
    crew = Crew(system)
    ids = crew.place(60, FATES)
    work = eventlet.spawn(crew.finish, ids)
    wait_until(
        lambda: work.dead or _closed(system, ids) >= 10,
        lambda: f"orders go on: {_closed(system, ids)} closed",
        timeout_s=180,
    )
    blow(nodes)
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


def _breaker(client: Client) -> str:
    """The state of activation's breaker for scheduling, as the operator sees it."""
    overview = client.call("GET", "/api/ops/overview", as_="operator")
    return str(overview["services"]["activation"]["breakers"]["scheduling"])
