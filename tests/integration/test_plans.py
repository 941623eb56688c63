"""Promise: what a statement reads does not grow with the number of orders that are stored.

Each service runs on tables with 100,000 closed orders and some hundred open ones and answers representative calls, and
every statement that it sends is explained by the server. None may read a large table as a whole, nor more rows than the
open orders and a page need.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
import yaml

from activation_svc.domain import TABLE as ACTIVATION
from chassis import clock
from chassis.connection import Transacting
from chassis.db import store_of
from chassis.patience import connections
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
from tests.harness.activation import activation_under_test, scheduling_far_end
from tests.harness.aged import ago, pruner_of
from tests.harness.containers import running, wiretap
from tests.harness.elements import simulator
from tests.harness.grown import STORED, Grown, grown, is_dear
from tests.harness.orders import place_order
from tools.paths import ROOT
from tools.waiting import wait_until

__all__ = ["grown"]

_OLT = {"kind": "olt", "driver": "sim", "slots": 8, "pons": 16, "onus": 64, "vlans": "100-3999"}
LARGE_INVENTORY: dict[str, Any] = {
    "olt-1": _OLT, "olt-2": _OLT, "bng-1": {"kind": "bng", "driver": "sim", "addresses": "100.64.0.0/17"},
}
CONTENT: dict[str, Any] = {name: place_order()[name] for name in ("customer", "address", "items")}
DONE: dict[str, Any] = {
    "technician_id": "stored-1", "note": "",
    "results": {"ont_serial": "HFRN1234ABCD", "rx_power_dbm": -19.5, "down_mbps": 487.0},
}
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\1" * 50).decode()


def told(event_type: str, order_id: Any, **payload: Any) -> Event:
    envelope = {"event_id": new_id(), "occurred_at": clock.utc_now(), "order_id": order_id}
    return EVENTS[event_type].model_validate(envelope | payload)


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
        activation_under_test(lines.uri, vhost, elements.client, elements.port, LARGE_INVENTORY) as activation,
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
        ask("request_visits", [{"order_id": order_id, **CONTENT} for order_id in ids[2:]])
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
        for order_id in (new_id(), UUID(closed)):  # remembered from its first event on; read first
            for event in (told("order_placed", order_id, **CONTENT), told("activation_completed", order_id)):
                ask("on_events", [event])
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


def test_a_statement_that_reads_a_table_as_a_whole_is_found(grown: Callable[[str], Grown]) -> None:
    desk = grown("gateway")
    store = sa.create_engine(desk.uri, connect_args={"connection_factory": connections(20.0, Transacting)})
    with store.connect() as conn:
        desk.watched.on = True
        conn.execute(sa.text("select count(*) from audit_log where action = 'x'"))
        conn.execute(sa.text("select id from audit_log order by id offset 50000 limit 1"))
        conn.execute(sa.text("set enable_seqscan = off"))
        conn.execute(sa.text("select order_id from audit_log where at = now()"))
        conn.execute(sa.text("select order_id from audit_log order by id desc limit 50"))
        desk.watched.on = False
    store.dispose()
    whole, offset, whole_index, good = desk.watched.reads[-4:]
    assert whole.whole_tables and whole.rows > STORED * 0.9
    assert is_dear(offset), "an offset is counted as well"
    assert is_dear(whole_index) and not whole_index.rows, "and what is skipped inside an index"
    assert not is_dear(good)
