"""Messages of recorded releases through this release's handlers, into their tables: each meets an order that waits."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from chassis.db import store_of
from chassis.table import NONE
from contracts.events import Event, decode
from contracts.ids import new_id
from mypage_svc.service import MypageService
from tests.harness.activation import IMPATIENT
from tests.harness.containers import call, fresh_vhost, running
from tests.harness.databases import Databases
from tests.harness.releases import Machine, Release, machines, releases
from tools.nodes import Nodes

CLASSES = {"order": "OrderService", "activation": "ActivationService", "scheduling": "SchedulingService",
           "fieldwork": "FieldworkService"}  # fmt: skip


@pytest.fixture(params=releases(), ids=lambda recorded: str(recorded.version))
def recorded(request: pytest.FixtureRequest) -> Release:
    return request.param  # type: ignore[no-any-return]


def read(message: dict[str, Any]) -> Event:
    """The message as it is decoded here, of an order and with an id of its own."""
    body = message["body"] | {"order_id": str(new_id()), "event_id": str(new_id())}
    return decode(json.dumps(body).encode())


def an_order(machine: Machine, event: Event, state: str) -> Any:
    """The service's row of the event's order, in that state."""
    row = replace(machine.row(order_id=event.order_id), state=state)
    return replace(row, accepted_at=event.occurred_at) if machine.service == "order" else row


@pytest.mark.parametrize("machine", machines(), ids=lambda machine: str(machine.service))
def test_a_handler_takes_them_in_each_state_that_awaits_them(
    databases: Databases, nodes: Nodes, recorded: Release, machine: Machine
) -> None:
    service = importlib.import_module(f"{machine.service}_svc.service")
    uri = databases.fresh(machine.service)
    settings = IMPATIENT if machine.service == "activation" else {}
    taken = []
    with (
        fresh_vhost(nodes) as amqp_uri,
        running(getattr(service, CLASSES[machine.service]), uri, amqp_uri, **settings) as container,
    ):
        store = store_of(container)
        for message in recorded.events():
            if message["routing_key"] not in machine.consumes:
                continue
            trigger = read(message).trigger
            for state in [state for state in machine.table.states() if (state, trigger) in machine.table.rows]:
                event = read(message)
                if state != NONE:
                    with store.transaction() as tx:
                        service.SAGA.store(tx, [an_order(machine, event, state)])
                call(container, "on_events", [event])
                taken.append(event.event_id)
        with store.transaction() as tx:
            ids = sa.select(tx.tables.inbox.c.message_id)
            assert set(tx.conn.execute(ids).scalars()) == set(taken)
    assert taken
    databases.drop(uri)


@pytest.mark.parametrize("database", ["fresh", "sqlite"])
def test_mypage_makes_pages_of_them_on_either_database(
    databases: Databases, nodes: Nodes, recorded: Release, database: str
) -> None:
    uri = getattr(databases, database)("mypage")
    events = [decode(json.dumps(message["body"]).encode()) for message in recorded.events()]
    with fresh_vhost(nodes) as amqp_uri, running(MypageService, uri, amqp_uri) as container:
        call(container, "on_events", events)
        for order_id in {event.order_id for event in events}:
            page = call(container, "get_order", str(order_id))
            assert page["version"] == sum(1 for event in events if event.order_id == order_id)
    databases.drop(uri)
