"""The gateway in front of the running system: streams, ownership, sign-in, operators' views."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import requests
from eventlet import Timeout

from contracts.ids import new_id
from tests.harness.client import RESULTS, Client, an_order
from tools.system import System
from tools.waiting import wait_until

DEADLINE_S = 60


@contextmanager
def stream(system: System, client: Client, order_id: str, last_event_id: str | None = None) -> Iterator[Iterator[Any]]:
    """The order's events as they come, each as (id, page); `None` is a keep-alive comment."""
    headers = {"Authorization": f"Bearer {client.token(order_id)}"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    url = f"{system.url}/api/orders/{order_id}/stream"
    with requests.get(url, headers=headers, stream=True, timeout=DEADLINE_S) as response, Timeout(DEADLINE_S):
        assert response.headers["Content-Type"].startswith("text/event-stream")
        yield events(response)


def events(response: requests.Response) -> Iterator[tuple[str, dict[str, Any]] | None]:
    fields: dict[str, str] = {}
    for raw in response.iter_lines(chunk_size=1):
        name, _, value = raw.decode().partition(": ")
        if raw and name:
            fields[name] = value
        elif raw:
            yield None
        elif "data" in fields:
            yield fields["id"], json.loads(fields["data"])
            fields = {}


def until(arriving: Iterator[Any], status: str) -> list[tuple[str, dict[str, Any]]]:
    """The events up to the first one with this status."""
    seen: list[tuple[str, dict[str, Any]]] = []
    for event in arriving:
        if event is not None:
            seen.append(event)
            if event[1]["status"] == status:
                return seen
    raise AssertionError(f"the stream ended before {status}: {seen}")


def test_a_stream_shows_the_present_and_then_each_change(system: System, client: Client) -> None:
    order_id = client.place()["order_id"]
    with stream(system, client, order_id) as arriving:
        seen = until(arriving, "activated")
    versions = [int(event_id) for event_id, _ in seen]
    assert versions == sorted(set(versions)) or seen[0][1]["version"] == 0
    assert seen[-1][1] == client.order(order_id)

    with stream(system, client, order_id, last_event_id=seen[-1][0]) as arriving:
        assert next(arriving) is None, "nothing new: no event, only a sign of life"
        assert client.cancel(order_id).status_code == 202
        later = until(arriving, "cancelled")
    assert all(int(event_id) > versions[-1] for event_id, _ in later)

    with stream(system, client, order_id, last_event_id="0") as arriving:
        (present,) = until(arriving, "cancelled")
        assert int(present[0]) >= int(later[-1][0]), "the present state only, not the past"


def test_streams_that_clients_left_are_gone(system: System, client: Client) -> None:
    order_id = client.place()["order_id"]
    for _ in range(5):
        with stream(system, client, order_id) as arriving:
            next(arriving)

    def none_is_open() -> bool:
        return "gateway_streams_open 0.0" in requests.get(f"{system.url}/metrics", timeout=10).text

    wait_until(none_is_open, "the gateway has noticed that the clients have left")


def test_one_caller_cannot_take_all_streams(system: System, client: Client) -> None:
    greedy, other = client.place()["order_id"], client.place()["order_id"]
    most = int(system.env.get("SSE_MAX_STREAMS_OF_ONE", 20))
    with ExitStack() as stack:
        for _ in range(most):
            next(stack.enter_context(stream(system, client, greedy)))
        refused = client.request("GET", f"/api/orders/{greedy}/stream", as_=greedy)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
        assert f"{most} streams" in refused.json()["detail"]
        with stream(system, client, other) as arriving:
            next(arriving)

    def accepted() -> bool:
        headers = {"Authorization": f"Bearer {client.token(greedy)}"}
        url = f"{system.url}/api/orders/{greedy}/stream"
        with requests.get(url, headers=headers, stream=True, timeout=DEADLINE_S) as response:
            return response.status_code == 200

    wait_until(accepted, "places that were given back can be taken again")


def test_a_subscriber_sees_and_touches_one_order_only(client: Client) -> None:
    mine, other = client.place()["order_id"], client.place()["order_id"]
    client.wait_for_status(mine, ("placed", "activated"))

    assert [item["order_id"] for item in client.call("GET", "/api/orders", as_=mine)["items"]] == [mine]
    assert client.request("GET", f"/api/orders/{other}", as_=mine).status_code == 403
    assert client.request("GET", f"/api/orders/{other}/stream", as_=mine).status_code == 403
    assert client.request("POST", f"/api/orders/{other}/cancel", as_=mine).status_code == 403
    assert client.request("GET", f"/api/orders/{mine}").status_code == 401
    assert client.request("GET", "/api/visits", as_=mine).status_code == 403
    assert client.request("GET", f"/api/orders/{new_id()}", as_="operator").status_code == 404


def test_a_technician_does_their_own_jobs_only_and_an_operator_may_stand_in(client: Client) -> None:
    order_id = client.place()["order_id"]
    client.schedule(order_id)
    owner = client.technician_of(order_id)
    another = "lee" if owner != "lee" else "kim"
    day = client.order(order_id)["visit"]["window_start"][:10]

    def refused() -> bool:
        status = client.request("POST", f"/api/jobs/{order_id}/start", as_=another).status_code
        assert status in (403, 404), "404 until fieldwork has heard of the job"
        return status == 403

    wait_until(refused, "fieldwork refuses another technician")
    jobs = client.call("GET", f"/api/jobs?date={day}&limit=200", as_=another)["items"]
    assert order_id not in [job["order_id"] for job in jobs]
    assert client.call("POST", f"/api/jobs/{order_id}/start", as_="operator")["state"] == "started"
    client.complete(order_id, by=owner)
    # The page shows it before the order service has heard of it.
    done = client.wait_for_events(order_id, "order_completed")
    assert done["results"]["ont_serial"]
    assert client.cancel(order_id).status_code == 409


def test_repeated_failures_to_sign_in_lock_the_caller_out(client: Client) -> None:
    wrong = {"username": f"nobody-{uuid4().hex[:8]}", "password": "wrong"}
    statuses = [client.request("POST", "/api/sessions", json=wrong).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    locked = client.request("POST", "/api/sessions", json=wrong)
    assert int(locked.headers["Retry-After"]) > 0
    assert client.login("operator"), "others still get in"


def test_what_staff_do_is_written_down(system: System, client: Client) -> None:
    order_id = client.place()["order_id"]
    client.wait_for_status(order_id, ("placed", "activated"))
    assert client.cancel(order_id, as_="operator").status_code == 202

    rows = system.db("gateway", "select username, role, action, status from audit_log where order_id = :o", o=order_id)
    assert rows == [{"username": "operator", "role": "operator", "action": "cancel_order", "status": 202}]


def test_the_overview_shows_every_service_and_names_the_one_that_is_away(system: System, client: Client) -> None:
    client.place()

    def statuses() -> dict[str, str]:
        services = client.call("GET", "/api/ops/overview", as_="operator")["services"]
        return {name: found["status"] for name, found in services.items()}

    names = ["order", "activation", "scheduling", "fieldwork", "mypage"]
    wait_until(lambda: statuses() == dict.fromkeys(names, "ok"), lambda: f"every service answers: {statuses()}")
    overview = client.call("GET", "/api/ops/overview", as_="operator")
    assert set(overview["breakers"]) == set(overview["services"])
    assert {found["status"] for found in overview["oldest_open"]} <= {
        "placed", "fallout", "activated", "scheduled", "cancelling", "rejecting"
    }
    with system.stopped("scheduling"):
        away = client.call("GET", "/api/ops/overview", as_="operator")["services"]
        assert away["scheduling"]["status"] == "unreachable" and away["order"]["status"] == "ok"
        parked = client.call("GET", "/api/ops/parked", as_="operator")
        assert parked["unreachable"] == ["scheduling"]
        queue = client.request("GET", "/api/visits", as_="dispatcher")
        assert queue.status_code == 503 and int(queue.headers["Retry-After"]) >= 1


def test_what_an_order_causes_belongs_to_the_trace_of_its_request(system: System, client: Client) -> None:
    trace_id = uuid4().hex
    headers = {"traceparent": f"00-{trace_id}-{trace_id[:16]}-01"}
    response = requests.post(f"{system.url}/api/orders", json=an_order(), headers=headers, timeout=30)
    answer = response.json()
    client.remember(answer["order_id"], answer["token"])
    client.wait_for_status(answer["order_id"], ("placed", "activated"))

    rows = system.db("order", "select body from outbox where order_id = :o", o=answer["order_id"])
    assert [json.loads(bytes(row["body"]))["traceparent"].split("-")[1] for row in rows] == [trace_id]


def test_every_answer_carries_its_request_id(system: System) -> None:
    response = requests.get(f"{system.url}/api/products", headers={"X-Request-ID": "my-id-1"}, timeout=10)
    assert response.headers["X-Request-ID"] == "my-id-1"
    assert [item["kind"] for item in response.json()["items"]].count("internet") >= 1
    assert requests.get(f"{system.url}/api/products", timeout=10).headers["X-Request-ID"]


def test_an_orders_trace_tells_everything_from_all_services_in_order(system: System, client: Client) -> None:
    order_id = client.place()["order_id"]
    client.schedule(order_id)
    client.complete(order_id)
    client.wait_for_status(order_id, "completed")

    def trace() -> dict[str, Any]:
        found: dict[str, Any] = client.call("GET", f"/api/ops/orders/{order_id}/trace", as_="operator")
        return found

    def settled() -> bool:
        return not any(entry["details"].get("waits_for") for entry in trace()["entries"])

    wait_until(settled, lambda: f"every message is taken in: {trace()}")
    found = trace()
    assert found["unreachable"] == []
    moments = [entry["at"] for entry in found["entries"]]
    assert moments == sorted(moments)
    messages = {entry["what"]: entry for entry in found["entries"] if entry["kind"] == "message"}
    assert list(messages) == [
        "order_placed", "activation_completed", "visit_scheduled", "fieldwork_completed", "order_completed"
    ]
    assert messages["order_completed"]["cause"]["what"] == "fieldwork_completed"
    takers = {what: {taker["service"] for taker in entry["details"]["handled"]} for what, entry in messages.items()}
    assert takers["fieldwork_completed"] == {"order", "activation", "scheduling", "mypage"}
    assert {entry["kind"] for entry in found["entries"]} == {"journal", "message", "call", "job", "audit"}
    assert client.request("GET", f"/api/ops/orders/{new_id()}/trace", as_="operator").status_code == 404

    with system.stopped("fieldwork"):
        partial = trace()
    assert partial["unreachable"] == ["fieldwork"]
    assert "fieldwork_completed" not in [entry["what"] for entry in partial["entries"]]


def test_operators_see_orders_at_risk_and_find_them_by_serial(system: System, client: Client) -> None:
    order_id = client.place()["order_id"]
    client.schedule(order_id)
    serial = f"HFRN{uuid4().hex[:8].upper()}"
    client.complete(order_id, results=RESULTS | {"ont_serial": serial})
    client.wait_for_status(order_id, "completed")
    found = client.call("GET", f"/api/orders?ont_serial={serial}", as_="operator")["items"]
    assert [item["order_id"] for item in found] == [order_id]
    by_end = client.call("GET", f"/api/orders?order_end={order_id[-8:]}", as_="operator")["items"]
    assert [item["order_id"] for item in by_end] == [order_id]
    assert client.request("GET", f"/api/orders?ont_serial={serial}", as_="dispatcher").status_code == 403

    failed = client.place()["order_id"]
    client.wait_for_status(failed, "activated")
    late = "update pages set waiting_since = now() - interval '3 days' where order_id = :o"
    system.db("mypage", late, o=failed)
    at_risk = client.call("GET", "/api/ops/at-risk?limit=200", as_="operator")["items"]
    assert (failed, "no_visit") in [(item["order_id"], item["risk"]) for item in at_risk]
    client.cancel(failed)


def test_a_technician_sees_how_to_reach_the_customers_of_their_jobs_only(client: Client) -> None:
    order_id = client.place()["order_id"]
    client.wait_for_status(order_id, ("placed", "activated"))
    one = client.call("GET", f"/api/orders/{order_id}", as_="kim")
    assert (one["customer"]["phone"], one["customer"]["email"]) == ("010-****-5678", None)
    listed = client.call("GET", "/api/orders?limit=1", as_="kim")["items"][0]
    assert (listed["customer"], listed["address"]) == (None, None)
