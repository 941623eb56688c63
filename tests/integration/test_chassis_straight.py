"""Messages that go straight from their commit to the relay: quicker than through the outbox, with the same promises."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from kombu import Connection, Exchange, Queue
from nameko.containers import ServiceContainer

from chassis import clock, dialect, outbox
from chassis.amqp import Link
from chassis.db import store_of
from chassis.relay import OutboxRelay
from chassis.straight import FEW, Message
from contracts.ids import new_id
from order_svc.service import OrderService
from tests.harness.called import server
from tests.harness.containers import running
from tests.harness.orders import place_order
from tests.harness.toys import publish
from tools.waiting import wait_until

SAY = outbox.saying("select unnest(%s::uuid[]) as order_id")


@dataclass(frozen=True)
class Said:
    """An event of a test."""

    order_id: UUID
    event_type: str
    text: str = ""
    event_id: UUID = field(default_factory=new_id)
    occurred_at: datetime = field(default_factory=clock.utc_now)

    def encode(self) -> bytes:
        return json.dumps({"order_id": str(self.order_id), "text": self.text}).encode()


def say(container: ServiceContainer, *events: Said) -> None:
    """Commit these as `Saga.swap` does."""
    store = store_of(container)
    with store.single() as tx:
        orders = dialect.array(dict.fromkeys(event.order_id for event in events))
        rows = tx.conn.exec_driver_sql(SAY, (orders, *outbox.saying_of(tx, events))).all()
        outbox.told(tx, events, rows)


def leave(container: ServiceContainer, event: Said, *, call: bool) -> None:
    """Leave this in the outbox, and call the relay, or not: as a process that ended right after its commit."""
    store = store_of(container)
    with store.transaction() as tx:
        outbox.add(tx, store.exchange, [event])
        if call:
            tx.wake(outbox.RELAY)


def message_of(container: ServiceContainer, order_id: UUID) -> Message:
    """The order's message in the outbox."""
    query = sa.text("select id, message_id, order_id, exchange, routing_key, body from outbox where order_id = :id")
    with store_of(container).engine.connect() as conn:
        row = conn.execute(query, {"id": order_id}).one()
    return Message(*row[:5], bytes(row.body))


def relay_of(container: ServiceContainer) -> Any:
    return next(found for found in container.dependencies if isinstance(found, OutboxRelay))


def unsent(container: ServiceContainer) -> int:
    with store_of(container).engine.connect() as conn:
        return int(conn.execute(sa.text("select count(*) from outbox where sent_at is null")).scalar_one())


def all_of(queue: Queue) -> list[str]:
    """The texts of what has come."""
    texts = []
    while (message := queue.get(no_ack=True)) is not None:
        texts.append(json.loads(message.body)["text"])
    return texts


@pytest.fixture
def bind(vhost: str) -> Iterator[Callable[[str], Queue]]:
    """Makes a queue for a routing key."""
    with Connection(vhost) as connection:

        def bound(key: str) -> Queue:
            queue = Queue(key, Exchange("oss.events", "topic", durable=True), routing_key=key, durable=True)
            there: Queue = queue(connection.default_channel)
            there.declare()
            return there

        yield bound


