"""The batch handler in trouble: strange messages, a database that is away or refuses, handlers that hang."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

import eventlet
import pytest
import sqlalchemy as sa
from kombu import Connection
from nameko.containers import ServiceContainer

from chassis import batch
from chassis.batch import BatchHandler
from chassis.db import store_of
from chassis.health import health_of
from contracts import events
from contracts.ids import new_id
from order_svc import placement
from order_svc.service import SAGA
from tests.harness.containers import running
from tests.harness.orders import an_event, place_order
from tests.harness.toys import publish
from tests.harness.troubled import Troubled
from tools.waiting import wait_until


class Database:
    """What the service's database holds, asked over connections of the test's own."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._engine = sa.create_engine(uri, poolclass=sa.NullPool)

    def query(self, statement: str, **values: Any) -> list[Any]:
        with self._engine.connect() as conn:
            return list(conn.execute(sa.text(statement), values))

    def parked(self) -> list[Any]:
        return self.query("select * from parked_messages order by parked_at, id")

    def state(self, order_id: UUID) -> str:
        return str(self.query("select state from orders where order_id = :id", id=order_id)[0].state)


class Refusing(Exception):
    """A psycopg2 error as PostgreSQL's SQLSTATE makes it."""

    def __init__(self, pgcode: str | None) -> None:
        super().__init__(f"SQLSTATE {pgcode}")
        self.pgcode = pgcode


def operational(pgcode: str | None) -> sa.exc.OperationalError:
    return sa.exc.OperationalError("insert", {}, Refusing(pgcode))


@pytest.fixture
def db(database: Callable[[str], str]) -> Database:
    return Database(database("order"))


@pytest.fixture
def service(vhost: str, db: Database) -> Iterator[ServiceContainer]:
    Troubled.batches.clear()
    with running(Troubled, db.uri, vhost) as container:
        yield container


def trouble(monkeypatch: pytest.MonkeyPatch, what: Callable[[Sequence[Any]], None]) -> None:
    monkeypatch.setattr(Troubled, "trouble", staticmethod(what))


def placed(container: ServiceContainer, count: int) -> list[UUID]:
    orders = [placement.read_order(place_order(), 1) for _ in range(count)]
    with store_of(container).transaction() as tx:
        placement.place(tx, SAGA, orders)
    return [order.order_id for order in orders]


def send(container: ServiceContainer, vhost: str, order_ids: list[UUID]) -> None:
    for order_id in order_ids:
        event = an_event(events.ActivationCompleted, order_id)
        exchange = store_of(container).exchange
        publish(vhost, event.event_type, event.encode(), exchange=exchange, message_id=event.message_id)


def handler_of(container: ServiceContainer) -> Any:
    return next(found for found in container.entrypoints if isinstance(found, BatchHandler))


def test_whatever_a_message_carries_it_is_parked_byte_for_byte_and_stops_nothing(
    service: ServiceContainer, vhost: str, db: Database
) -> None:
    body, same_id = "여보세요, not JSON".encode("utf-16"), str(new_id())
    with Connection(vhost) as connection:
        producer = connection.Producer(serializer=None)
        strange: list[dict[str, Any]] = [
            {"content_encoding": "utf-16", "content_type": "text/plain"},
            {"headers": {"x-attempt": 2**40, "nul": "a\x00b", "n\x00l": 1}},
            {"headers": {"x-attempt": -1, "x-delivery-count": "many", "deep": {"a": [1, {"b": 2}]}}},
            {"message_id": "no\x00 UUID"},
        ]
        for number, properties in enumerate(strange):
            producer.publish(
                body + bytes([number]), exchange="", routing_key="order.events",
                **({"content_encoding": "binary", "content_type": "text/plain"} | properties),
            )
        for text in (b"first", b"second", b"second"):
            publish(vhost, "order.events", text, message_id=same_id)
    wait_until(lambda: len(db.parked()) == 6, lambda: f"all are parked: {db.parked()}")
    [order_id] = placed(service, 1)
    send(service, vhost, [order_id])
    wait_until(lambda: db.state(order_id) == "activated", "the service goes on")
    bodies = sorted(bytes(row.body) for row in db.parked())
    assert bodies == sorted([body + bytes([number]) for number in range(4)] + [b"first", b"second"])


