"""Events between services: effect exactly once, retry, parking, replay; nothing is lost and nothing spins."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import eventlet
import pytest
import sqlalchemy as sa
from kombu import Connection, Exchange, Queue
from nameko.containers import ServiceContainer

from chassis.amqp import Session
from chassis.batch import BatchHandler
from chassis.db import store_of
from contracts import events
from contracts.ids import new_id
from order_svc import domain, placement
from order_svc.service import SAGA, OrderService
from tests.harness.containers import call, running
from tests.harness.orders import an_event, place_order
from tests.harness.toys import publish
from tools.waiting import wait_until


@dataclass
class Service:
    """The order service in this process, and what its database holds."""

    container: ServiceContainer
    amqp_uri: str

    @property
    def exchange(self) -> str:
        return str(store_of(self.container).exchange)

    def query(self, statement: str, **parameters: Any) -> list[Any]:
        with store_of(self.container).engine.connect() as conn:
            return list(conn.execute(sa.text(statement), parameters))

    def state(self, order_id: Any) -> str | None:
        rows = self.query("select state from orders where order_id = :id", id=order_id)
        return rows[0].state if rows else None

    def parked(self) -> list[Any]:
        return self.query("select * from parked_messages order by parked_at")

    def place(self, count: int = 1) -> list[Any]:
        orders = [placement.read_order(place_order(), 1) for _ in range(count)]
        with store_of(self.container).transaction() as tx:
            placement.place(tx, SAGA, orders)
        return [order.order_id for order in orders]

    def send(self, event: events.Event) -> None:
        publish(
            self.amqp_uri, event.event_type, event.encode(), exchange=self.exchange, message_id=str(event.event_id)
        )


@pytest.fixture
def service(vhost: str, database: Callable[[str], str]) -> Iterator[Service]:
    with running(OrderService, database("order"), vhost) as container:
        yield Service(container, vhost)


@pytest.fixture
def tap(service: Service) -> Iterator[Queue]:
    """A queue that gets every event, as another service's would."""
    with Connection(service.amqp_uri) as connection:
        exchange = Exchange(service.exchange, "topic", durable=True)
        queue = Queue("tap", exchange, routing_key="#", durable=True)(connection.default_channel)
        queue.declare()
        yield queue


def _drain(queue: Queue, count: int) -> list[dict[str, Any]]:
    got: list[dict[str, Any]] = []

    def one() -> bool:
        message = queue.get(no_ack=True)
        if message is not None:
            body = message.body
            got.append(json.loads(body if isinstance(body, str | bytes) else bytes(body)))
        return len(got) >= count

    wait_until(one, lambda: f"{count} events published, got {len(got)}", interval_s=0.01)
    return got


def test_events_are_published_after_the_commit_in_the_order_they_were_written(service: Service, tap: Queue) -> None:
    order_ids = service.place(30)
    published = _drain(tap, 30)
    assert [event["order_id"] for event in published] == [str(order_id) for order_id in order_ids]
    wait_until(lambda: service.query("select count(*) as n from outbox where sent_at is null")[0].n == 0, "all sent")


def test_an_event_nobody_is_bound_to_waits_in_the_outbox_until_somebody_is(service: Service) -> None:
    [order_id] = service.place()
    wait_until(lambda: service.query("select 1 from outbox"), "event in the outbox")
    with Connection(service.amqp_uri) as connection:
        exchange = Exchange(service.exchange, "topic", durable=True)
        queue = Queue("late", exchange, routing_key="order_placed")(connection.default_channel)
        queue.declare()
        assert _drain(queue, 1)[0]["order_id"] == str(order_id)


def test_an_event_delivered_twice_takes_effect_once(service: Service, tap: Queue) -> None:
    [order_id] = service.place()
    done = an_event(
        events.FieldworkCompleted,
        order_id,
        technician_id="tech-kim",
        results={"ont_serial": "ABCD00000001", "rx_power_dbm": -19.5, "down_mbps": 480},
    )
    for _ in range(5):
        service.send(done)
    wait_until(lambda: service.state(order_id) == "completed", "order completed")
    last = an_event(events.ActivationCompleted, order_id)
    service.send(last)
    wait_until(lambda: service.query("select 1 from inbox where message_id = :id", id=last.event_id), "last handled")
    assert len(service.query("select 1 from outbox where routing_key = 'order_completed'")) == 1


def test_several_events_of_one_order_in_one_batch_take_effect_in_their_order_each_once(service: Service) -> None:
    [order_id] = service.place()
    activated = an_event(events.ActivationCompleted, order_id)
    rejected = an_event(events.FieldworkRejected, order_id, technician_id="tech-kim", reason_code="no_duct")
    reverted = an_event(events.ActivationReverted, order_id, outcome="rejected")
    batch = [activated, rejected, activated, reverted, rejected, reverted]
    call(service.container, "on_events", batch)
    call(service.container, "on_events", batch)
    assert service.state(order_id) == "rejected"
    [row] = service.query("select rejection_reason from orders where order_id = :id", id=order_id)
    assert row.rejection_reason == "no_duct"
    assert len(service.query("select 1 from outbox where routing_key = 'order_rejected'")) == 1


