"""Promise: what a statement reads does not grow with the number of orders that are stored.

Each service runs on tables with 100,000 closed orders and some hundred open ones and answers representative calls, and
every statement that it sends is explained by the server. None may read a large table as a whole, nor more rows than the
open orders and a page need.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
import yaml

from activation_svc.domain import TABLE as ACTIVATION
from chassis import clock
from chassis.db import store_of
from chassis.rpc_server import BoundedRpc
from contracts.events import EVENTS, Event
from contracts.ids import new_id
from fieldwork_svc.service import FieldworkService
from gateway_svc import models as gateway_models
from gateway_svc import staff
from gateway_svc.service import GatewayService
from mypage_svc.service import MypageService
from order_svc.service import OrderService
from scheduling_svc import seed as scheduling_seed
from scheduling_svc.service import SchedulingService
from tests.harness.activation import TWO_OLTS, activation_under_test, scheduling_far_end
from tests.harness.aged import ago, pruner_of, put_inbox, put_outbox
from tests.harness.containers import call, engine, running, wiretap
from tests.harness.elements import simulator
from tests.harness.orders import place_order
from tests.harness.plans import Read, Watched, watch
from tools.bench.stored import MOST, OPEN, Stored
from tools.paths import ROOT
from tools.waiting import wait_until

STORED = 100_000
STEP_S = 69.0
"""Between two orders: 80 days of 1,250 orders."""
LARGE = 5_000
"""Rows from which on a table may not be read as a whole."""
ROWS, BLOCKS = 4 * OPEN, 3_000
"""What one statement may look at: the open orders some times over; a step of the pruner is a thousand rows."""

BY_NATURE = {
    "rebuild": "folds every page anew, chunk by chunk",
    "audit": "compares the whole network with all activations",
    "repair": "follows an audit",
}
"""RPC methods that go through everything, and say so."""
CONTENT: dict[str, Any] = {name: place_order()[name] for name in ("customer", "address", "items")}
DONE: dict[str, Any] = {
    "technician_id": "stored-1", "note": "",
    "results": {"ont_serial": "HFRN1234ABCD", "rx_power_dbm": -19.5, "down_mbps": 487.0},
}
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\1" * 50).decode()


def told(event_type: str, order_id: Any, **payload: Any) -> Event:
    envelope = {"event_id": new_id(), "occurred_at": clock.utc_now(), "order_id": order_id}
    return EVENTS[event_type].model_validate(envelope | payload)


class Grown:
    """A database with many orders, and the statements that a service sends to it."""

    def __init__(self, service: str, uri: str, watched: Watched) -> None:
        self.service, self.uri, self.watched = service, uri, watched
        self.called: set[str] = set()

    def ids(self, query: str) -> list[str]:
        """The first column of what this finds, as text."""
        with engine(self.uri) as found, found.connect() as conn:
            return [str(value) for value in conn.execute(sa.text(query)).scalars()]

    @contextmanager
    def looking(self, container: Any) -> Iterator[Callable[..., Any]]:
        """A way to call the service, whose statements are explained meanwhile. Every RPC method must be called."""

        def calling(method: str, *args: Any, **kwargs: Any) -> Any:
            self.called.add(method)
            return call(container, method, *args, **kwargs)

        self.watched.on = True
        yield calling
        self._operate(container, calling)
        self.watched.on = False
        methods = {e.method_name for e in container.entrypoints if isinstance(e, BoundedRpc)}
        assert methods - set(BY_NATURE) <= self.called, f"call {sorted(methods - self.called)} as well"

    def _operate(self, container: Any, calling: Callable[..., Any]) -> None:
        """What every service does for operators and by itself."""
        if not any(e.method_name == "overview" for e in container.entrypoints):
            return
        calling("overview")
        calling("list_parked")
        (order_id,) = self.ids("select order_id from outbox order by id limit 1") or [str(new_id())]
        calling("order_messages", order_id, [str(new_id()), *self.ids("select message_id from outbox limit 5")])
        calling("republish_events", order_id)
        for method in ("replay_parked", "drop_parked"):
            with suppress(Exception):
                calling(method, str(uuid4()))
        calling("show_pruning")
        with self.off():
            put_outbox(container, 400, count=1500, sent_days=400)
            put_inbox(container, 400, count=1500)
        pruner_of(container).prune()
        calling("start_pruning")

    @contextmanager
    def off(self) -> Iterator[None]:
        """What the test itself does is not looked at."""
        self.watched.on = False
        yield
        self.watched.on = True

    def check(self) -> None:
        """No statement reads more, the more orders there are."""
        worst: dict[str, Read] = {}
        for read in self.watched.reads:
            shape = re.sub(r"'[^']*'|[0-9]+", "?", read.statement)[:2000]
            if shape not in worst or read.blocks > worst[shape].blocks:
                worst[shape] = read
        sizes = self._sizes()
        bad = [
            read for read in worst.values()
            if read.rows > ROWS or read.blocks > BLOCKS or any(sizes[t] > LARGE for t, _ in read.whole_tables)
        ]
        assert len(worst) > 10, "the statements were seen"
        assert not bad, "\n\n".join(map(str, sorted(bad, key=lambda read: -read.blocks)))

    def _sizes(self) -> dict[str, int]:
        with engine(self.uri) as found, found.connect() as conn:
            return dict(conn.execute(sa.text("select relname, reltuples::bigint from pg_class")).tuples().all())


@pytest.fixture
def grown(database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Grown]:
    """`grown("order")`: that service's database with `STORED` closed orders and the open ones."""

    def make(service: str) -> Grown:
        uri = database(service)
        with engine(uri) as db, db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            cursor = conn.connection.cursor()
            stored = Stored(lambda _, statement: cursor.execute(statement), clock.utc_now(), [service], STEP_S)
            stored.write(MOST - STORED + 1, MOST)
            stored.write_open()
            conn.exec_driver_sql("vacuum analyze")
        return Grown(service, uri, watch(monkeypatch))

    return make


