"""Promises of fieldwork on a real database and broker: jobs come and go, and the pivot race has one winner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import eventlet
import pytest
import sqlalchemy as sa

from chassis.db import Tx
from chassis.models import chassis_tables
from contracts.errors import Conflict, Forbidden, Invalid, NotFound
from contracts.events import VisitCancelRequested, VisitScheduled
from contracts.ids import new_id
from contracts.rpc import Job
from fieldwork_svc.models import Base
from fieldwork_svc.service import FieldworkService
from tests.harness.containers import Wiretap, call, engine, fresh_vhost, running, wiretap
from tests.harness.databases import Databases
from tools.nodes import Nodes
from tools.waiting import wait_until

NOW = datetime.now(UTC)
RESULTS = {"ont_serial": "HFRN1234ABCD", "rx_power_dbm": -19.5, "down_mbps": 487.0}


def a_visit(
    order_id: UUID, revision: int = 1, technician: str = "tech-1", start: datetime | None = None
) -> VisitScheduled:
    start = start or NOW + timedelta(hours=revision)
    return VisitScheduled(
        event_id=new_id(), occurred_at=NOW, order_id=order_id, revision=revision,
        window_start=start, window_end=start + timedelta(hours=2),
        technician_id=technician, technician_name="김기사",
        customer={"name": "김하늘", "phone": "010-1234-5678"},
        address={"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1"},
        items=[{"product": "internet-500", "quantity": 1}],
    )


def a_cancel(order_id: UUID) -> VisitCancelRequested:
    return VisitCancelRequested(event_id=new_id(), occurred_at=NOW, order_id=order_id, reason="moving")


class Fieldwork:
    """The running service with its database and what it says on the broker."""

    def __init__(self, container: Any, tap: Wiretap, db: sa.Engine) -> None:
        self.container, self.tap, self.db = container, tap, db

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return call(self.container, method, *args, **kwargs)

    def handle(self, *events: Any) -> None:
        self.call("on_events", list(events))

    def assigned(self, technician: str = "tech-1") -> str:
        order_id = new_id()
        self.handle(a_visit(order_id, technician=technician))
        return str(order_id)

    def outbox(self, order_id: str) -> list[str]:
        query = sa.text("select routing_key from outbox where order_id = :order_id order by id")
        with self.db.connect() as conn:
            return list(conn.execute(query, {"order_id": order_id}).scalars())


@pytest.fixture(scope="module")
def fieldwork(databases: Databases, nodes: Nodes) -> Iterator[Fieldwork]:
    """One service for all tests here; each uses orders of its own."""
    uri = databases.fresh("fieldwork")
    with (
        fresh_vhost(nodes) as amqp_uri,
        wiretap(amqp_uri) as tap,
        engine(uri) as db,
        running(FieldworkService, uri, amqp_uri) as container,
    ):
        yield Fieldwork(container, tap, db)
    databases.drop(uri)


def test_migrated_tables_are_those_of_the_models(fieldwork: Fieldwork) -> None:
    inspector = sa.inspect(fieldwork.db)
    for name, model in Base.metadata.tables.items():
        columns = {column["name"]: column["nullable"] for column in inspector.get_columns(name)}
        assert columns == {column.name: bool(column.nullable) for column in model.columns}, name
        assert {index["name"] for index in inspector.get_indexes(name)} == {index.name for index in model.indexes}


def test_job_runs_from_its_visit_to_the_pivot_over_the_broker(fieldwork: Fieldwork) -> None:
    order_id = new_id()
    fieldwork.tap.send([a_visit(order_id)])
    job = wait_until(lambda: fieldwork.call("get_job", str(order_id)), "the job exists", answered=(NotFound,))
    assert job["state"] == "assigned"
    assert fieldwork.call("start_job", str(order_id), "tech-1")["state"] == "started"
    done = fieldwork.call("complete_job", str(order_id), "tech-1", RESULTS, "문 앞")
    assert Job.model_validate_json(Job(**done).model_dump_json()).state == "completed"
    event = fieldwork.tap.heard("fieldwork_completed")[0]
    assert event.order_id == order_id
    assert event.model_dump()["results"]["ont_serial"] == "HFRN1234ABCD"
    assert fieldwork.call("get_job", str(order_id)) == done


def test_reschedule_moves_a_started_job_and_late_news_does_not(fieldwork: Fieldwork) -> None:
    order_id = new_id()
    fieldwork.handle(a_visit(order_id, 1, "tech-1"))
    fieldwork.call("start_job", str(order_id), "tech-1")
    second = a_visit(order_id, 3, "tech-2")
    fieldwork.handle(second)
    moved = fieldwork.call("get_job", str(order_id))
    assert (moved["state"], moved["technician_id"], moved["started_at"]) == ("assigned", "tech-2", None)
    fieldwork.call("start_job", str(order_id), "tech-2")
    fieldwork.handle(a_visit(order_id, 2, "tech-1"), second)
    after = fieldwork.call("get_job", str(order_id))
    assert (after["state"], after["technician_id"], after["revision"]) == ("started", "tech-2", 3)
    with pytest.raises(Forbidden):
        fieldwork.call("complete_job", str(order_id), "tech-1", RESULTS)


def test_phone_in_a_dead_spot_may_send_twice(fieldwork: Fieldwork) -> None:
    order_id = fieldwork.assigned()
    first = fieldwork.call("complete_job", order_id, "tech-1", RESULTS, "ok")
    assert fieldwork.call("complete_job", order_id, "tech-1", RESULTS, "ok") == first
    with pytest.raises(Conflict):
        fieldwork.call("complete_job", order_id, "tech-1", RESULTS | {"down_mbps": 90.0}, "ok")
    with pytest.raises(Conflict):
        fieldwork.call("reject_job", order_id, "tech-1", "no_duct", "")
    rejected = fieldwork.assigned()
    answer = fieldwork.call("reject_job", rejected, "tech-1", "no_duct", None)
    assert fieldwork.call("reject_job", rejected, "tech-1", "no_duct", "") == answer
    with pytest.raises(Conflict):
        fieldwork.call("start_job", rejected, "tech-1")
    assert fieldwork.outbox(order_id) == ["fieldwork_completed"]
    assert fieldwork.outbox(rejected) == ["fieldwork_rejected"]


def test_nobody_acts_on_what_is_not_there_or_not_his(fieldwork: Fieldwork) -> None:
    order_id = fieldwork.assigned("tech-1")
    for method, arguments in (("start_job", ()), ("complete_job", (RESULTS,)), ("reject_job", ("other",))):
        with pytest.raises(Forbidden):
            fieldwork.call(method, order_id, "tech-2", *arguments)
        for nothing in (str(new_id()), "no-uuid", 7):
            with pytest.raises(NotFound):
                fieldwork.call(method, nothing, "tech-1", *arguments)
    with pytest.raises(Invalid) as caught:
        fieldwork.call("complete_job", order_id, "tech-1", {**RESULTS, "ont_serial": "x"})
    assert caught.value.fields[0]["field"] == "results.ont_serial"
    assert fieldwork.call("get_job", order_id)["state"] == "assigned"


def test_cancel_before_its_visit_is_a_tombstone(fieldwork: Fieldwork) -> None:
    order_id = new_id()
    fieldwork.handle(a_cancel(order_id))
    fieldwork.handle(a_visit(order_id))
    with pytest.raises(NotFound):
        fieldwork.call("get_job", str(order_id))
    assert fieldwork.outbox(str(order_id)) == ["fieldwork_cancelled"]


def test_complete_and_cancel_at_the_same_moment_have_one_winner(fieldwork: Fieldwork) -> None:
    outcomes = set()
    for turn in range(6):
        order_id = fieldwork.assigned()
        with fieldwork.db.connect() as gate:
            Tx(gate, chassis_tables(Base.metadata), "").lock([UUID(order_id)])
            racers = [
                lambda order_id=order_id: fieldwork.call("complete_job", order_id, "tech-1", RESULTS),
                lambda order_id=order_id: fieldwork.handle(a_cancel(UUID(order_id))),
            ]
            # Both wait for the order's lock, in turn the one and the other at the front.
            running_now = []
            for count, racer in enumerate(racers if turn % 2 else reversed(racers), start=1):
                running_now.append(eventlet.spawn(_answer, racer))
                wait_until(lambda count=count: _waiting(fieldwork.db) == count, f"{count} wait for the lock")
            gate.rollback()
        answers = [racer.wait() for racer in running_now]
        events = fieldwork.outbox(order_id)
        assert events in (["fieldwork_completed"], ["fieldwork_cancelled"])
        conflicts = [answer for answer in answers if isinstance(answer, Conflict)]
        assert len(conflicts) == (1 if events == ["fieldwork_cancelled"] else 0), answers
        outcomes.update(events)
    assert outcomes == {"fieldwork_completed", "fieldwork_cancelled"}


def test_day_lists_the_local_days_jobs_in_pages(fieldwork: Fieldwork) -> None:
    # 2031-03-05 in Seoul runs from 15:00 UTC of the 4th to 15:00 UTC of the 5th.
    first_moment = datetime(2031, 3, 4, 15, 0, tzinfo=UTC)
    starts = [first_moment - timedelta(seconds=1), first_moment, first_moment + timedelta(hours=5),
              first_moment + timedelta(hours=23), first_moment + timedelta(days=1)]
    orders = [new_id() for _ in starts]
    fieldwork.handle(*(a_visit(order_id, start=start) for order_id, start in zip(orders, starts, strict=True)))
    other = new_id()
    fieldwork.handle(a_visit(other, technician="tech-2", start=starts[1] + timedelta(hours=1)))

    mine = fieldwork.call("list_jobs", "tech-1", "2031-03-05")
    assert [job["order_id"] for job in mine["items"]] == [str(order_id) for order_id in orders[1:4]]
    assert mine["next_cursor"] is None
    everybody = [str(orders[1]), str(other), str(orders[2]), str(orders[3])]
    seen: list[str] = []
    cursor = None
    while True:
        page = fieldwork.call("list_jobs", date="2031-03-05", limit=3, cursor=cursor)
        seen += [job["order_id"] for job in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == everybody
    today = fieldwork.call("list_jobs", None, None)["items"]
    assert not {job["order_id"] for job in today} & set(everybody)


def test_list_names_what_is_wrong(fieldwork: Fieldwork) -> None:
    wrong = [("date", "soon"), ("limit", 0), ("limit", 201), ("cursor", "x"), ("cursor", "WyJhIiwiYiJd")]
    for field, value in wrong:
        with pytest.raises(Invalid) as caught:
            fieldwork.call("list_jobs", **{field: value})
        assert caught.value.fields[0]["field"] == field, (field, value)


def _answer(racer: Callable[[], Any]) -> Any:
    try:
        return racer()
    except Conflict as conflict:
        return conflict


def _waiting(db: sa.Engine) -> int:
    query = sa.text(
        "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        " and database = (select oid from pg_database where datname = current_database())"
    )
    with db.connect() as conn:
        return int(conn.execute(query).scalar_one())
