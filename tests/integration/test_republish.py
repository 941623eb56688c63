"""Promises of sending the events of all orders again: in steps that hold up no new order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from nameko.containers import ServiceContainer

from chassis import outbox, republish
from order_svc.service import OrderService
from tests.harness.aged import column
from tests.harness.containers import Wiretap, call, running, wiretap
from tests.harness.orders import place_order
from tools.waiting import wait_until

STEP, STORED = 10, 35


@pytest.fixture
def tap(vhost: str) -> Iterator[Wiretap]:
    with wiretap(vhost) as tap:
        yield tap


@pytest.fixture
def order(
    vhost: str, database: Callable[[str], str], tap: Wiretap, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServiceContainer]:
    """An order service whose orders' events have all been sent."""
    monkeypatch.setattr(republish, "STEP", STEP)
    monkeypatch.setattr(republish, "FEW", 0)
    monkeypatch.setattr(republish, "TROUBLE_S", 0.1)
    with running(OrderService, database("order"), vhost) as container:
        call(container, "place_orders", [place_order() for _ in range(STORED)])
        tap.heard("order_placed", STORED)
        wait_until(lambda: not unsent(container), "all are marked")
        yield container


def unsent(container: ServiceContainer) -> list[Any]:
    return column(container, "select id from outbox where sent_at is null")


def test_the_events_of_all_orders_come_again_once_and_in_their_order(order: ServiceContainer, tap: Wiretap) -> None:
    first = [event.message_id for event in tap.seen]
    assert call(order, "republish_events") == {"events": STEP, "of_days": 90, "goes_on": True}
    again = [event.message_id for event in tap.heard("order_placed", 2 * STORED)][STORED:]
    assert again == first
    wait_until(lambda: not unsent(order), "all are marked")


def test_a_new_order_waits_behind_one_step_at_most(order: ServiceContainer, tap: Wiretap) -> None:
    call(order, "republish_events")
    new = place_order()
    call(order, "place_orders", [new])
    seen = [str(event.order_id) for event in tap.heard("order_placed", 2 * STORED + 1)]
    assert seen.index(new["order_id"]) <= STORED + 2 * STEP


def test_who_asks_twice_starts_it_once(order: ServiceContainer, tap: Wiretap) -> None:
    call(order, "republish_events")
    assert call(order, "republish_events") == {"events": 0, "of_days": 90, "goes_on": True}
    tap.heard("order_placed", 2 * STORED)
    wait_until(lambda: call(order, "republish_events")["events"] == STEP, "it can be asked for again once it is over")


def test_a_database_that_is_away_meanwhile_leaves_none_out(
    order: ServiceContainer, tap: Wiretap, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = outbox.republish_next, []

    def dies(*args: Any) -> tuple[int, int | None]:
        calls.append(args)
        found = real(*args)
        if len(calls) == 2:
            raise sa.exc.OperationalError("update", {}, OSError("the connection is gone"))
        return found

    monkeypatch.setattr(outbox, "republish_next", dies)
    call(order, "republish_events")
    tap.heard("order_placed", 2 * STORED)
    assert len(calls) == 5


def test_what_a_process_that_ended_left_out_comes_when_it_is_asked_again(
    vhost: str, database: Callable[[str], str], tap: Wiretap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(republish, "STEP", STEP)
    monkeypatch.setattr(republish, "PAUSE_S", 60.0)
    uri = database("order")
    with running(OrderService, uri, vhost) as container:
        call(container, "place_orders", [place_order() for _ in range(STORED)])
        tap.heard("order_placed", STORED)
        wait_until(lambda: not unsent(container), "all are marked")
        assert call(container, "republish_events")["goes_on"]
        tap.heard("order_placed", STORED + STEP)
    assert len(tap.seen) == STORED + STEP, "it ended in the middle"
    monkeypatch.setattr(republish, "PAUSE_S", 0.1)
    with running(OrderService, uri, vhost) as container:
        call(container, "republish_events")
        tap.heard("order_placed", 2 * STORED + STEP)
    assert {event.message_id for event in tap.seen[STORED + STEP:]} == {event.message_id for event in tap.seen[:STORED]}
