"""The mission, sentence by sentence, through HTTP against the real processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.harness.checker import assert_each_ended_once, live_orders, wait_until_at_rest
from tests.harness.client import Client, an_order, internet, tv
from tests.harness.network import truth
from tools.system import System


def _events(page: dict[str, object]) -> list[str]:
    timeline = page["timeline"]
    assert isinstance(timeline, list)
    return [entry["event"] for entry in timeline]


def test_an_order_for_internet_and_tv_runs_to_completion(system: System, client: Client) -> None:
    order_id = client.place(an_order(items=[internet(), tv()]))["order_id"]
    page = client.wait_for_status(order_id, "activated")
    assert order_id in live_orders(system), "activation writes the subscriber to the network elements"
    client.schedule(order_id)
    page = client.wait_for_status(order_id, "scheduled")
    assert page["visit"]["technician_name"]
    client.complete(order_id)
    page = client.wait_for_events(order_id, "order_completed")
    assert _events(page) == [
        "order_placed", "activation_completed", "visit_scheduled", "fieldwork_completed", "order_completed",
    ]  # fmt: skip
    assert_each_ended_once(system, {order_id: "completed"})


def test_one_trace_follows_the_order_from_the_request_to_the_dispatchers_queue(system: System, client: Client) -> None:
    trace_id = uuid4().hex
    answer = client.request(
        "POST", "/api/orders", json=an_order(), headers={"traceparent": f"00-{trace_id}-{trace_id[:16]}-01"}
    )
    order_id = answer.json()["order_id"]
    client.remember(order_id, answer.json()["token"])
    client.wait_for_status(order_id, "activated")
    rows = [
        row
        for service in ("order", "activation")
        for row in system.db(service, "select routing_key, body from outbox where order_id = :id", id=order_id)
    ]
    traces = {row["routing_key"]: json.loads(bytes(row["body"]))["traceparent"].split("-")[1] for row in rows}
    assert traces == {"order_placed": trace_id, "activation_completed": trace_id}
    client.cancel(order_id)
    client.wait_for_status(order_id, "cancelled")


def test_a_rejected_job_puts_every_network_element_back(system: System, client: Client) -> None:
    wait_until_at_rest(system)
    before = truth(system)
    order_id = client.place(an_order(items=[internet(quantity=2), tv()]))["order_id"]
    client.schedule(order_id)
    assert truth(system) != before
    client.reject(order_id, reason_code="no_fibre")
    client.wait_for_status(order_id, "rejected")
    assert truth(system) == before, "exactly as it was"
    client.wait_for_events(order_id, "fieldwork_rejected", "activation_reverted", "order_rejected")
    assert_each_ended_once(system, {order_id: "rejected"})


def test_the_subscriber_can_cancel_before_anything_is_provisioned(system: System, client: Client) -> None:
    with system.stopped("activation"):
        order_id = client.place()["order_id"]
        client.wait_for_status(order_id, "placed")
        assert client.cancel(order_id).status_code == 202
        client.wait_for_status(order_id, "cancelling")
    client.wait_for_status(order_id, "cancelled")
    assert_each_ended_once(system, {order_id: "cancelled"})


def _until_activated(client: Client, order_id: str) -> None:
    client.wait_for_status(order_id, "activated")


def _until_scheduled(client: Client, order_id: str) -> None:
    client.schedule(order_id)
    client.wait_for_status(order_id, "scheduled")


def _until_started(client: Client, order_id: str) -> None:
    client.schedule(order_id)
    technician = client.technician_of(order_id)
    client.start_job(order_id, by=technician)


@pytest.mark.parametrize("until", [_until_activated, _until_scheduled, _until_started])
def test_the_subscriber_can_cancel_at_each_stage_and_everything_is_put_back(
    system: System, client: Client, until: Callable[[Client, str], None]
) -> None:
    order_id = client.place()["order_id"]
    until(client, order_id)
    answer = client.cancel(order_id)
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
    client.wait_for_status(order_id, "cancelled")
    client.wait_for_events(order_id, "activation_reverted", "order_cancelled")
    assert_each_ended_once(system, {order_id: "cancelled"})


def test_a_cancel_after_the_work_is_done_is_refused(system: System, client: Client) -> None:
    order_id = client.place()["order_id"]
    client.schedule(order_id)
    client.complete(order_id)
    client.wait_for_events(order_id, "order_completed")
    answer = client.cancel(order_id)
    assert answer.status_code == 409
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert_each_ended_once(system, {order_id: "completed"})


def test_a_cancel_that_loses_the_race_against_the_technician_is_told_so(system: System, client: Client) -> None:
    order_id = client.place()["order_id"]
    client.schedule(order_id)
    technician = client.technician_of(order_id)
    client.start_job(order_id, by=technician)
    with system.stopped("scheduling"):
        # The cancel cannot travel down to field work while scheduling is stopped: the technician comes first.
        assert client.cancel(order_id).status_code == 202
        client.complete(order_id, by=technician)
        client.wait_for_page(order_id, lambda page: page["cancel_refused"], "the subscriber is told so")
    assert_each_ended_once(system, {order_id: "completed"})


def test_the_visit_can_be_moved_and_the_technician_s_list_follows(system: System, client: Client) -> None:
    order_id = client.place()["order_id"]
    client.schedule(order_id)
    first = client.wait_for_status(order_id, "scheduled")["visit"]
    client.appoint(order_id, window=3)
    moved = client.wait_for_page(
        order_id, lambda page: page["visit"]["window_start"] != first["window_start"], "the visit has moved"
    )
    assert moved["visit"]["revision"] > first["revision"]
    client.complete(order_id)
    client.wait_for_status(order_id, "completed")
    assert_each_ended_once(system, {order_id: "completed"})