@pytest.fixture
def heard(vhost: str) -> Iterator[str]:
    """The address of a virtual host on which every event is heard by somebody."""
    with wiretap(vhost):
        yield vhost


def test_order_book(grown: Callable[[str], Grown], heard: str) -> None:
    book = grown("order")
    with running(OrderService, book.uri, heard) as container, book.looking(container) as ask:
        orders = [place_order() for _ in range(30)]
        ask("place_orders", [*orders, *(place_order(idempotency_key=f"k{n}") for n in range(3))])
        ask("place_orders", [orders[0], place_order(idempotency_key="k1")])
        (closed,) = book.ids("select order_id from orders where state = 'completed' limit 1")
        ask("get_order", closed)
        ask("cancel_order", orders[0]["order_id"])
        ids = [UUID(order["order_id"]) for order in orders]
        ask("on_events", [told("activation_completed", order_id) for order_id in ids])
        ask("on_events", [told("fieldwork_completed", order_id, **DONE) for order_id in [*ids[:9], UUID(closed)]])
    book.check()


def test_activation(grown: Callable[[str], Grown], vhost: str, tmp_path: Path) -> None:
    lines = grown("activation")
    with (
        scheduling_far_end(vhost), simulator(tmp_path) as elements,
        activation_under_test(lines.uri, vhost, elements.client, elements.port, TWO_OLTS) as activation,
        lines.looking(activation.container) as ask,
    ):  # fmt: skip
        ids = [new_id() for _ in range(20)]
        ask("on_events", [told("order_placed", order_id, **CONTENT) for order_id in ids])
        for order_id in ids:
            activation.wait_for(order_id, "active")
        ask("on_events", [told("order_cancel_requested", ids[0], reason=""),
                          told("fieldwork_completed", ids[1], **DONE)])  # fmt: skip
        ask("on_events", [told("visit_cancelled", ids[0], reason="")])
        activation.wait_for(ids[0], *sorted(ACTIVATION.final))
        fallouts = ask("list_fallouts", 20)
        ask("list_fallouts", 20, fallouts["next_cursor"])
        stuck = [item["order_id"] for item in fallouts["items"]]
        ask("retry_fallout", stuck[0], "kim")
        elements.client.refuse("bng-1", words="maintenance", verbs=["write"])
        failing = new_id()
        ask("on_events", [told("order_placed", failing, **CONTENT)])
        activation.wait_for(failing, "fallout")
        elements.client.heal()
        ask("retry_fallout", str(failing), "kim", another_port=True)
        activation.wait_for(failing, "active")
        ask("abandon_fallout", stuck[2], "kim", "no way")
        ask("get_activation", stuck[0])
        ask("inventory")
        with suppress(Exception):
            ask("unblock_port", "olt-1", "0/0/1", "kim")
    lines.check()


