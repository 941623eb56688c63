"""The call queue, and the cancel that may come before, during or after the request it is about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import kombu
import pytest
from nameko.exceptions import RemoteError
from nameko.standalone.rpc import ServiceRpcProxy

from chassis import clock
from contracts.errors import Conflict, Invalid, NotFound
from contracts.events import decode
from scheduling_svc.domain import RequestVisit
from scheduling_svc.seed import seed
from scheduling_svc.service import SAGA
from tests.harness.scheduling import HEARD, TECHNICIANS, Scheduling, a_request, running, scheduling
from tools.waiting import wait_until

__all__ = ["running", "scheduling"]


def call_customer(scheduling: Scheduling, order_id: str, outcome: str, **more: Any) -> Any:
    return scheduling.call("record_call", order_id=order_id, by="dispatcher", outcome=outcome, **more)


def test_a_repeated_request_changes_nothing(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    scheduling.now += timedelta(hours=1)
    assert scheduling.call("request_visit", **a_request(order_id)) == {"outcome": "accepted"}
    (item,) = scheduling.call("list_visits")["items"]
    assert (item["requested_at"], item["why"], item["due"], item["calls"]) == ("2026-11-24T23:00:00Z", "new", True, 0)


def test_a_cancel_that_comes_first_leaves_a_tombstone(scheduling: Scheduling) -> None:
    order_id = str(clock.new_uuid7())
    scheduling.receive(scheduling.event("activation_cancel_requested", order_id))
    assert scheduling.call("request_visit", **a_request(order_id)) == {"outcome": "cancelled"}
    assert_only_a_tombstone(scheduling, order_id)


def test_a_request_that_waits_for_a_cancel_under_way_finds_the_tombstone(scheduling: Scheduling) -> None:
    order_id = str(clock.new_uuid7())
    with scheduling.store.transaction() as tx:
        SAGA.handle(tx, [scheduling.event("activation_cancel_requested", order_id)])
        request = scheduling.calling("request_visit", **a_request(order_id))
        scheduling.wait_until_blocked()
    assert request.wait() == {"outcome": "cancelled"}
    assert_only_a_tombstone(scheduling, order_id)


def test_a_cancel_that_waits_for_a_request_under_way_takes_the_visit_back(scheduling: Scheduling) -> None:
    cancel = scheduling.event("activation_cancel_requested", str(clock.new_uuid7()))
    wanted = a_request(str(cancel.order_id))
    with scheduling.store.transaction() as tx:
        SAGA.command(tx, RequestVisit(cancel.order_id, wanted["customer"], wanted["address"], wanted["items"]))
        handling = scheduling.calling("on_events", events=[cancel])
        scheduling.wait_until_blocked()
    assert handling.wait() is None
    assert scheduling.queue() == []
    assert [e["event_type"] for e in scheduling.emitted(str(cancel.order_id))] == ["visit_cancelled"]


def assert_only_a_tombstone(scheduling: Scheduling, order_id: str) -> None:
    assert scheduling.queue() == scheduling.queue(state="cancelled") == []
    visit = scheduling.call("get_visit", order_id=order_id)
    assert (visit["state"], visit["customer"]) == ("cancelled", None)
    assert [event["event_type"] for event in scheduling.emitted(order_id)] == ["visit_cancelled"]


def test_after_three_missed_calls_the_visit_is_flagged_for_an_operator(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    states = [call_customer(scheduling, order_id, "no_answer", note=f"#{n}")["state"] for n in (1, 2, 3)]
    assert states == ["requested", "requested", "flagged"]
    visit = scheduling.call("get_visit", order_id=order_id)
    assert (visit["flag_reason"], visit["missed_calls"]) == ("3 call(s) were missed", 3)
    assert [(a["by"], a["outcome"], a["note"]) for a in visit["attempts"]] == [
        ("dispatcher", "no_answer", f"#{n}") for n in (1, 2, 3)
    ]
    assert scheduling.queue(state="flagged") == [order_id]
    assert scheduling.appoint(order_id, 9)["flag_reason"] is None


def test_a_call_that_is_delivered_twice_counts_once(scheduling: Scheduling) -> None:
    order_id, call_id = scheduling.request(), str(clock.new_uuid7())
    answers = [call_customer(scheduling, order_id, "no_answer", call_id=call_id) for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(scheduling.call("get_visit", order_id=order_id)["attempts"]) == 1


def test_a_call_about_a_visit_that_is_agreed_or_unknown_is_refused(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    scheduling.appoint(order_id, 9)
    with pytest.raises(Conflict, match="already agreed"):
        call_customer(scheduling, order_id, "no_answer")
    with pytest.raises(NotFound):
        call_customer(scheduling, str(clock.new_uuid7()), "no_answer")
    assert scheduling.call("get_visit", order_id=order_id)["attempts"] == []


def test_the_queue_says_whom_to_call_first(scheduling: Scheduling) -> None:
    start = scheduling.now
    names = ("old", "promised_early", "promised_late", "missed", "refused", "new", "agreed")
    orders = {}
    for minute, name in enumerate(names):
        scheduling.now = start + timedelta(minutes=minute)
        orders[scheduling.request()] = name
    ids = {name: order_id for order_id, name in orders.items()}
    scheduling.now = start + timedelta(minutes=10)
    for name, hours in (("promised_late", 3), ("promised_early", 2)):
        at = (start + timedelta(hours=hours)).isoformat()
        call_customer(scheduling, ids[name], "call_back", call_back_at=at)
    call_customer(scheduling, ids["missed"], "no_answer")
    call_customer(scheduling, ids["refused"], "refused")
    call_customer(scheduling, ids["agreed"], "agreed")
    assert [orders[o] for o in scheduling.queue()] == [
        "old", "new", "agreed", "refused", "missed", "promised_early", "promised_late"
    ]
    scheduling.now = start + timedelta(hours=4)
    assert [orders[o] for o in scheduling.queue()] == [
        "promised_early", "promised_late", "missed", "old", "new", "agreed", "refused"
    ]
    reasons = {orders[item["order_id"]]: item["why"] for item in scheduling.call("list_visits")["items"]}
    assert (reasons["promised_early"], reasons["missed"], reasons["new"]) == ("call_back_promised", "no_answer", "new")


def test_pages_hold_each_visit_once_even_where_time_goes_on_between_them(scheduling: Scheduling) -> None:
    orders = [scheduling.request() for _ in range(7)]
    for order_id in orders[:3]:
        call_customer(scheduling, order_id, "no_answer")
    seen, cursor = [], None
    for _ in range(3):
        page = scheduling.call("list_visits", limit=3, cursor=cursor)
        seen += [item["order_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        scheduling.now += timedelta(minutes=20)
    assert cursor is None
    assert seen == orders[3:] + orders[:3]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"outcome": "maybe"}, "outcome"),
        ({"outcome": "call_back"}, "call_back_at"),
        ({"outcome": "call_back", "call_back_at": "2026-11-24T00:00:00Z"}, "call_back_at"),
        ({"note": "x" * 501}, "note"),
        ({"by": ""}, "by"),
        ({"order_id": "x"}, "order_id"),
    ],
)
def test_a_wrong_call_is_refused_by_field(scheduling: Scheduling, changes: dict[str, Any], field: str) -> None:
    good = {"order_id": scheduling.request(), "by": "dispatcher", "outcome": "no_answer"}
    with pytest.raises(Invalid) as refused:
        scheduling.call("record_call", **{**good, **changes})
    assert [error["field"] for error in refused.value.fields] == [field]


def test_a_request_and_its_cancel_travel_over_the_real_broker(scheduling: Scheduling) -> None:
    order_id, amqp_uri = str(clock.new_uuid7()), scheduling.container.config["AMQP_URI"]
    with ServiceRpcProxy("scheduling", {"AMQP_URI": amqp_uri}, timeout=60) as rpc:
        assert rpc.request_visit(**a_request(order_id)) == {"outcome": "accepted"}
        with pytest.raises(RemoteError) as refused:
            rpc.request_visit(**a_request(order_id, postcode="0623"))
    assert refused.value.exc_type == "Invalid"
    assert "address.postcode" in str(refused.value)
    cancel = scheduling.event("activation_cancel_requested", order_id)
    with kombu.Connection(amqp_uri) as connection, connection.Producer() as producer:
        producer.publish(
            cancel.encode(), exchange=scheduling.store.exchange, routing_key=cancel.event_type,
            content_type="application/json", content_encoding="utf-8",
        )
        wait_until(
            lambda: scheduling.call("get_visit", order_id=order_id)["state"] == "cancelled",
            lambda: f"the cancel to take effect; {scheduling.call('get_visit', order_id=order_id)}",
        )
        assert heard_about(connection, order_id) == ["activation_cancel_requested", "visit_cancelled"]


def heard_about(connection: kombu.Connection, order_id: str) -> list[str]:
    """The types of the first two events that the whole system hears about this order."""
    heard: list[str] = []
    with connection.SimpleQueue(HEARD) as queue:
        while len(heard) < 2:
            event = decode(queue.get(timeout=60).body)
            if str(event.order_id) == order_id:
                heard.append(event.event_type)
    return heard


def test_seeding_again_changes_nothing_and_a_changed_file_is_taken_over(scheduling: Scheduling) -> None:
    before = scheduling.call("list_technicians")
    with scheduling.store.engine.begin() as conn:
        assert seed(conn, TECHNICIANS) == 3
    assert scheduling.call("list_technicians") == before
    with scheduling.store.engine.begin() as conn:
        seed(conn, [TECHNICIANS[0] | {"areas": ["07"]}])
    changed = {t["id"]: t["areas"] for t in scheduling.call("list_technicians")["items"]}
    assert changed == {"tech-far": ["*"], "tech-internet": ["*"], "tech-near": ["07"]}
