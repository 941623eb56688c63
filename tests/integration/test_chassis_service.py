"""What every service offers its operators, on a real database and broker: order_svc stands for all."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from kombu import Connection

from chassis.service import Invalid, NotFound
from chassis.web_server import WebServer
from contracts.events import ActivationReverted
from order_svc.service import OrderService
from tests.harness.containers import call, fresh_vhost, running, wiretap
from tests.harness.databases import Databases
from tests.harness.orders import place_order
from tools.nodes import Nodes
from tools.waiting import wait_until


@pytest.fixture(scope="module")
def broker(nodes: Nodes) -> Iterator[str]:
    with fresh_vhost(nodes) as uri:
        yield uri


@pytest.fixture(scope="module")
def service(databases: Databases, broker: str) -> Iterator[Any]:
    uri = databases.fresh("order")
    with running(OrderService, uri, broker) as container:
        yield container
    databases.drop(uri)


def page(container: Any, path: str) -> str:
    port = container.shared_extensions[WebServer].port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
        return str(response.read().decode())


def send_unreadable(broker: str, body: bytes = b"not JSON") -> str:
    message_id = str(uuid4())
    with Connection(broker) as connection, connection.Producer() as producer:
        producer.publish(body, routing_key="order.events", message_id=message_id, content_type="text/plain")
    return message_id


def test_ready_service_says_so_and_shows_its_queues(service: Any) -> None:
    ready = json.loads(page(service, "/readyz"))
    assert ready["status"] == "ok"
    assert {"database", "rpc", "events", "relay", "container"} <= set(ready["checks"])
    assert set(json.loads(page(service, "/livez"))["checks"].values()) == {"ok"}
    overview = call(service, "overview")
    assert (overview["service"], overview["parked"]) == ("order", 0)
    assert overview["outbox"] == {"unsent": 0, "oldest_age_s": None}
    assert overview["queues"]["order.events"] == {"messages": 0, "consumers": 1}
    assert overview["queues"]["rpc-order"]["consumers"] == 1
    assert json.dumps(overview), "must cross RPC"


def test_parked_message_is_listed_counted_and_dropped(service: Any, broker: str) -> None:
    message_ids = {send_unreadable(broker) for _ in range(3)}
    wait_until(lambda: call(service, "overview")["parked"] == 3, lambda: "three messages are parked")
    first = call(service, "list_parked", limit=2)
    rest = call(service, "list_parked", limit=2, cursor=first["next_cursor"])
    items = first["items"] + rest["items"]
    assert rest["next_cursor"] is None
    assert {item["message_id"] for item in items} == message_ids
    assert {item["body"] for item in items} == {"not JSON"}
    assert 'oss_parked_now{service="order"} 3.0' in page(service, "/metrics")
    for message_id in message_ids:
        assert call(service, "drop_parked", message_id)["result"] == "dropped"
    assert call(service, "list_parked") == {"items": [], "next_cursor": None}


def test_replayed_message_comes_back_through_its_queue(service: Any, broker: str) -> None:
    message_id = send_unreadable(broker)
    wait_until(lambda: call(service, "overview")["parked"] == 1, lambda: "the message is parked")
    before = call(service, "list_parked")["items"][0]["parked_at"]
    assert call(service, "replay_parked", message_id)["result"] == "replayed"

    def parked_again() -> bool:
        items = call(service, "list_parked")["items"]
        return bool(items) and items[0]["parked_at"] != before

    wait_until(parked_again, lambda: "the message, unreadable as ever, is parked a second time")
    call(service, "drop_parked", message_id)


@pytest.mark.parametrize("operation", ["replay_parked", "drop_parked"])
@pytest.mark.parametrize("message_id", [str(uuid4()), "no id", "", "\x00"])
def test_unknown_message_is_not_found(service: Any, operation: str, message_id: str) -> None:
    with pytest.raises(NotFound, match="order has no parked message"):
        call(service, operation, message_id)


def test_wrong_arguments_are_named(service: Any) -> None:
    for operation, arguments, field in [
        ("list_parked", {"limit": 0}, "limit"),
        ("list_parked", {"cursor": "not ours"}, "cursor"),
        ("republish_events", {"order_id": "not a UUID"}, "order_id"),
        ("order_messages", {"order_id": "not a UUID"}, "order_id"),
        ("order_messages", {"order_id": str(uuid4()), "message_ids": [7]}, "message_ids"),
        ("order_messages", {"order_id": str(uuid4()), "message_ids": "x"}, "message_ids"),
        ("order_messages", {"order_id": str(uuid4()), "message_ids": [str(uuid4())] * 1001}, "message_ids"),
    ]:
        with pytest.raises(Invalid) as refused:
            call(service, operation, **arguments)
        assert refused.value.fields[0]["field"] == field
    assert call(service, "republish_events", order_id=str(uuid4())) == {"events": 0, "of_days": 90, "goes_on": False}


def test_the_messages_of_one_order_are_told_apart_from_all_others(service: Any, broker: str) -> None:
    one, other = place_order(), place_order()
    call(service, "place_orders", [one, other])
    order_id = str(one["order_id"])
    sent = call(service, "order_messages", order_id)["sent"]
    assert [(item["event_type"], item["causation_id"]) for item in sent] == [("order_placed", None)]
    with wiretap(broker):
        wait_until(
            lambda: call(service, "order_messages", order_id)["sent"][0]["sent_at"], "the broker has confirmed it"
        )

    call(service, "cancel_order", order_id)
    answer = ActivationReverted(
        event_id=uuid4(), occurred_at=datetime.now(UTC), order_id=UUID(order_id), outcome="cancelled",
        causation_id=UUID(call(service, "order_messages", order_id)["sent"][1]["message_id"]),
    )
    call(service, "on_events", [answer])
    known = call(service, "order_messages", order_id, [answer.message_id, str(uuid4())])
    assert [item["event_type"] for item in known["sent"]] == [
        "order_placed", "order_cancel_requested", "order_cancelled"
    ]
    assert known["sent"][2]["causation_id"] == answer.message_id
    assert [item["message_id"] for item in known["handled"]] == [answer.message_id]
    assert json.dumps(known), "must cross RPC"

    # An event of this order that the table does not expect is parked after its retries, and told without its body.
    send_unreadable(broker, json.dumps({"event_type": "no_such_event", "order_id": order_id}).encode())
    parked = wait_until(lambda: call(service, "order_messages", order_id)["parked"], "the message is parked")
    assert len(parked) == 1 and "no_such_event" in parked[0]["error"] and "body" not in parked[0]
    assert call(service, "order_messages", str(other["order_id"]))["parked"] == []
    call(service, "drop_parked", parked[0]["message_id"])