def test_scheduling(grown: Callable[[str], Grown], heard: str) -> None:
    visits = grown("scheduling")
    with running(SchedulingService, visits.uri, heard) as container, visits.looking(container) as ask:
        with store_of(container).transaction() as tx:
            scheduling_seed.seed(tx.conn, yaml.safe_load((ROOT / "config" / "seed.yaml").read_text())["technicians"])
        ids = [str(new_id()) for _ in range(6)]
        for order_id in ids[:3]:
            ask("request_visit", order_id=order_id, **CONTENT)
        ask("request_visits", [{"order_id": order_id, **CONTENT} for order_id in ids[3:]])
        for state in (None, "requested", "scheduled", "cancelling", "completed", "rejected", "cancelled"):
            page = ask("list_visits", state, 50)
            while page["next_cursor"] and state is None:
                page = ask("list_visits", state, 50, page["next_cursor"])
            if page["next_cursor"]:
                ask("list_visits", state, 50, page["next_cursor"])
        windows = ask("free_windows", ids[0])["items"]
        for order_id, window in zip(ids, windows, strict=False):
            at = {name: window[name] for name in ("window_start", "window_end")}
            ask("set_appointment", order_id, by="kim", note="", **at)
        later = {name: windows[-1][name] for name in ("window_start", "window_end")}
        ask("set_appointment", ids[0], by="kim", revision=1, **later)
        (waiting, other) = visits.ids("select order_id from visits where state = 'requested' limit 2")
        ask("claim_visit", waiting, "kim")
        ask("release_visit", waiting, "kim")
        ask("claim_next", "lee")
        ask("record_call", other, "kim", "no_answer")
        ask("get_visit", visits.ids("select order_id from visits where state = 'completed' limit 1")[0])
        ask("day_board", clock.utc_now().date().isoformat())
        ask("list_technicians")
        ask("on_events", [told("activation_cancel_requested", ids[1], reason=""),
                          told("fieldwork_completed", ids[2], **DONE)])  # fmt: skip
    visits.check()


def test_fieldwork(grown: Callable[[str], Grown], heard: str) -> None:
    jobs = grown("fieldwork")
    with running(FieldworkService, jobs.uri, heard) as container, jobs.looking(container) as ask:
        ids = [new_id() for _ in range(5)]
        start = clock.utc_now() + timedelta(hours=1)
        visit = {"revision": 1, "window_start": start, "window_end": start + timedelta(hours=2),
                 "technician_id": "stored-1", "technician_name": "박기사", **CONTENT}  # fmt: skip
        ask("on_events", [told("visit_scheduled", order_id, **visit) for order_id in ids])
        ask("on_events", [told("visit_cancel_requested", ids[4], reason="")])
        for day in (clock.utc_now(), start, ago(6)):
            for technician in ("stored-1", None):
                page = ask("list_jobs", technician, day.date().isoformat(), 20)
                if page["next_cursor"]:
                    ask("list_jobs", technician, day.date().isoformat(), 20, page["next_cursor"])
        order_id, photo = str(ids[0]), str(uuid4())
        ask("get_job", order_id)
        ask("start_job", order_id, "stored-1")
        ask("add_photo", order_id, "stored-1", photo, "image/png", PIXEL)
        ask("list_photos", order_id)
        ask("get_photo", order_id, photo)
        ask("complete_job", order_id, "stored-1", DONE["results"])
        ask("reject_job", str(ids[1]), "stored-1", "no_duct")
    jobs.check()