@pytest.mark.parametrize("pgcode", ["54000", "57014"], ids=["too-large-for-an-index", "statement-timeout"])
def test_an_error_that_is_the_messages_own_fault_counts_although_the_driver_calls_it_operational(
    service: ServiceContainer, vhost: str, db: Database, monkeypatch: pytest.MonkeyPatch, pgcode: str
) -> None:
    good, bad = placed(service, 2)

    def refuse(handled: Sequence[Any]) -> None:
        if any(event.order_id == bad for event in handled):
            raise operational(pgcode)

    trouble(monkeypatch, refuse)
    send(service, vhost, [bad, good])
    wait_until(lambda: db.state(good) == "activated", "the other message is handled")
    [parked] = wait_until(db.parked, "it is parked")
    assert (parked.order_id, parked.attempts) == (str(bad), 3)


@pytest.mark.parametrize("pgcode", [None, "57P01", "53300", "40P01"])
def test_a_database_that_is_away_or_busy_costs_no_attempt(
    service: ServiceContainer, vhost: str, db: Database, monkeypatch: pytest.MonkeyPatch, pgcode: str | None
) -> None:
    monkeypatch.setattr(batch, "DATABASE_PAUSE_S", (0.01, 0.01))
    [order_id] = placed(service, 1)
    tries: list[int] = []

    def refuse(handled: Sequence[Any]) -> None:
        tries.append(1)
        if len(tries) < 10:
            raise operational(pgcode)

    trouble(monkeypatch, refuse)
    send(service, vhost, [order_id])
    wait_until(lambda: db.state(order_id) == "activated", "handled in the end")
    assert db.parked() == []


def test_stopping_while_the_database_is_away_gives_everything_back_at_once(
    vhost: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "DATABASE_PAUSE_S", (20.0, 20.0))
    with running(Troubled, db.uri, vhost) as container:
        order_ids = placed(container, 30)
        trouble(monkeypatch, lambda handled: (_ for _ in ()).throw(operational(None)))
        Troubled.batches.clear()
        send(container, vhost, order_ids)
        wait_until(lambda: Troubled.batches, "a batch waits")
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    assert len(Troubled.batches) <= 2, "nothing is tried one by one any more"
    trouble(monkeypatch, lambda handled: None)
    with running(Troubled, db.uri, vhost):
        wait_until(lambda: {db.state(order_id) for order_id in order_ids} == {"activated"}, "none is lost")
    assert db.parked() == []


