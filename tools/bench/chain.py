"""An order's hops, each alone: at each time one service works, and what it leaves is the next one's backlog."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from chassis.clock import new_uuid7
from contracts.events import Event, VisitScheduled
from scheduling_svc.models import Base as Scheduling
from tools.bench.drain import closed, costs, drain, used_s
from tools.bench.figures import DRAINED, INTAKE_ALONE, PLACING, RELAY, Name, Reading, of_each
from tools.bench.gateway import placed_orders
from tools.bench.host import Host
from tools.bench.load import MANY, Size
from tools.bench.watch import Watch
from tools.bench.wrk import Wrk
from tools.waiting import NotInTime, wait_until

AT_ONCE_S = 0.5
RELAYED = 500
"""Events that a relay takes in a round; fewer than three rounds say nothing."""
ALONE = ("activation", "order", "fieldwork", "mypage")


class Chain:
    """One pass, with what runs of each service now; `processes`: of how many it is to say that they worked."""

    def __init__(self, host: Host, processes: int) -> None:
        self._host, self._processes = host, processes
        self._since = Watch(host).newest
        self._own = {
            service: [name for name in host.pids if name == service or name.startswith(f"{service}-")]
            for service in ALONE
        }

    def run(self, size: Size) -> Reading:
        """Everything is at rest when it begins, and again when it ends."""
        self._host.tell("stop", *(name for service in ALONE for name in self._own[service]))
        found, orders = self._intake(size)
        found |= self._placing(orders)
        found |= self._alone("activation", "activations", self._count("activation", "activations", "state = 'active'"),
                             orders)  # fmt: skip
        found |= self._alone("order", "orders", self._count("order", "orders", "state = 'activated'"), orders)
        both = self._count("mypage", "events")
        found |= self._alone("mypage", "events", lambda: both() // 2, orders)
        found |= self._relay()
        found |= self._alone("fieldwork", "jobs", self._count("fieldwork", "jobs"), orders)
        self._host.tell("start", *(name for service in ALONE for name in self._own[service]))
        for service, table, column in (("order", "orders", "state"), ("mypage", "pages", "status")):
            seen = self._count(service, table, f"{column} = 'scheduled'")
            self._wait(seen, orders, f"{service} knows of every visit")
        return found

    def _intake(self, size: Size) -> tuple[Reading, int]:
        """A gateway that nobody answers: it writes orders down. What it has taken is everybody's backlog."""
        first = self._until_it_knows()
        before = used_s(self._host)
        orders, seconds, many = 0, 0.0, of_each(self._processes)
        while orders < size.backlog:
            answers = Wrk("intake.lua", self._host.url, MANY).for_seconds(2)
            orders += answers.created + answers.accepted
            seconds += answers.seconds
        found = {Name(INTAKE_ALONE, many, "orders/s"): orders / seconds}
        found |= costs(INTAKE_ALONE, before, used_s(self._host), orders, f"{many}, ")
        return found, first + orders

    def _until_it_knows(self) -> int:
        """Order after order, until the gateway has found out that nobody answers, and lets nobody wait for it."""
        for number, began in enumerate(_times(self._host), 1):
            if time.perf_counter() - began < AT_ONCE_S:
                return number
        raise NotInTime("the gateway goes on waiting for a service that is stopped")

    def _placing(self, orders: int) -> Reading:
        """From the journal into the order book, and out of its outbox."""
        with closed(self._host, "order", "orders"):
            self._host.tell("start", *self._own["order"])
        found = drain(PLACING, self._host, self._processes, self._count("order", "orders"), orders)
        return found | self._rested("order", {})

    def _alone(self, service: str, table: str, done: Callable[[], int], orders: int) -> Reading:
        with closed(self._host, service, table):
            self._host.tell("start", *self._own[service])
        found = drain(DRAINED[service], self._host, self._processes, done, orders)
        return self._rested(service, found)

    def _rested(self, service: str, found: Reading) -> Reading:
        """Stop it as soon as its outbox is empty: the backlog of those who come next is whole then."""
        self._wait(lambda: -self._unsent(service), 0, f"{service}'s outbox is empty")
        self._host.tell("stop", *self._own[service])
        return found

    def _relay(self) -> Reading:
        """Events that lie in one outbox all at once (a visit for each of these orders); its relay alone works."""
        rows = self._host.query("scheduling", "select order_id::text from visits where order_id > %s", self._since)
        url = sa.make_url(self._host.database_address("scheduling")).set(drivername="postgresql+psycopg2")
        now = datetime.now(UTC)
        waiting = [
            {"message_id": event.event_id, "order_id": event.order_id, "exchange": "oss.events", "headers": {},
             "routing_key": event.event_type, "body": event.encode(), "created_at": now}
            for event in _visits((row[0] for row in rows), now)
        ]  # fmt: skip
        with sa.create_engine(url, poolclass=sa.NullPool).begin() as conn:
            conn.execute(Scheduling.metadata.tables["outbox"].insert(), waiting)
        if len(rows) < 3 * RELAYED:
            self._wait(lambda: -self._unsent("scheduling"), 0, "scheduling's outbox is empty")
            return {}
        # From the end of its first round to the end of its last one: each takes many events.
        done = lambda: len(rows) - self._unsent("scheduling")  # noqa: E731
        sent = drain(RELAY, self._host, 1, done, len(rows), (1 / len(rows), 1.0))
        return {Name(RELAY, name.title, name.unit.replace("order", "event")): value for name, value in sent.items()}

    def _count(self, service: str, table: str, condition: str = "true") -> Callable[[], int]:
        statement = f"select count(*) from {table} where order_id > %s and {condition}"
        return lambda: int(self._host.query(service, statement, self._since)[0][0])

    def _unsent(self, service: str) -> int:
        return int(self._host.query(service, "select count(*) from outbox where sent_at is null")[0][0])

    @staticmethod
    def _wait(done: Callable[[], int], wanted: int, what: str) -> None:
        wait_until(lambda: done() >= wanted, what, timeout_s=120)


def _times(host: Host) -> Iterator[float]:
    """Places a few orders; when each was sent."""
    orders = placed_orders(host, 20)
    while True:
        began = time.perf_counter()
        if next(orders, None) is None:
            return
        yield began


def _visits(order_ids: Iterator[str], now: datetime) -> Iterator[Event]:
    customer = {"name": "김하늘", "phone": "010-1234-5678", "email": "sky@example.com"}
    address = {"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1", "line2": "101동 1203호"}
    for order_id in order_ids:
        yield VisitScheduled.model_validate({
            "event_id": new_uuid7(), "occurred_at": now, "order_id": UUID(order_id), "revision": 1,
            "window_start": now + timedelta(days=1), "window_end": now + timedelta(days=1, hours=2),
            "technician_id": "tech-kim", "technician_name": "김도현", "customer": customer, "address": address,
            "items": [{"product": "internet-500", "quantity": 1}],
        })  # fmt: skip