def test_mypage(grown: Callable[[str], Grown], heard: str) -> None:
    pages = grown("mypage")
    with running(MypageService, pages.uri, heard) as container, pages.looking(container) as ask:
        ids = [new_id() for _ in range(50)]
        ask("on_events", [told("order_placed", order_id, **CONTENT) for order_id in ids])
        ask("on_events", [told("order_completed", order_id, cancel_refused=False) for order_id in ids[:20]])
        (closed,) = pages.ids("select order_id from pages where status = 'completed' offset 500 limit 1")
        ask("on_events", [told("activation_completed", UUID(closed))])
        ask("get_order", closed)
        (phone,) = pages.ids(f"select phone from pages where order_id = '{closed}'")
        (serial,) = pages.ids(f"select ont_serial from pages where order_id = '{closed}'")
        none = {"phone": "010-0000-0001", "ont_serial": "HFRNFFFFFFFF", "order_end": "0123456789ab"}
        searches: list[dict[str, Any]] = [
            {}, {"phone": phone}, {"ont_serial": serial}, {"order_end": closed[-8:]}, {"order_end": closed[-4:]},
            *({name: value} for name, value in none.items()), {"phone": phone, "status": "completed"},
            {"phone": phone, "status": "placed"}, {"ont_serial": serial, "status": "rejected"},
            *({"status": status} for status in (
                "accepted", "placed", "activated", "scheduled", "completed", "rejecting", "rejected", "cancelling",
                "cancelled", "fallout")),
        ]  # fmt: skip
        for search in searches:
            page = ask("list_orders", limit=50, **search)
            if page["next_cursor"]:
                ask("list_orders", limit=50, cursor=page["next_cursor"], **search)
        ask("count_orders")
        page = ask("list_at_risk", 50)
        ask("list_at_risk", 50, page["next_cursor"])
    pages.check()


def test_gateway(grown: Callable[[str], Grown], heard: str, tmp_path: Any) -> None:
    desk = grown("gateway")
    keys = {"TOKEN_KEY": "k" * 32, "JOURNAL_PATH": str(tmp_path / "journal.sqlite3")}
    with running(GatewayService, desk.uri, heard, **keys) as container, desk.looking(container):
        with store_of(container).transaction() as tx:
            staff.add(tx.conn, [staff.StaffUser(f"u{n}", "operator", None, "x") for n in range(3)], tx.now)
            for n in range(10):
                staff.audit(tx.conn, key=new_id(), at=tx.now, username=f"u{n}", role="operator", action="sign_in",
                            order_id=new_id(), status=201)  # fmt: skip
        known, order_id = (UUID(desk.ids(f"select {name} from audit_log offset 50000 limit 1")[0])
                           for name in ("id", "order_id"))  # fmt: skip
        wanted: list[dict[str, Any]] = [{"order_id": order_id}, {"username": "user-7"}, {"username": "nobody"},
                                        {"order_id": order_id, "username": "user-7"}, {}]  # fmt: skip
        with store_of(container).engine.connect() as conn:
            assert staff.find(conn, "u1") is not None
            for each in wanted:
                for before in (None, known):
                    staff.audited(conn, 51, before=before, **each)
        with desk.off(), store_of(container).transaction() as tx:
            tx.conn.execute(gateway_models.audit_log.insert(), [
                {"id": UUID(int=clock.first_uuid7(ago(1200)).int + n), "at": ago(1200), "username": "kim",
                 "role": "operator", "action": "sign_in", "status": 201} for n in range(1500)
            ])  # fmt: skip
        assert pruner_of(container).prune()["audit_log"] == 1500
        wait_until(lambda: len(desk.watched.reads) > 10, "the statements were seen")
    desk.check()


def test_a_statement_that_reads_a_table_as_a_whole_is_found(grown: Callable[[str], Grown], heard: str) -> None:
    book = grown("order")
    with running(OrderService, book.uri, heard) as container:
        book.watched.on = True
        with store_of(container).engine.connect() as conn:
            conn.execute(sa.text("select count(*) from orders where content_hash = 'x'"))
            conn.execute(sa.text("select order_id from orders order by order_id offset 50000 limit 1"))
        book.watched.on = False
    first, second = book.watched.reads[-2:]
    assert first.whole_tables and first.rows > STORED * 0.9
    assert second.rows > ROWS, "an offset is counted as well"
