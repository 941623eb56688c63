"""Scheduling in a real container on a real database and broker, with a clock that a test sets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import eventlet
import kombu
import pytest
import sqlalchemy as sa
from eventlet.event import Event

from chassis import clock
from chassis.container import Container
from chassis.db import store_of
from chassis.health import health_of
from chassis.hints import Hints
from chassis.settings import load_yaml, merged
from contracts.events import EVENTS
from scheduling_svc import models, policy, seed
from scheduling_svc.service import SchedulingService
from tests.harness.databases import Databases
from tools.nodes import Nodes
from tools.paths import ROOT
from tools.ports import free_port
from tools.waiting import wait_until

WEDNESDAY_8_AM = datetime(2026, 11, 24, 23, 0, tzinfo=UTC)
"""08:00 in Seoul on Wednesday, 25 November 2026: all five windows of the day are ahead."""

_EVERY_DAY = [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "09:00", "to": "19:00"}]
TECHNICIANS: list[dict[str, Any]] = [
    {"id": "tech-near", "name": "이서연", "skills": ["internet", "tv"], "areas": ["06"], "shifts": _EVERY_DAY},
    {"id": "tech-far", "name": "김도현", "skills": ["internet", "tv"], "areas": ["*"], "shifts": _EVERY_DAY},
    {"id": "tech-internet", "name": "박준호", "skills": ["internet"], "areas": ["*"], "shifts": _EVERY_DAY},
]


class Scheduling:
    """Calls the running service as its callers do, and looks into its database."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.store = store_of(container)
        self.grid = policy.grid(merged(container.config))
        self.now = WEDNESDAY_8_AM

    def begin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin a test: no visits, the seeded technicians, Wednesday at eight in the morning."""
        self.now = WEDNESDAY_8_AM
        monkeypatch.setattr(clock, "utc_now", lambda: self.now)
        with self.store.engine.begin() as conn:
            conn.execute(sa.text("truncate visits, technicians, bookings, call_attempts, call_claims, outbox, inbox"))
            seed.seed(conn, TECHNICIANS)

    def call(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        """Run an entrypoint in a worker of its own, as if a message had come; raises what it raises."""
        entrypoint = next(e for e in self.container.entrypoints if e.method_name == method)
        done = Event()

        def handle_result(worker_ctx: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
            done.send((result, exc_info))
            return result, exc_info

        self.container.spawn_worker(entrypoint, arguments, keywords, handle_result=handle_result)
        with eventlet.Timeout(60):
            result, exc_info = done.wait()
        if exc_info is not None:
            raise exc_info[1]
        return result

    def calling(self, method: str, **arguments: Any) -> eventlet.greenthread.GreenThread:
        """Start a call and return at once; `.wait()` gives its result, or the exception it raised as a value."""

        def run() -> Any:
            try:
                return self.call(method, **arguments)
            except Exception as answer:
                return answer

        return eventlet.spawn(run)

    def event(self, event_type: str, order_id: str, **payload: Any) -> Any:
        """An event about that order, as another service would have sent it."""
        envelope = {"event_id": clock.new_uuid7(), "occurred_at": self.now, "order_id": order_id}
        return EVENTS[event_type].model_validate(envelope | payload)

    def receive(self, *events: Any) -> None:
        """Let the service handle these events as one batch."""
        self.call("on_events", list(events))

    def request(self, **changes: Any) -> str:
        """Request a visit for a new order (internet and TV in 06236); return its id."""
        order_id = str(clock.new_uuid7())
        assert self.call("request_visit", **a_request(order_id, **changes)) == {"outcome": "accepted"}
        return order_id

    def appoint(self, order_id: str, hour: int, technician_id: str | None = None, days: int = 0) -> Any:
        """Set the appointment to the window of that hour in Seoul, so many days ahead."""
        return self.call("set_appointment", **an_appointment(order_id, hour, technician_id, days))

    def emitted(self, order_id: str) -> list[dict[str, Any]]:
        """The order's outgoing events, in order."""
        table = self.store.tables.outbox
        query = sa.select(table.c.body).where(table.c.order_id == UUID(order_id)).order_by(table.c.id)
        with self.store.engine.connect() as conn:
            return [json.loads(bytes(body)) for body in conn.execute(query).scalars()]

    def live_bookings(self) -> list[tuple[str, str, datetime]]:
        """(order id, technician, window start) of every live booking."""
        table = models.bookings
        query = sa.select(table).where(table.c.released_at.is_(None)).order_by(table.c.booked_at, table.c.id)
        with self.store.engine.connect() as conn:
            return [(str(row.order_id), row.technician_id, row.window_start) for row in conn.execute(query)]

    def queue(self, **arguments: Any) -> list[str]:
        """The order ids of the call queue, whom to call first."""
        return [item["order_id"] for item in self.call("list_visits", **arguments)["items"]]

    def wait_until_blocked(self, count: int = 1) -> None:
        """Wait until that many transactions of this database wait for another one's lock."""
        query = sa.text(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )

        def blocked() -> bool:
            with self.store.engine.connect() as conn:
                return bool(conn.execute(query).scalar_one() >= count)

        wait_until(blocked, f"{count} transaction(s) waiting for a lock")


