"""MyPage on either database: what differs underneath shows nowhere above."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import eventlet
import pytest
import sqlalchemy as sa
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu import Connection

from chassis import dialect
from chassis.db import is_passing, store_of
from contracts import versions
from contracts.ids import new_id
from mypage_svc.domain import fact, fold
from mypage_svc.models import events
from mypage_svc.queries import facts_of, page_answer
from mypage_svc.service import MypageService
from tests.harness.containers import Wiretap, call, fresh_vhost, running, wiretap
from tests.harness.databases import Databases
from tests.unit import test_mypage_fold as folds
from tools.migrate import config
from tools.nodes import Nodes
from tools.waiting import wait_until

HISTORIES = [folds.COMPLETED, folds.CANCEL_LOST, folds.REJECTED, folds.CANCELLED, folds.FALLOUT, folds.ABANDONED]


class Running:
    """MyPage in this process."""

    def __init__(self, container: Any, tap: Wiretap, amqp_uri: str) -> None:
        self.container, self.tap, self.amqp_uri = container, tap, amqp_uri
        self.store = store_of(container)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return call(self.container, method, *args, **kwargs)

    def parked(self) -> list[dict[str, Any]]:
        return list(self.call("list_parked", limit=1)["items"])


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def mypage(databases: Databases, nodes: Nodes, request: pytest.FixtureRequest) -> Iterator[Running]:
    uri = databases.fresh("mypage") if request.param == "postgresql" else databases.sqlite("mypage")
    with (
        fresh_vhost(nodes) as amqp_uri, wiretap(amqp_uri) as tap,
        running(MypageService, uri, amqp_uri) as container,
    ):  # fmt: skip
        yield Running(container, tap, amqp_uri)
    databases.drop(uri)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_of_arrival_in_any_batches_stores_the_same_page(mypage: Running, data: st.DataObject) -> None:
    names = data.draw(st.sampled_from(HISTORIES))
    order_id = new_id()
    history = [event.model_copy(update={"order_id": order_id}) for event in folds.events_of(*names)]
    twice = data.draw(st.lists(st.sampled_from(history), max_size=5))
    arriving = data.draw(st.permutations(history + twice))
    while arriving:
        size = data.draw(st.integers(1, len(arriving)))
        mypage.call("on_events", arriving[:size])
        arriving = arriving[size:]
    stored = mypage.call("get_order", str(order_id))
    assert stored == page_answer(fold(fact(event) for event in history))


def test_what_cannot_be_read_is_parked_listed_replayed_and_dropped(mypage: Running) -> None:
    with Connection(mypage.amqp_uri) as connection, connection.Producer() as producer:
        for number in (1, 2):
            producer.publish(f"no event {number}", routing_key="mypage.events", content_type="application/json")
    wait_until(lambda: mypage.call("overview")["parked"] == 2, "two messages are parked")
    first = mypage.call("list_parked", limit=1)
    second = mypage.call("list_parked", limit=1, cursor=first["next_cursor"])
    assert [page["items"][0]["body"] for page in (first, second)] == ["no event 1", "no event 2"]
    for page in (first, second):
        assert "not JSON" in page["items"][0]["error"]
    # Sent again, it goes through the outbox and its relay, and is parked anew.
    mypage.call("replay_parked", first["items"][0]["message_id"])
    wait_until(lambda: mypage.call("overview")["outbox"] == {"unsent": 0, "oldest_age_s": None}, "it was sent again")
    wait_until(lambda: mypage.call("overview")["parked"] == 2, "it is parked again")
    while found := mypage.parked():
        mypage.call("drop_parked", found[0]["message_id"])
    assert mypage.call("overview")["parked"] == 0


def test_many_at_once_all_take_effect(mypage: Running) -> None:
    """Writers wait for each other, and nobody is turned away."""
    orders = [new_id() for _ in range(12)]
    pool = eventlet.GreenPool()
    for order_id in orders:
        for event in folds.events_of(*folds.COMPLETED):
            pool.spawn(mypage.call, "on_events", [event.model_copy(update={"order_id": order_id})])
    pool.waitall()
    assert [mypage.call("get_order", str(order_id))["version"] for order_id in orders] == [6] * 12


def test_an_event_stored_in_an_older_version_is_read_in_the_newest(
    mypage: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = new_id()
    event = folds.events_of("fieldwork_rejected")[0].model_copy(update={"order_id": order_id})
    mypage.call("on_events", [event])
    assert _stored(mypage, order_id) == {"schema_version": 1, "note": event.note}

    def remark(payload: dict[str, Any]) -> dict[str, Any]:
        return {("remark" if key == "note" else key): value for key, value in payload.items()}

    change = versions.Change("fieldwork_rejected", 2, remark, lambda payload: payload, type(event))
    monkeypatch.setattr(versions, "CHANGES", (change,))
    with mypage.store.transaction() as tx:
        tx.conn.execute(sa.text("update events set schema_version = null where event_type = 'fieldwork_rejected'"))
        [known] = facts_of(tx.conn, [order_id])[order_id]
    assert known.payload["remark"] == event.note and "note" not in known.payload
    assert mypage.call("get_order", str(order_id))["rejection"]["reason_code"] == "no_duct"


def _stored(mypage: Running, order_id: UUID) -> dict[str, Any]:
    with mypage.store.engine.connect() as conn:
        row = conn.execute(sa.select(events).where(events.c.order_id == order_id)).one()
    return {"schema_version": row.schema_version, "note": row.payload["note"]}


def test_a_full_or_busy_database_is_passing_and_a_wrong_statement_is_not(mypage: Running) -> None:
    with pytest.raises(sa.exc.DBAPIError) as wrong, mypage.store.engine.connect() as conn:
        conn.execute(sa.text("select nothing from nowhere"))
    assert not is_passing(wrong.value)
    if dialect.is_sqlite(mypage.store.engine):
        # Another process writes.
        with dialect.single_engine(str(mypage.store.engine.url)).connect().execution_options(writes=True) as other:
            other.execute(sa.text("delete from inbox"))
            with pytest.raises(sa.exc.OperationalError) as busy, mypage.store.transaction():
                pass
            assert is_passing(busy.value)


def test_migrations_go_down_and_up_again_with_rows_in_them(databases: Databases, mypage: Running) -> None:
    """Old rows are still read after each step of the way, on either database."""
    on_sqlite = dialect.is_sqlite(mypage.store.engine)
    uri = databases.sqlite("mypage") if on_sqlite else databases.fresh("mypage")
    engine = dialect.single_engine(uri)
    order_id = new_id()
    history = [event.model_copy(update={"order_id": order_id}) for event in folds.events_of(*folds.COMPLETED[:3])]
    with running(MypageService, uri, mypage.amqp_uri) as container:
        call(container, "on_events", history)
        before = call(container, "get_order", str(order_id))
    command.downgrade(config("mypage", uri), "0001")
    command.upgrade(config("mypage", uri), "head")
    with engine.connect() as conn:
        assert len(facts_of(conn, [order_id])[order_id]) == 3
    with running(MypageService, uri, mypage.amqp_uri) as container:
        assert call(container, "get_order", str(order_id)) == before
        counts = {item["status"]: item["count"] for item in call(container, "count_orders")["items"]}
        assert counts["scheduled"] == 1
    databases.drop(uri)