def test_a_timeout_that_escapes_from_a_handler_is_an_error_like_any_other(
    service: ServiceContainer, vhost: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = placed(service, 2)

    def hang(handled: Sequence[Any]) -> None:
        if any(event.order_id == bad for event in handled):
            with eventlet.Timeout(0.01):
                eventlet.sleep(30)

    trouble(monkeypatch, hang)
    send(service, vhost, [bad, good])
    wait_until(lambda: db.state(good) == "activated", "the other message is handled")
    [parked] = wait_until(db.parked, "parked")
    assert "WorkerDied" in parked.error


def test_a_handler_that_hangs_turns_liveness_red(
    service: ServiceContainer, vhost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "STUCK_S", 0.2)
    released = eventlet.Event()
    trouble(monkeypatch, lambda handled: released.wait())
    health = health_of(service)
    assert health.outcomes("live")["events"] == "ok"
    send(service, vhost, placed(service, 1))
    try:
        wait_until(lambda: "working on one batch" in health.outcomes("live")["events"], "seen to hang")
    finally:
        released.send()
    wait_until(lambda: health.outcomes("live")["events"] == "ok", "and to go on")


def test_connections_that_come_and_go_while_a_batch_waits_leave_no_copies_behind(
    service: ServiceContainer, vhost: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = eventlet.Event()
    trouble(monkeypatch, lambda handled: released.wait())
    order_ids = placed(service, 40)
    send(service, vhost, order_ids)
    handler = handler_of(service)
    wait_until(lambda: Troubled.batches, "a batch is at work")
    for _ in range(3):
        before = handler._link.session
        handler._link.reset()
        wait_until(lambda before=before: handler._link.session not in (None, before), "connected again")
        wait_until(lambda: handler._arrived.qsize() == 40, "delivered again")
    released.send()
    wait_until(lambda: {db.state(order_id) for order_id in order_ids} == {"activated"}, "handled")
    assert db.parked() == []


def test_a_retry_waits_for_a_broker_that_is_short_of_memory_and_gives_nothing_else_back(
    service: ServiceContainer, vhost: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = placed(service, 2)
    tries: list[int] = []

    def refuse(handled: Sequence[Any]) -> None:
        if any(event.order_id == bad for event in handled):
            tries.append(1)
            raise ValueError("a poison message")

    trouble(monkeypatch, refuse)
    link = handler_of(service)._link
    session = link.session
    session.blocked = "short of memory"
    send(service, vhost, [bad, good])
    wait_until(lambda: tries, "it has failed")
    assert (link.session, db.parked()) == (session, [])
    link._block(None)
    wait_until(db.parked, "retried and parked afterwards")
    wait_until(lambda: db.state(good) == "activated", "the other one too")
    assert link.session is session, "the connection was not given up"
    session.blocked = "short of memory again"
    tries.clear()
    send(service, vhost, [bad])
    wait_until(lambda: tries, "failed, and waits")
    begun = time.monotonic()
    service.stop()
    assert time.monotonic() - begun < 5, "a stop is not held up by it"


def test_in_a_rush_what_comes_one_by_one_is_handled_several_at_a_time(vhost: str, db: Database) -> None:
    with running(Troubled, db.uri, vhost, GATHER_S=1) as container:
        Troubled.batches.clear()
        order_ids = placed(container, 100)
        send(container, vhost, order_ids)
        wait_until(lambda: db.state(order_ids[-1]) == "activated", "all are handled")
    assert len(Troubled.batches) < 50, Troubled.batches


def test_a_full_batch_is_handled_at_once_also_in_a_rush_and_stopping_waits_for_none(vhost: str, db: Database) -> None:
    with running(Troubled, db.uri, vhost, GATHER_S=60, BATCH_MAX=10) as container:
        Troubled.batches.clear()
        order_ids = placed(container, 100)
        send(container, vhost, order_ids)
        wait_until(lambda: sum(Troubled.batches) > 80, lambda: f"full batches are handled: {Troubled.batches}")
        begun = time.monotonic()
    assert time.monotonic() - begun < 20


def test_a_handler_that_lingers_takes_what_comes_later_along_and_stops_at_once(vhost: str, db: Database) -> None:
    with running(Troubled, db.uri, vhost, BATCH_MAX=3) as container:
        handler_of(container).linger_s = 60.0
        Troubled.batches.clear()
        first, second, third, last = placed(container, 4)
        for order_id in (first, second):
            send(container, vhost, [order_id])
        send(container, vhost, [third])
        wait_until(lambda: Troubled.batches == [3], "they wait for each other, a full batch for none")
        send(container, vhost, [last])
        begun = time.monotonic()
    assert time.monotonic() - begun < 20


def test_a_handler_that_lingers_handles_a_lone_message_after_that_time(vhost: str, db: Database) -> None:
    with running(Troubled, db.uri, vhost) as container:
        handler_of(container).linger_s = 0.2
        Troubled.batches.clear()
        (lone,) = placed(container, 1)
        send(container, vhost, [lone])
        wait_until(lambda: db.state(lone) == "activated", "handled")
        assert Troubled.batches == [1]
