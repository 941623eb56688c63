"""What this release's processes really send, read by the contract of the release before (`tests/contract/corpus`)."""

from __future__ import annotations

import json

from tests.harness.asyncapi import problems
from tests.harness.client import Client, an_order, internet, tv
from tests.harness.releases import previous
from tools.record_corpus import Tap
from tools.system import System

SERVICES = ("order", "activation", "scheduling", "fieldwork")


def test_the_release_before_reads_what_this_one_sends(system: System, client: Client) -> None:
    document = previous().document
    tap = Tap(system.amqp_uri)
    try:
        completed, cancelled = (client.place(an_order(items=[internet(), tv()]))["order_id"] for _ in range(2))
        client.schedule(completed)
        client.complete(completed)
        client.wait_for_events(completed, "order_completed")
        client.schedule(cancelled)
        client.cancel(cancelled)
        client.wait_for_events(cancelled, "order_cancelled")
    finally:
        tap.close()
    asked = {message["properties"].get("correlation_id"): message["routing_key"] for message in tap.seen["rpc"]
             if f"{message['routing_key']}.request" in document["components"]["messages"]}
    wrong = [problem for message in tap.seen["events"]
             for problem in problems(document, message["routing_key"], message["body"])]
    for message in tap.seen["rpc"]:
        method = asked.get(message["properties"].get("correlation_id"))
        if method is not None:
            kind = "request" if message["routing_key"] == method else "answer"
            wrong += problems(document, f"{method}.{kind}", message["body"])
    assert wrong == []
    assert {"order.place_orders", "scheduling.request_visit", "fieldwork.complete_job"} <= set(asked.values())


def test_the_release_before_reads_every_event_in_the_outboxes(system: System) -> None:
    """Whatever the tests before this one have put the system through."""
    document = previous().document
    wrong, types = [], set()
    for service in SERVICES:
        for row in system.db(service, "select routing_key, body from outbox where exchange <> '' limit 2000"):
            types.add(row["routing_key"])
            wrong += problems(document, row["routing_key"], json.loads(bytes(row["body"])))
    assert wrong == []
    assert len(types) >= 10, f"only {sorted(types)}"
