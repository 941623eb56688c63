"""The outbox relay: what one message meets does not hold up the others, and its transaction never lasts long."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from kombu import Connection, Exchange, Queue
from nameko.containers import ServiceContainer

from chassis import relay
from chassis.db import store_of
from chassis.relay import OutboxRelay
from contracts.ids import new_id
from order_svc.service import OrderService
from tests.harness.containers import running
from tests.harness.proxy import proxied
from tools.waiting import wait_until


def relay_of(container: ServiceContainer) -> Any:
    return next(found for found in container.dependencies if isinstance(found, OutboxRelay))


def put(container: ServiceContainer, routing_key: str, order_ids: list[UUID]) -> None:
    """Leave one message for each of these in the outbox, in one commit, as handlers do."""
    store = store_of(container)
    with store.transaction() as tx:
        rows = [
            {"message_id": new_id(), "order_id": order_id, "exchange": store.exchange, "routing_key": routing_key,
             "headers": {}, "body": json.dumps({"order_id": str(order_id), "n": number}).encode(),
             "created_at": tx.now}
            for number, order_id in enumerate(order_ids)
        ]
        tx.conn.execute(tx.tables.outbox.insert(), rows)
        tx.wake("outbox-relay")


def unsent(container: ServiceContainer, routing_key: str) -> int:
    query = sa.text("select count(*) from outbox where sent_at is null and routing_key = :key")
    with store_of(container).engine.connect() as conn:
        return int(conn.execute(query, {"key": routing_key}).scalar_one())


@pytest.fixture
def heard(vhost: str) -> Iterator[Queue]:
    """A queue for the routing key `heard`; nobody is bound to any other."""
    with Connection(vhost) as connection:
        queue = Queue("heard", Exchange("oss.events", "topic", durable=True), routing_key="heard", durable=True)
        bound = queue(connection.default_channel)
        bound.declare()
        yield bound


@pytest.fixture
def order(vhost: str, database: Callable[[str], str], heard: Queue) -> Iterator[ServiceContainer]:
    with running(OrderService, database("order"), vhost, RELAY_IDLE_S=30) as container:
        yield container


def test_messages_nobody_is_bound_to_neither_hold_up_the_others_nor_keep_the_relay_busy(
    order: ServiceContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PAUSE_S", (1.0, 1.0))
    relay_of(order)._aside.none_is_left()
    published: list[int] = []
    publish = relay_of(order)._publish
    monkeypatch.setattr(
        relay_of(order), "_publish", lambda messages: (published.append(len(messages)), publish(messages))[1]
    )
    put(order, "nobody", [new_id() for _ in range(1200)])
    wait_until(lambda: sum(published) >= 1200, "the relay has met all of them")
    took_s = []
    for _ in range(10):
        begun = time.monotonic()
        put(order, "heard", [new_id()])
        wait_until(lambda: unsent(order, "heard") == 0, "the others go on", interval_s=0.01)
        took_s.append(time.monotonic() - begun)
    assert median(took_s) < 2
    rounds = len(published)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 2, "two seconds of watching it idle")
    assert len(published) - rounds <= 3 * (time.monotonic() - began + 1), "three batches a second, as the pause allows"
    assert unsent(order, "nobody") == 1200, "none of them is lost"


def test_nothing_overtakes_a_message_of_its_order_that_nobody_was_bound_to(
    order: ServiceContainer, heard: Queue
) -> None:
    waiting, other = new_id(), new_id()
    put(order, "early", [waiting])
    wait_until(lambda: relay_of(order)._aside, "set aside")
    put(order, "heard", [waiting, other])
    wait_until(lambda: unsent(order, "heard") == 1, "the other order's goes on")
    Queue("late", Exchange("oss.events", "topic", durable=True), routing_key="early", durable=True)(
        heard.channel
    ).declare()
    wait_until(lambda: unsent(order, "heard") + unsent(order, "early") == 0, "both, once somebody is bound")
    with store_of(order).engine.connect() as conn:
        query = sa.text("select routing_key from outbox where order_id = :id order by sent_at, id")
        assert list(conn.execute(query, {"id": waiting}).scalars()) == ["early", "heard"]


def test_what_is_refused_again_is_tried_over_a_new_connection_and_waits_until_there_is_room(
    order: ServiceContainer, heard: Queue
) -> None:
    limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
    full = Queue("full", Exchange("oss.events", "topic", durable=True), routing_key="full", queue_arguments=limits)
    bound = full(heard.channel)
    bound.declare()
    put(order, "full", [new_id()])
    wait_until(lambda: unsent(order, "full") == 0, "the queue is full")
    session = relay_of(order)._link.session
    put(order, "full", [new_id()])
    wait_until(lambda: relay_of(order)._link.session not in (session, None), "another connection")
    put(order, "heard", [new_id()])
    wait_until(lambda: unsent(order, "heard") == 0, "others go on")
    assert unsent(order, "full") == 1, "it waits"
    bound.purge()
    wait_until(lambda: unsent(order, "full") == 0, "there is room")


def test_two_processes_of_a_service_keep_the_order_and_publish_nothing_twice(
    order: ServiceContainer, vhost: str, heard: Queue
) -> None:
    uri = store_of(order).engine.url.render_as_string(hide_password=False)
    with running(OrderService, uri, vhost) as second:
        order_ids = [new_id() for _ in range(20)]
        for number in range(10):
            put((order, second)[number % 2], "heard", order_ids)
        wait_until(lambda: unsent(order, "heard") == 0, "all sent")
    seen: list[str] = []
    while (message := heard.get(no_ack=True)) is not None:
        seen.append(json.loads(message.body)["order_id"])
    assert len(seen) == 200, "each once"
    with store_of(order).engine.connect() as conn:
        written = [str(row) for row in conn.execute(sa.text("select order_id from outbox order by id")).scalars()]
    for order_id in map(str, order_ids):
        assert seen.count(order_id) == written.count(order_id) == 10


def test_a_broker_that_neither_answers_nor_reads_does_not_keep_another_process_from_publishing(
    vhost: str, order: ServiceContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "CONFIRM_TIMEOUT_S", 1.0)
    uri = store_of(order).engine.url.render_as_string(hide_password=False)
    with proxied(vhost) as proxy, running(OrderService, uri, proxy.uri, RELAY_IDLE_S=30) as frozen:
        proxy.freeze()
        put(frozen, "heard", [new_id() for _ in range(500)])
        wait_until(lambda: not relay_of(frozen)._link.connected, "given up", timeout_s=30)
        put(order, "heard", [new_id()])
        wait_until(lambda: unsent(order, "heard") == 0, "the other process sends everything", timeout_s=30)
        proxy.heal()


def test_stopping_while_the_broker_is_away_is_quick_and_leaves_the_messages_in_the_outbox(
    vhost: str, database: Callable[[str], str], heard: Queue
) -> None:
    uri = database("order")
    with proxied(vhost) as proxy:
        with running(OrderService, uri, proxy.uri, RELAY_IDLE_S=30) as container:
            proxy.cut()
            wait_until(lambda: not relay_of(container)._link.connected, "it notices")
            put(container, "heard", [new_id()])
            begun = time.monotonic()
        assert time.monotonic() - begun < 5
    with running(OrderService, uri, vhost) as container:
        wait_until(lambda: unsent(container, "heard") == 0, "sent by the next process")


def test_in_a_rush_what_is_committed_bit_by_bit_waits_to_leave_together_but_not_for_a_stop(
    vhost: str, database: Callable[[str], str], heard: Queue
) -> None:
    with running(OrderService, database("order"), vhost, GATHER_S=60) as container:
        put(container, "heard", [new_id() for _ in range(20)])

        def are_many() -> bool:
            put(container, "heard", [new_id()])
            return unsent(container, "heard") >= 50

        wait_until(are_many, "they gather")
        begun = time.monotonic()
    assert time.monotonic() - begun < 20
    assert unsent(container, "heard") == 0, "all of them have left before the end"
