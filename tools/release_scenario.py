"""What `tools.record_corpus` puts the system through, so that it sends every event and answers every RPC method."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from kombu import Connection
from nameko.exceptions import RemoteError
from nameko.standalone.rpc import ClusterRpcProxy

from contracts.ids import new_id
from element_sim.client import SimClient
from tools.client import Client, an_order, internet, tv
from tools.system import System
from tools.waiting import wait_until

SERVICES = ("order", "activation", "scheduling", "fieldwork", "mypage")
# The smallest PNG: one pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
Call = Callable[..., Any]


@contextmanager
def caller(amqp_uri: str) -> Iterator[Call]:
    """`call("mypage.get_order", order_id=...)`, over Nameko's own client; a domain error is raised as RemoteError."""
    with ClusterRpcProxy({"AMQP_URI": amqp_uri}, timeout=30) as cluster:

        def call(method: str, **arguments: Any) -> Any:
            service, name = method.split(".")
            return getattr(getattr(cluster, service), name)(**arguments)

        yield call


def play(system: System) -> None:
    """Everything, on a system whose elements the simulator plays."""
    client = Client(system.url, staff_password=system.env["STAFF_PASSWORD"])
    with caller(system.amqp_uri) as call, SimClient(system.element_port) as sim:
        completed = _completed(client, call)
        _rejected(client)
        _cancelled(client)
        _fallouts(client, call, sim)
        _repaired(call, sim)
        _read(call, completed)
        _refused(call, completed)
        _parked(call, system.amqp_uri)
        _operated(call, completed)


def _completed(client: Client, call: Call) -> str:
    order = an_order(phone="010-1111-0001")
    order_id = str(client.place(order)["order_id"])
    client.wait_for_status(order_id, "activated")
    # As activation does where several orders wait; here it asks for what it has already.
    call("scheduling.request_visits", requests=[{"order_id": order_id, **order}])
    call("scheduling.claim_next", by="dispatcher")
    call("scheduling.release_visit", order_id=order_id, by="dispatcher")
    call("scheduling.claim_visit", order_id=order_id, by="dispatcher")
    client.schedule(order_id)
    client.appoint(order_id, window=2)
    client.wait_for_page(order_id, lambda page: page["visit"]["revision"] > 1, "the visit has moved")
    technician = f"tech-{client.technician_of(order_id)}"
    client.complete(order_id)
    photo = {"photo_id": str(new_id()), "media_type": "image/png", "content_b64": base64.b64encode(PNG).decode()}
    call("fieldwork.add_photo", order_id=order_id, technician_id=technician, **photo)
    call("fieldwork.get_photo", order_id=order_id, photo_id=photo["photo_id"], technician_id=technician)
    client.wait_for_events(order_id, "order_completed")
    return order_id


def _rejected(client: Client) -> None:
    order_id = str(client.place(an_order(phone="010-1111-0002", items=[internet()]))["order_id"])
    client.schedule(order_id)
    client.reject(order_id, reason_code="no_duct")
    client.wait_for_events(order_id, "order_rejected")


def _cancelled(client: Client) -> None:
    items = [internet("internet-1000"), tv("tv-premium", 2)]
    order_id = str(client.place(an_order(phone="010-1111-0003", items=items))["order_id"])
    client.schedule(order_id)
    client.wait_for_status(order_id, "scheduled")
    client.cancel(order_id)
    client.wait_for_events(order_id, "order_cancelled")


def _fallouts(client: Client, call: Call, sim: SimClient) -> None:
    sim.refuse("*", words="hardware fault")
    retried, abandoned = (
        str(client.place(an_order(phone=f"010-1111-000{n}", items=[internet()]))["order_id"]) for n in (4, 5)
    )
    for order_id in (retried, abandoned):
        client.wait_for_status(order_id, "fallout")
    call("activation.list_fallouts")
    call("mypage.list_at_risk")
    sim.heal()
    call("activation.retry_fallout", order_id=retried, by="operator", another_port=True)
    call("activation.abandon_fallout", order_id=abandoned, by="operator", reason="no fibre in this street")
    client.wait_for_status(retried, "activated")
    client.wait_for_events(abandoned, "order_cancelled")
    blocked = call("activation.inventory")["blocked"]
    for port in blocked:
        call("activation.unblock_port", element=port["element"], port=port["port"], by="operator")
    client.cancel(retried)
    client.wait_for_events(retried, "order_cancelled")


def _repaired(call: Call, sim: SimClient) -> None:
    """Take away what an element should hold, and let an audit find and mend it."""
    element, key = next((name, key) for name, entries in sim.entries().items() for key in entries)
    sim.delete(element, key)
    found = wait_until(
        lambda: call("activation.audit")["elements"][element]["missing"], "the audit misses what was taken away"
    )
    call("activation.repair", findings=found, by="operator")


def _read(call: Call, order_id: str) -> None:
    today = datetime.now(UTC).date()
    for service in ("order", "mypage"):
        call(f"{service}.get_order", order_id=order_id)
    call("activation.get_activation", order_id=order_id)
    call("scheduling.get_visit", order_id=order_id)
    call("scheduling.list_visits", limit=2)
    call("scheduling.list_technicians")
    call("scheduling.day_board", date=str(today + timedelta(days=1)))
    call("fieldwork.get_job", order_id=order_id)
    call("fieldwork.list_jobs", limit=2)
    call("fieldwork.list_photos", order_id=order_id)
    call("mypage.list_orders", phone="010-1111-0001", limit=1)
    call("mypage.count_orders")


def _refused(call: Call, order_id: str) -> None:
    """Domain errors, each by its own name."""
    unknown = str(new_id())
    for method, arguments in (
        ("order.get_order", {"order_id": unknown}),
        ("order.cancel_order", {"order_id": order_id}),
        ("activation.retry_fallout", {"order_id": order_id, "by": "operator"}),
        ("scheduling.record_call", {"order_id": order_id, "by": "dispatcher", "outcome": "shouted"}),
        ("fieldwork.start_job", {"order_id": order_id, "technician_id": "tech-nobody"}),
        ("fieldwork.get_job", {"order_id": unknown}),
        ("mypage.get_order", {"order_id": unknown}),
        ("mypage.list_orders", {"status": "lost"}),
    ):
        with suppress(RemoteError):
            call(method, **arguments)
            raise RuntimeError(f"{method} did not refuse {arguments}")


def _parked(call: Call, amqp_uri: str) -> None:
    """Two messages that nobody can read, at each service; one is sent again, one dropped."""
    for service in SERVICES:
        for number in (1, 2):
            body = json.dumps({"event_type": "order_placed", "schema_version": 99, "number": number})
            with Connection(amqp_uri) as connection, connection.Producer() as producer:
                producer.publish(body, routing_key=f"{service}.events", content_type="application/json")

        def parked(of: str = service) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = call(f"{of}.list_parked", limit=10)["items"]
            return found if len(found) == 2 else []

        first, second = wait_until(parked, f"{service} has parked two messages")
        call(f"{service}.replay_parked", message_id=first["message_id"])
        call(f"{service}.drop_parked", message_id=second["message_id"])


def _operated(call: Call, order_id: str) -> None:
    sent: list[str] = []
    for service in SERVICES:
        call(f"{service}.overview")
        answer = call(f"{service}.order_messages", order_id=order_id, message_ids=sent[:3])
        sent += [message["message_id"] for message in answer["sent"]]
        call(f"{service}.republish_events", order_id=order_id)
    call("mypage.rebuild")
