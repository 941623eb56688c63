"""Promises of MyPage on real databases, PostgreSQL and SQLite, and a real broker: pages from events in any order, and
from nothing again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from kombu import Connection, Exchange, Queue

from chassis import clock
from chassis.db import store_of
from chassis.dialect import is_sqlite
from chassis.hints import Hints
from contracts import changes
from contracts.errors import Invalid, NotFound
from contracts.events import EVENTS, Event
from contracts.ids import new_id
from contracts.rpc import AtRisk, OrderPage
from fieldwork_svc.service import FieldworkService
from mypage_svc import service as mypage_service
from mypage_svc.models import Base
from mypage_svc.service import MypageService
from tests.harness.containers import Wiretap, call, engine, fresh_vhost, running, wiretap
from tests.harness.databases import Databases
from tools.nodes import Nodes
from tools.waiting import wait_until

START = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
ADDRESS = {"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1"}
ITEMS = [{"product": "internet-500", "quantity": 1}]
RESULTS = {"ont_serial": "HFRN1234ABCD", "rx_power_dbm": -19.5, "down_mbps": 487.0}


def an_event(event_type: str, order_id: UUID, minute: int = 0, **payload: Any) -> Event:
    envelope = {"event_id": new_id(), "occurred_at": START + timedelta(minutes=minute), "order_id": order_id}
    return EVENTS[event_type](**envelope, **payload)


def placed(order_id: UUID, phone: str = "010-1234-5678") -> Event:
    return an_event(
        "order_placed", order_id, customer={"name": "김하늘", "phone": phone}, address=ADDRESS, items=ITEMS
    )


def scheduled(order_id: UUID, revision: int = 1) -> Event:
    return an_event(
        "visit_scheduled", order_id, 1 + revision, revision=revision,
        window_start=START + timedelta(days=revision), window_end=START + timedelta(days=revision, hours=2),
        technician_id="tech-1", technician_name="박기사",
        customer={"name": "김하늘", "phone": "010-1234-5678"}, address=ADDRESS, items=ITEMS,
    )


def a_completed_history(order_id: UUID) -> list[Event]:
    return [
        placed(order_id),
        an_event("activation_completed", order_id, 1),
        scheduled(order_id, 1),
        scheduled(order_id, 2),
        an_event("fieldwork_completed", order_id, 10, technician_id="tech-1", results=RESULTS, note=""),
        an_event("order_completed", order_id, 11),
    ]


class Mypage:
    """The running service with its database and a way to send it events."""

    def __init__(self, container: Any, tap: Wiretap, db: sa.Engine, amqp_uri: str) -> None:
        self.container, self.tap, self.db, self.amqp_uri = container, tap, db, amqp_uri

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return call(self.container, method, *args, **kwargs)

    def handle(self, events: Sequence[Event]) -> None:
        self.call("on_events", list(events))

    def wait_for_version(self, order_id: UUID, version: int) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            page = self.call("get_order", str(order_id))
            return page if page["version"] >= version else None

        return wait_until(reached, f"version {version} of {order_id}", answered=(NotFound,))

    def content(self) -> dict[str, list[Any]]:
        """Everything in pages and events but when it arrived here, for comparing."""
        with self.db.connect() as conn:
            return {
                name: [
                    {column: value for column, value in row.items() if column != "received_at"}
                    for row in conn.execute(sa.text(f"select * from {name} order by 1")).mappings()
                ]
                for name in ("pages", "events")
            }

    def truncate(self, *tables: str) -> None:
        with self.db.begin() as conn:
            for table in tables:
                conn.execute(sa.text(f"delete from {table}"))


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def one_mypage(databases: Databases, nodes: Nodes, request: pytest.FixtureRequest) -> Iterator[Mypage]:
    uri = databases.fresh("mypage") if request.param == "postgresql" else databases.sqlite("mypage")
    with (
        fresh_vhost(nodes) as amqp_uri,
        wiretap(amqp_uri) as tap,
        engine(uri) as db,
        running(MypageService, uri, amqp_uri) as container,
    ):
        yield Mypage(container, tap, db, amqp_uri)
    databases.drop(uri)


@pytest.fixture
def mypage(one_mypage: Mypage) -> Mypage:
    """One service for all tests here, with nothing in it."""
    one_mypage.truncate("pages", "events", "inbox")
    return one_mypage


def test_migrated_tables_are_those_of_the_models(mypage: Mypage) -> None:
    inspector = sa.inspect(mypage.db)
    for name, model in Base.metadata.tables.items():
        columns = {column["name"]: column["nullable"] for column in inspector.get_columns(name)}
        assert columns == {column.name: bool(column.nullable) for column in model.columns}, name
        indexes = {index.name for index in model.indexes}
        if is_sqlite(mypage.db):
            indexes -= {"pages_by_end"}
        assert {index["name"] for index in inspector.get_indexes(name)} == indexes


def test_events_over_the_broker_in_any_order_and_twice_make_the_same_page(mypage: Mypage) -> None:
    orders = [new_id() for _ in range(5)]
    histories = [a_completed_history(order_id) for order_id in orders]
    stream = [event for history in histories for event in [*history, *history[:3]]]
    random.Random(7).shuffle(stream)
    mypage.tap.send(stream)
    for order_id in orders:
        page = mypage.wait_for_version(order_id, 6)
        assert (page["status"], page["version"], page["visit"]["revision"]) == ("completed", 6, 2)
        assert [entry["event"] for entry in page["timeline"]][-1] == "order_completed"
        assert OrderPage.model_validate_json(OrderPage(**page).model_dump_json()).results is not None


def test_page_grows_in_batches_and_knows_a_missing_order_later(mypage: Mypage) -> None:
    order_id = new_id()
    history = a_completed_history(order_id)
    mypage.handle([history[2]])
    partial = mypage.call("get_order", str(order_id))
    assert (partial["status"], partial["customer"], partial["version"]) == ("scheduled", None, 1)
    mypage.handle([history[0], history[2]])
    page = mypage.call("get_order", str(order_id))
    assert (page["status"], page["customer"]["name"], page["version"]) == ("scheduled", "김하늘", 2)
    assert page["placed_at"] == "2026-11-25T01:00:00Z"


def test_list_is_newest_first_in_pages_by_status_and_phone(mypage: Mypage) -> None:
    orders = [new_id() for _ in range(7)]
    mypage.handle([placed(order_id, "010-9999-000" + str(n % 2)) for n, order_id in enumerate(orders)])
    mypage.handle([scheduled(order_id) for order_id in orders[:3]])
    newest_first = [str(order_id) for order_id in reversed(orders)]
    seen: list[str] = []
    cursor = None
    while True:
        page = mypage.call("list_orders", limit=3, cursor=cursor)
        seen += [item["order_id"] for item in page["items"]]
        assert all(item["timeline"] == [] for item in page["items"])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == newest_first
    by_status = mypage.call("list_orders", status="scheduled")["items"]
    assert [item["order_id"] for item in by_status] == newest_first[4:]
    by_phone = mypage.call("list_orders", phone="01099990001")["items"]
    assert [item["order_id"] for item in by_phone] == [str(orders[n]) for n in (5, 3, 1)]


def test_list_and_get_name_what_is_wrong(mypage: Mypage) -> None:
    wrong = [("status", "happy"), ("phone", "x"), ("limit", 0), ("limit", 201), ("cursor", "x"), ("cursor", "WyJhIl0"),
             ("ont_serial", "x"), ("order_end", "xyz")]
    for field, value in wrong:
        with pytest.raises(Invalid) as caught:
            mypage.call("list_orders", **{field: value})
        assert caught.value.fields[0]["field"] == field, (field, value)
    for nothing in (str(new_id()), "no-uuid", 7):
        with pytest.raises(NotFound):
            mypage.call("get_order", nothing)


def test_orders_are_found_by_serial_and_by_the_end_of_their_number(mypage: Mypage) -> None:
    orders = [new_id() for _ in range(3)]
    mypage.handle([placed(order_id) for order_id in orders])
    mypage.handle(a_completed_history(orders[1]))

    def found(**wanted: str) -> list[str]:
        return [item["order_id"] for item in mypage.call("list_orders", **wanted)["items"]]

    assert found(ont_serial="hfrn1234abcd") == [str(orders[1])]
    assert found(ont_serial="HFRN00000000") == []
    for end in (str(orders[2])[-6:], str(orders[2])[-17:], str(orders[2])):
        assert found(order_end=end.upper()) == [str(orders[2])]
    assert found(order_end=str(orders[2])[-6:], status="completed") == []


def test_counts_and_risks_follow_the_orders_under_way(mypage: Mypage, monkeypatch: pytest.MonkeyPatch) -> None:
    placed_only, failed, late, closed = (new_id() for _ in range(4))
    mypage.handle([
        placed(placed_only), placed(failed), placed(late), scheduled(late), *a_completed_history(closed),
        an_event("activation_failed", failed, 5, reason="no port", attempts=3),
    ])
    window_end = START + timedelta(days=1, hours=2)
    monkeypatch.setattr(clock, "utc_now", lambda: START + timedelta(minutes=9))
    assert [(item["order_id"], item["risk"]) for item in mypage.call("list_at_risk")["items"]] == [
        (str(failed), "fallout")
    ]
    monkeypatch.setattr(clock, "utc_now", lambda: window_end + timedelta(hours=4))
    first = mypage.call("list_at_risk", limit=2)
    rest = mypage.call("list_at_risk", limit=2, cursor=first["next_cursor"])
    assert [(item["order_id"], item["risk"]) for item in first["items"] + rest["items"]] == [
        (str(placed_only), "not_activated"), (str(failed), "fallout"), (str(late), "no_result")
    ]
    assert rest["items"][0]["since"] == "2026-11-26T03:00:00Z" and rest["next_cursor"] is None
    assert [AtRisk(**item).risk for item in first["items"]] == ["not_activated", "fallout"]

    counts = {item["status"]: item for item in mypage.call("count_orders")["items"]}
    assert list(counts) == ["placed", "fallout", "activated", "scheduled", "cancelling", "rejecting"]
    assert {status: item["count"] for status, item in counts.items() if item["count"]} == {
        "placed": 1, "fallout": 1, "scheduled": 1
    }
    assert [counts["placed"][name] for name in ("over_1h", "over_1d", "over_3d")] == [1, 1, 0]
    assert (counts["placed"]["oldest_at"], counts["placed"]["oldest_order_id"]) == (
        "2026-11-25T01:00:00Z", str(placed_only)
    )
    assert counts["activated"]["oldest_at"] is None


def test_an_operator_sees_which_messages_mypage_has_taken_in(mypage: Mypage) -> None:
    order_id = new_id()
    history = a_completed_history(order_id)
    mypage.handle(history[:2])
    known = mypage.call("order_messages", str(order_id), [event.message_id for event in history])
    assert {item["message_id"] for item in known["handled"]} == {event.message_id for event in history[:2]}
    assert all(item["at"] for item in known["handled"])
    assert (known["service"], known["sent"], known["parked"]) == ("mypage", [], [])


def test_rebuild_makes_the_same_pages_from_the_kept_events(mypage: Mypage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mypage_service, "REBUILD_CHUNK", 4)
    orders = [new_id() for _ in range(10)]
    mypage.handle([event for order_id in orders for event in a_completed_history(order_id)])
    before = mypage.content()
    mypage.truncate("pages")
    assert mypage.call("rebuild") == {"orders": 10}
    assert mypage.content() == before
    assert mypage.call("rebuild") == {"orders": 10}
    assert mypage.content() == before


def test_dropped_read_model_comes_back_from_the_other_services_outboxes(
    mypage: Mypage, database: Callable[[str], str]
) -> None:
    order_id = new_id()
    with running(FieldworkService, database("fieldwork"), mypage.amqp_uri) as fieldwork:
        with store_of(fieldwork).transaction() as tx:
            tx.emit(a_completed_history(order_id)[:4])
        mypage.wait_for_version(order_id, 4)
        wait_until(
            lambda: call(fieldwork, "get_job", str(order_id))["revision"] == 2, "the job", answered=(NotFound,)
        )
        call(fieldwork, "complete_job", str(order_id), "tech-1", RESULTS)
        assert mypage.wait_for_version(order_id, 5)["status"] == "completed"
        before = mypage.content()

        mypage.truncate("pages", "events", "inbox")
        with pytest.raises(NotFound):
            mypage.call("get_order", str(order_id))
        call(fieldwork, "republish_events")
        mypage.wait_for_version(order_id, 5)
        assert mypage.content() == before
        assert call(fieldwork, "get_job", str(order_id))["state"] == "completed"


def test_change_is_hinted_after_the_commit(mypage: Mypage) -> None:
    feed = next(extension for extension in mypage.container.dependencies if isinstance(extension, Hints))
    wait_until(lambda: feed.connected, "the change feed is connected")
    order_id = new_id()
    with Connection(mypage.amqp_uri) as connection:
        exchange = Exchange(changes.EXCHANGE, "fanout", durable=True)
        queue = Queue("", exchange, exclusive=True, auto_delete=True)(connection.channel())
        queue.declare()
        mypage.handle([placed(order_id)])
        wanted = changes.Change("orders", str(order_id), 1)
        # One of an earlier test may come late.
        wait_until(lambda: (hint := queue.get(no_ack=True)) and wanted in changes.decode_all(hint.body), "the hint")