def a_request(order_id: str, postcode: str = "06236", products: tuple[str, ...] = ("internet-500", "tv-basic")) -> Any:
    """A VisitRequest as keywords."""
    return {
        "order_id": order_id,
        "customer": {"name": "김하늘", "phone": "010-1234-5678", "email": "sky@example.com"},
        "address": {"postcode": postcode, "line1": "서울특별시 강남구 테헤란로 1", "line2": "101동 1203호"},
        "items": [{"product": product, "quantity": 1} for product in products],
    }


def at_seoul(hour: int, days: int = 0) -> datetime:
    """That hour in Seoul on Wednesday, 25 November 2026, or so many days later."""
    return datetime(2026, 11, 24, 15, 0, tzinfo=UTC) + timedelta(days=days, hours=hour)


def an_appointment(order_id: str, hour: int, technician_id: str | None = None, days: int = 0) -> dict[str, Any]:
    """The arguments of `set_appointment` for the two hours from `hour` in Seoul."""
    start = at_seoul(hour, days)
    return {
        "order_id": order_id, "by": "dispatcher", "technician_id": technician_id,
        "window_start": start.isoformat(), "window_end": (start + timedelta(hours=2)).isoformat(),
    }


HEARD = "heard"
"""A queue that hears every event; without one, nobody takes the events and the outbox keeps them."""


def _listen(amqp_uri: str, exchange: str) -> None:
    with kombu.Connection(amqp_uri) as connection:
        topic = kombu.Exchange(exchange, type="topic", durable=True)
        kombu.Queue(HEARD, topic, routing_key="#", durable=True)(connection.default_channel).declare()


@contextmanager
def running_scheduling(nodes: Nodes, databases: Databases) -> Iterator[Scheduling]:
    """The service in a container of this process, with a database and a virtual host of its own."""
    vhost = f"t-{uuid4().hex[:12]}"
    amqp_uri, database_uri = nodes.make_vhost(vhost), databases.fresh("scheduling")
    config = load_yaml(ROOT / "config" / "scheduling.yaml") | {
        "BASE": str(ROOT / "config" / "base.yaml"),
        "AMQP_URI": amqp_uri,
        "DB_URIS": {"scheduling:Base": database_uri},
        "DATABASE_CLOCK": False,
        "WEB_SERVER_ADDRESS": f"127.0.0.1:{free_port()}",
    }
    container = Container(SchedulingService, config)
    _listen(amqp_uri, str(merged(config)["EVENTS_EXCHANGE"]))
    container.start()
    try:
        health = health_of(container)
        wait_until(
            lambda: all(said == "ok" for said in health.outcomes("ready").values()),
            lambda: f"scheduling is ready: {health.outcomes('ready')}",
        )
        hints = next(extension for extension in container.dependencies if isinstance(extension, Hints))
        wait_until(lambda: hints.connected, "hints are sent")
        yield Scheduling(container)
    finally:
        container.stop()
        databases.drop(database_uri)
        nodes.drop_vhost(vhost)


@pytest.fixture(scope="module")
def running(nodes: Nodes, databases: Databases) -> Iterator[Scheduling]:
    """One service for all tests of the module that imports this."""
    with running_scheduling(nodes, databases) as service:
        yield service


@pytest.fixture
def scheduling(running: Scheduling, monkeypatch: pytest.MonkeyPatch) -> Scheduling:
    """The same, as a test begins with it; import `running` as well."""
    running.begin(monkeypatch)
    return running
