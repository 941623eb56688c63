"""One service in this process, against real nodes: the same extensions as in production, driven without HTTP.

The broker side is a catch-all queue, so that a test sees every event that really left.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from eventlet.event import Event as Done
from kombu import Connection, Exchange, Queue
from nameko.containers import ServiceContainer, get_container_cls

from chassis.health import health_of
from chassis.settings import load_yaml, merged
from contracts.events import Event, decode
from tools.nodes import Nodes
from tools.paths import ROOT
from tools.waiting import wait_until


@contextmanager
def running(service_cls: Any, database_uri: str, amqp_uri: str, **settings: Any) -> Iterator[ServiceContainer]:
    """The service, ready, with its own `config/<name>.yaml` on these nodes and a free HTTP port; stopped at the end."""
    name = service_cls.name
    config = copy.deepcopy(load_yaml(ROOT / "config" / f"{name}.yaml"))
    config |= {
        "AMQP_URI": amqp_uri,
        "WEB_SERVER_ADDRESS": "127.0.0.1:0",
        "DB_URIS": {f"{name}:Base": database_uri},
        "RETRY_DELAYS_S": [0.2, 0.5],
        "RELAY_IDLE_S": 1,
        **settings,
    }
    container: ServiceContainer = get_container_cls(config)(service_cls, config)
    container.start()
    try:
        health = health_of(container)
        wait_until(
            lambda: all(said == "ok" for said in health.outcomes("ready").values()),
            lambda: f"{name} is ready: {health.outcomes('ready')}",
        )
        yield container
    finally:
        container.stop()


def call(container: ServiceContainer, method: str, *args: Any, **kwargs: Any) -> Any:
    """Run the entrypoint as a request would: a worker with its dependencies; its result, or what it raised."""
    entrypoint = next(known for known in container.entrypoints if known.method_name == method)
    done: Done = Done()

    def answer(worker_ctx: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
        if exc_info is None:
            done.send(result)
        else:
            done.send_exception(*exc_info)
        return result, exc_info

    container.spawn_worker(entrypoint, args, kwargs, handle_result=answer)
    return done.wait()


class Wiretap:
    """A queue that gets every event of the virtual host, and a way to send some."""

    def __init__(self, amqp_uri: str) -> None:
        exchange_name = str(merged(load_yaml(ROOT / "config" / "order.yaml"))["EVENTS_EXCHANGE"])
        self._exchange = Exchange(exchange_name, "topic", durable=True)
        self._connection = Connection(amqp_uri)
        self._queue = Queue("wiretap", self._exchange, routing_key="#", durable=True)(self._connection.channel())
        self._queue.declare()
        self.seen: list[Event] = []

    def send(self, events: Iterable[Event]) -> None:
        """Publish events as a relay would, in this order."""
        with self._connection.Producer() as producer:
            for event in events:
                producer.publish(
                    event.encode(),
                    exchange=self._exchange,
                    routing_key=event.event_type,
                    message_id=event.message_id,
                    content_type="application/json",
                    content_encoding="utf-8",
                )

    def heard(self, event_type: str, count: int = 1) -> list[Event]:
        """Wait until at least `count` events of the type were on the exchange; return them."""

        def arrived() -> list[Event]:
            while (message := self._queue.get(no_ack=True)) is not None:
                body = message.body
                self.seen.append(decode(body if isinstance(body, bytes) else body.encode()))
            found = [event for event in self.seen if event.event_type == event_type]
            return found if len(found) >= count else []

        return wait_until(arrived, lambda: f"{count} {event_type}; seen: {[e.event_type for e in self.seen]}")

    def close(self) -> None:
        self._connection.release()


@contextmanager
def wiretap(amqp_uri: str) -> Iterator[Wiretap]:
    """A wiretap on the virtual host, closed at the end."""
    tap = Wiretap(amqp_uri)
    try:
        yield tap
    finally:
        tap.close()


@contextmanager
def fresh_vhost(nodes: Nodes) -> Iterator[str]:
    """The AMQP URI of a virtual host that a whole test module shares, dropped at the end."""
    name = f"m-{uuid4().hex[:12]}"
    yield nodes.make_vhost(name)
    nodes.drop_vhost(name)


@contextmanager
def engine(database_uri: str) -> Iterator[sa.Engine]:
    """Look into a service's database from outside."""
    made = sa.create_engine(database_uri, poolclass=sa.NullPool)
    try:
        yield made
    finally:
        made.dispose()