def test_a_poison_message_spoils_only_itself_and_is_parked_with_its_error(service: Service, tap: Queue) -> None:
    order_ids = service.place(20)
    poison = an_event(events.ActivationCompleted, new_id())
    for index, order_id in enumerate(order_ids):
        service.send(an_event(events.ActivationCompleted, order_id))
        if index == 10:
            service.send(poison)
    wait_until(lambda: all(service.state(order_id) == "activated" for order_id in order_ids), "the others handled")
    [parked] = wait_until(service.parked, "the poison message is parked")
    assert parked.order_id == str(poison.order_id)
    assert "does not expect 'activation_completed'" in parked.error
    assert parked.attempts == 3, "two delays are configured: three attempts"


def test_a_parked_message_is_replayed_and_done_once_its_cause_is_mended(service: Service, tap: Queue) -> None:
    order_id = new_id()
    service.send(an_event(events.ActivationCompleted, order_id))
    [parked] = wait_until(service.parked, "parked")
    with store_of(service.container).transaction() as tx:
        SAGA.commands(tx, [domain.Place(placement.read_order(place_order(order_id), 1))])
    from chassis import parking

    with store_of(service.container).transaction() as tx:
        assert parking.replay(tx, str(parked.id))
        assert not parking.replay(tx, str(parked.id)), "it has left the list"
    wait_until(lambda: service.state(order_id) == "activated", "the replayed message took effect")
    assert service.parked() == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xff\x00 not json", "not JSON"),
        (b"[1, 2]", "JSON object"),
        (b'{"event_type": "moon_landed", "schema_version": 1}', "unknown event_type"),
        (b'{"event_type": "order_placed", "schema_version": 99}', "schema_version 99"),
        (b'{"event_type": "activation_completed", "schema_version": 1, "order_id": "\\u0000"}', "malformed"),
        (b"[" * 100_000, "not JSON"),
    ],
    ids=["not-json", "not-an-object", "unknown-type", "newer-version", "malformed", "deep"],
)
def test_a_message_that_cannot_be_read_is_parked_at_once_and_stops_nothing(
    service: Service, tap: Queue, body: bytes, words: str
) -> None:
    publish(service.amqp_uri, "activation_completed", body, exchange=service.exchange)
    [parked] = wait_until(service.parked, "parked")
    assert words in parked.error or "recursion" in parked.error
    assert bytes(parked.body) == body, "not a byte is lost"
    assert parked.attempts == 1
    [order_id] = service.place()
    service.send(an_event(events.ActivationCompleted, order_id))
    wait_until(lambda: service.state(order_id) == "activated", "the service goes on")


def test_a_message_that_killed_its_process_again_and_again_is_taken_away_and_parked(service: Service) -> None:
    event = an_event(events.ActivationCompleted, new_id())
    publish(service.amqp_uri, "order.parked", event.encode(), message_id=str(event.event_id))
    [parked] = wait_until(service.parked, "parked")
    assert "delivery limit" in parked.error


def test_a_message_that_arrives_while_the_link_is_still_opening_is_handled(
    vhost: str, database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = database("order")
    with running(OrderService, uri, vhost) as container:
        first = Service(container, vhost)
        [order_id] = first.place()
        exchange = first.exchange
    waiting = an_event(events.ActivationCompleted, order_id)
    publish(vhost, waiting.event_type, waiting.encode(), exchange=exchange, message_id=str(waiting.event_id))
    consume = BatchHandler._consume
    arrived: list[Any] = []

    def consume_slowly(handler: BatchHandler, session: Session) -> None:
        put = handler._arrived.put
        monkeypatch.setattr(handler._arrived, "put", lambda delivery: (arrived.append(delivery), put(delivery)))
        consume(handler, session)
        while not arrived:
            session.connection.drain_events(timeout=10)
        while handler._arrived.qsize():
            eventlet.sleep(0)

    monkeypatch.setattr(BatchHandler, "_consume", consume_slowly)
    with running(OrderService, uri, vhost) as container:
        service = Service(container, vhost)
        wait_until(lambda: service.state(order_id) == "activated", "handled although it came early")


def test_while_the_database_is_away_no_attempt_is_counted(service: Service, tap: Queue) -> None:
    [order_id] = service.place()
    store = store_of(service.container)
    away = sa.create_engine("postgresql+psycopg2://postgres@127.0.0.1:1/none")
    there, store.engine = store.engine, away
    service.send(an_event(events.ActivationCompleted, order_id))
    tries = _count_batches(service)
    wait_until(lambda: _count_batches(service) >= tries + 4, "several tries, more than retries are allowed")
    store.engine = there
    wait_until(lambda: service.state(order_id) == "activated", "handled once the database is back")
    assert service.parked() == []


def _count_batches(service: Service) -> float:
    from prometheus_client import REGISTRY

    labels = {"service": "order", "handler": "on_events"}
    return REGISTRY.get_sample_value("oss_batch_duration_seconds_count", labels) or 0.0