@pytest.fixture
def heard(bind: Callable[[str], Queue]) -> Queue:
    return bind("heard")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each look of a relay into the outbox."""
    looks: list[int] = []
    read = outbox.unsent

    def counted(*args: Any) -> Any:
        looks.append(1)
        return read(*args)

    monkeypatch.setattr(outbox, "unsent", counted)
    return looks


@pytest.fixture
def order(vhost: str, database: Callable[[str], str], reads: list[int]) -> Iterator[ServiceContainer]:
    with running(OrderService, database("order"), vhost, RELAY_IDLE_S=30) as container:
        before = unsent(container)
        leave(container, Said(new_id(), "heard", "first"), call=True)
        wait_until(lambda: unsent(container) == before, "the relay is there")
        yield container


def test_it_is_published_without_a_look_into_the_outbox_and_marked_as_sent(
    heard: Queue, order: ServiceContainer, reads: list[int]
) -> None:
    before = len(reads)
    order_id = new_id()
    say(order, Said(order_id, "heard", "a"), Said(order_id, "heard", "b"))
    wait_until(lambda: unsent(order) == 0, "marked")
    assert all_of(heard) == ["first", "a", "b"]
    assert len(reads) == before


def test_what_a_call_has_committed_is_published_before_the_call_is_answered(
    heard: Queue, bind: Callable[[str], Queue], order: Any, vhost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind("order_placed")
    wait_until(lambda: server(order)._link.connected, "it takes calls")
    links: list[str] = []
    send = Link.publish

    def noting_send(link: Link, *args: Any, **kwargs: Any) -> Any:
        links.append(link.name)
        return send(link, *args, **kwargs)

    monkeypatch.setattr(Link, "publish", noting_send)
    body = json.dumps({"args": [], "kwargs": {"orders": [place_order()]}}).encode()
    publish(vhost, "order.place_orders", body, exchange="nameko-rpc", reply_to="a-client", correlation_id="1")
    wait_until(lambda: "order-rpc-server" in links, "it is answered")
    assert links == ["order-relay", "order-rpc-server"]


def test_it_does_not_overtake_what_another_process_has_left_of_the_same_order(
    heard: Queue, order: ServiceContainer
) -> None:
    order_id = new_id()
    leave(order, Said(order_id, "heard", "earlier"), call=False)
    say(order, Said(order_id, "heard", "later"))
    wait_until(lambda: unsent(order) == 0, "both sent")
    assert all_of(heard) == ["first", "earlier", "later"]


def test_what_another_order_has_left_is_no_reason_to_wait(
    heard: Queue, order: ServiceContainer, reads: list[int]
) -> None:
    before = len(reads)
    leave(order, Said(new_id(), "heard", "somebody else's"), call=False)
    say(order, Said(new_id(), "heard", "mine"))
    wait_until(lambda: unsent(order) == 1, "marked")
    assert all_of(heard) == ["first", "mine"]
    assert len(reads) == before


def test_many_of_one_commit_are_read_from_the_outbox_and_keep_their_order(
    heard: Queue, order: ServiceContainer, reads: list[int]
) -> None:
    before = len(reads)
    order_id = new_id()
    texts = [str(number) for number in range(FEW + 1)]
    say(order, *(Said(order_id, "heard", text) for text in texts))
    wait_until(lambda: unsent(order) == 0, "sent")
    assert all_of(heard) == ["first", *texts]
    assert len(reads) > before


def test_where_too_many_wait_the_outbox_is_read_and_none_waits_for_the_timer(
    heard: Queue, order: ServiceContainer, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.straight.WAITING_MAX", 2)
    before = len(reads)
    order_ids = [new_id() for _ in range(5)]
    for order_id in order_ids:
        leave(order, Said(order_id, "heard", str(order_id)), call=False)
    messages = [message_of(order, order_id) for order_id in order_ids]
    # The relay has no turn in between, as where it waits for the broker meanwhile.
    for message in messages:
        store_of(order).straight.put([message])
        store_of(order).wakes.wake(outbox.RELAY)
    wait_until(lambda: unsent(order) == 0, "all sent", timeout_s=10)
    assert sorted(all_of(heard)[1:]) == sorted(map(str, order_ids))
    assert len(reads) > before


def test_what_nobody_is_bound_to_waits_in_the_outbox_with_its_order_and_the_others_go_on(
    heard: Queue, order: ServiceContainer, bind: Callable[[str], Queue]
) -> None:
    order_id = new_id()
    say(order, Said(order_id, "unheard", "returned"))
    wait_until(lambda: bool(relay_of(order)._aside), "it has come back")
    say(order, Said(order_id, "heard", "behind it"))
    say(order, Said(new_id(), "heard", "another's"))
    wait_until(lambda: unsent(order) == 2, "the other has gone")
    assert all_of(heard) == ["first", "another's"]
    unheard = bind("unheard")
    wait_until(lambda: unsent(order) == 0, "somebody is bound")
    assert all_of(unheard) == ["returned"]
    assert all_of(heard) == ["behind it"]


def test_what_was_sent_is_marked_when_the_process_stops(
    heard: Queue, order: ServiceContainer, vhost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.straight.MARK_LATER_S", 60.0)
    uri = store_of(order).engine.url.render_as_string(hide_password=False)
    with running(OrderService, uri, vhost, RELAY_IDLE_S=30) as stopping:
        say(stopping, Said(new_id(), "heard", "last"))
        wait_until(lambda: heard.queue_declare(passive=True).message_count == 2, "published")
        assert unsent(order) == 1
    assert unsent(order) == 0


def test_what_could_not_be_marked_is_marked_with_the_next_look_and_not_sent_again(
    heard: Queue, order: ServiceContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, troubles = outbox.mark_sent, [1]

    def away_at_first(*args: Any) -> None:
        if troubles:
            troubles.pop()
            raise sa.exc.OperationalError("update", {}, Exception("away"))
        mark(*args)

    monkeypatch.setattr(outbox, "mark_sent", away_at_first)
    say(order, Said(new_id(), "heard", "once"))
    wait_until(lambda: not troubles and unsent(order) == 0, "marked")
    assert all_of(heard) == ["first", "once"]


def test_what_comes_both_ways_at_once_is_published_once_and_in_order(heard: Queue, order: ServiceContainer) -> None:
    orders = [new_id() for _ in range(5)]
    said = []
    for number in range(20):
        for index, order_id in enumerate(orders):
            text = f"{index} {number}"
            said.append(text)
            if number % 2:
                say(order, Said(order_id, "heard", text))
            else:
                leave(order, Said(order_id, "heard", text), call=True)
    wait_until(lambda: unsent(order) == 0, "all sent")
    found = all_of(heard)[1:]
    assert sorted(found) == sorted(said)
    for index in range(len(orders)):
        mine = [text for text in found if text.startswith(f"{index} ")]
        assert mine == [f"{index} {number}" for number in range(20)]


def test_two_processes_keep_the_order_of_each_order(heard: Queue, order: ServiceContainer, vhost: str) -> None:
    uri = store_of(order).engine.url.render_as_string(hide_password=False)
    orders = [new_id() for _ in range(5)]
    with running(OrderService, uri, vhost, RELAY_IDLE_S=30) as second:
        for number in range(20):
            for index, order_id in enumerate(orders):
                say((order, second)[(number + index) % 2], Said(order_id, "heard", f"{index} {number}"))
        wait_until(lambda: unsent(order) == 0, "all sent")
    # What is read from the outbox before it was marked may come twice; who consumes it skips that.
    found = list(dict.fromkeys(all_of(heard)[1:]))
    for index in range(len(orders)):
        mine = [text for text in found if text.startswith(f"{index} ")]
        assert mine == [f"{index} {number}" for number in range(20)]
