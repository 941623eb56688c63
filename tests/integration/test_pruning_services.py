"""Promises of pruning in the services' own tables: pages outlive their events, the books stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from chassis.db import store_of
from contracts.events import EVENTS, Event
from contracts.ids import new_id
from fieldwork_svc import models as fieldwork_models
from fieldwork_svc.service import FieldworkService
from gateway_svc import models as gateway_models
from gateway_svc.service import GatewayService
from mypage_svc.service import MypageService
from scheduling_svc import models as scheduling_models
from scheduling_svc.service import SchedulingService
from tests.harness.aged import ago, column, id_of, pruner_of
from tests.harness.containers import call, fresh_vhost, running
from tests.harness.databases import Databases
from tools.nodes import Nodes

LONG_AGO = 400
CONTENT: dict[str, Any] = {
    "customer": {"name": "김하늘", "phone": "010-1234-5678"},
    "address": {"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1"},
    "items": [{"product": "internet-500", "quantity": 1}],
}
DONE: dict[str, Any] = {
    "technician_id": "tech-1", "note": "",
    "results": {"ont_serial": "HFRN1234ABCD", "rx_power_dbm": -19.5, "down_mbps": 487.0},
}


def told(event_type: str, order_id: UUID, days: float, **payload: Any) -> Event:
    envelope = {"event_id": id_of(days), "occurred_at": ago(days), "order_id": order_id}
    return EVENTS[event_type].model_validate(envelope | payload)


def history(days: float, *, closed: bool = True) -> list[Event]:
    """An order of so many days ago: closed by the order book, or installed and not closed yet."""
    order_id = id_of(days)
    events = [
        told("order_placed", order_id, days, **CONTENT), told("activation_completed", order_id, days - 0.1),
        told("fieldwork_completed", order_id, days - 1, **DONE),
    ]
    return [*events, told("order_completed", order_id, days - 1.1)] if closed else events


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def one_mypage(databases: Databases, nodes: Nodes, request: pytest.FixtureRequest) -> Iterator[Any]:
    uri = databases.fresh("mypage") if request.param == "postgresql" else databases.sqlite("mypage")
    with fresh_vhost(nodes) as amqp_uri, running(MypageService, uri, amqp_uri) as container:
        yield container
    databases.drop(uri)


@pytest.fixture
def mypage(one_mypage: Any) -> Any:
    with store_of(one_mypage).transaction() as tx:
        for table in ("events", "pages", "parked_messages", "pruned", "outbox", "inbox"):
            tx.conn.execute(sa.text(f"delete from {table}"))
    return one_mypage


def handle(mypage: Any, *histories: Sequence[Event]) -> None:
    call(mypage, "on_events", [event for events in histories for event in events])


def events_of(mypage: Any, order_id: UUID) -> int:
    key = order_id.hex if store_of(mypage).engine.dialect.name == "sqlite" else order_id
    return len(column(mypage, "select event_id from events where order_id = :id", id=key))


def test_events_of_orders_closed_long_ago_go_and_their_pages_stay_as_they_are(mypage: Any) -> None:
    old, young = history(LONG_AGO), history(20)
    handle(mypage, old, young)
    page = call(mypage, "get_order", str(old[0].order_id))
    assert pruner_of(mypage).prune()["events"] == len(old)
    assert call(mypage, "get_order", str(old[0].order_id)) == page
    assert len(page["timeline"]) == len(old)
    assert events_of(mypage, old[0].order_id) == 0
    assert events_of(mypage, young[0].order_id) == len(young)


def test_many_orders_go_in_small_steps(mypage: Any) -> None:
    orders = [history(LONG_AGO) for _ in range(230)]
    handle(mypage, *orders)
    assert call(mypage, "show_pruning")["items"][-1]["rows"] == 230 * 4
    assert pruner_of(mypage).prune()["events"] == 230 * 4
    assert pruner_of(mypage).prune()["events"] == 0


@pytest.mark.parametrize("why", ["open", "not closed by the order book", "something of it is parked"])
def test_an_order_that_is_not_over_keeps_its_events_however_old(mypage: Any, why: str) -> None:
    events = history(LONG_AGO, closed=why == "something of it is parked")
    if why == "open":
        events = events[:2]
    handle(mypage, events)
    if why == "something of it is parked":
        with store_of(mypage).transaction() as tx:
            tx.conn.execute(tx.tables.parked.insert(), {
                "id": new_id(), "order_id": str(events[0].order_id), "event_type": "visit_scheduled", "queue": "q",
                "headers": {}, "body": b"", "error": "", "attempts": 6, "parked_at": ago(1),
            })  # fmt: skip
    assert pruner_of(mypage).prune()["events"] == 0
    assert events_of(mypage, events[0].order_id) == len(events)


@pytest.mark.parametrize("again", [slice(1, 2), slice(0, None)], ids=["one event", "all of them, published again"])
def test_a_page_whose_events_have_gone_is_not_folded_from_the_few_that_come_again(mypage: Any, again: slice) -> None:
    old = history(LONG_AGO)
    handle(mypage, old)
    page = call(mypage, "get_order", str(old[0].order_id))
    pruner_of(mypage).prune()
    handle(mypage, old[again], history(20))
    assert call(mypage, "get_order", str(old[0].order_id)) == page
    call(mypage, "rebuild")
    assert call(mypage, "get_order", str(old[0].order_id)) == page
    assert pruner_of(mypage).prune()["events"] == len(old[again]), "what came again goes again"
    assert call(mypage, "get_order", str(old[0].order_id)) == page


def test_a_rebuild_keeps_the_pages_whose_events_have_gone(mypage: Any) -> None:
    old, young = history(LONG_AGO), history(20)
    handle(mypage, old, young)
    pruner_of(mypage).prune()
    assert call(mypage, "rebuild") == {"orders": 1}
    assert call(mypage, "get_order", str(old[0].order_id))["status"] == "completed"


def test_photographs_of_closed_jobs_go_and_those_of_open_ones_and_the_jobs_stay(
    vhost: str, database: Callable[[str], str]
) -> None:
    with running(FieldworkService, database("fieldwork"), vhost) as fieldwork:
        jobs = [(id_of(900), "completed"), (id_of(900), "started"), (id_of(10), "rejected"), *(
            (id_of(900), "cancelled") for _ in range(25)
        )]  # fmt: skip
        with store_of(fieldwork).transaction() as tx:
            for order_id, state in jobs:
                tx.conn.execute(fieldwork_models.table.insert(), {
                    "order_id": order_id, "state": state, "revision": 1, "note": "", "created_at": ago(900),
                    "updated_at": ago(900),
                })  # fmt: skip
                taken = ago(5 if state == "rejected" else 890)
                tx.conn.execute(fieldwork_models.photos.insert(), [{
                    "order_id": order_id, "photo_id": uuid4(), "technician_id": "tech-1", "media_type": "image/png",
                    "content": b"x", "bytes": 1, "taken_at": taken,
                } for _ in range(2)])  # fmt: skip
        assert pruner_of(fieldwork).prune()["job_photos"] == 2 * 26
        left = column(fieldwork, "select distinct order_id from job_photos")
        assert set(left) == {jobs[1][0], jobs[2][0]}
        assert len(column(fieldwork, "select order_id from jobs")) == len(jobs)


def test_calls_about_closed_visits_go_and_those_about_open_ones_and_the_visits_stay(
    vhost: str, database: Callable[[str], str]
) -> None:
    with running(SchedulingService, database("scheduling"), vhost) as scheduling:
        closed, waiting = id_of(900), id_of(900)
        with store_of(scheduling).transaction() as tx:
            for order_id, state in ((closed, "completed"), (waiting, "flagged")):
                tx.conn.execute(scheduling_models.visits.insert(), {
                    "order_id": order_id, "state": state, "calls": 1, "missed_calls": 1, "revision": 0,
                    "cancel_reason": "", "created_at": ago(900), "updated_at": ago(900),
                })  # fmt: skip
                tx.conn.execute(scheduling_models.call_attempts.insert(), [
                    {"id": id_of(days), "order_id": order_id, "by": "kim", "outcome": "no_answer", "note": "",
                     "at": ago(days)} for days in (890, 100)
                ])  # fmt: skip
        assert pruner_of(scheduling).prune()["call_attempts"] == 1
        assert sorted(column(scheduling, "select order_id from call_attempts")) == sorted([closed, waiting, waiting])
        assert len(column(scheduling, "select order_id from visits")) == 2


def test_the_gateway_prunes_its_audit_log(vhost: str, database: Callable[[str], str], tmp_path: Any) -> None:
    keys = {"TOKEN_KEY": "k" * 32, "JOURNAL_PATH": str(tmp_path / "journal.sqlite3")}
    with running(GatewayService, database("gateway"), vhost, **keys) as gateway:
        with store_of(gateway).transaction() as tx:
            tx.conn.execute(gateway_models.audit_log.insert(), [
                {"id": id_of(days), "at": ago(days), "username": "kim", "role": "operator", "action": "sign_in",
                 "status": 201} for days in (1200, 1100, 1000, 1)
            ])  # fmt: skip
        assert pruner_of(gateway).prune()["audit_log"] == 2
