"""One request that reached two gateways is one order, under either of the ids that they made.

New orders cost one question to the database, and what is asked about known ones changes nothing of that.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import eventlet
import pytest

from chassis.connection import Transacting
from chassis.db import store_of
from chassis.outbox import RELAY
from chassis.wake import wakes
from contracts.errors import NotFound
from contracts.ids import new_id
from order_svc import placement
from order_svc.service import SAGA, OrderService
from tests.harness.containers import call, engine, running
from tests.harness.orders import place_order
from tools.waiting import wait_until

OTHER = [{"product": "internet-100", "quantity": 1}]


@pytest.fixture
def order(database: Callable[[str], str], vhost: str) -> Iterator[Any]:
    uri = database("order")
    # Without asking for the time, so that what is asked can be counted.
    with running(OrderService, uri, vhost, DATABASE_CLOCK=False) as container:
        container.uri = uri
        yield container


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the test itself asks the database, not what the service does by itself meanwhile."""
    found: list[bytes] = []
    us, send = eventlet.getcurrent(), Transacting.with_all_that_waits

    def recorded(self: Transacting, statement: bytes) -> bytes:
        if eventlet.getcurrent() is us:
            found.append(statement)
        return send(self, statement)

    monkeypatch.setattr(Transacting, "with_all_that_waits", recorded)
    return found


def read(*orders: dict[str, Any]) -> list[Any]:
    return [placement.read_order(order, 1) for order in orders]


def column(order: Any, query: str) -> list[str]:
    with engine(order.uri) as database, database.connect() as conn:
        return [str(value) for value in conn.exec_driver_sql(query).scalars()]


def said(order: Any) -> list[str]:
    """The orders that were said to be placed, in the order in which that was written."""
    return column(order, "select order_id from outbox where routing_key = 'order_placed' order by id")


def test_a_request_that_two_gateways_forward_is_one_order_under_both_ids(order: Any) -> None:
    key = uuid.uuid4().hex
    first, second = (place_order(idempotency_key=key) for _ in range(2))
    results = call(order, "place_orders", [first]) + call(order, "place_orders", [second])

    assert [result["order_id"] for result in results] == [first["order_id"]] * 2
    for known_as in (first["order_id"], second["order_id"]):
        assert call(order, "get_order", known_as)["order_id"] == first["order_id"]
    assert call(order, "cancel_order", second["order_id"]) == {"order_id": first["order_id"], "status": "cancelling"}
    with engine(order.uri) as database, database.connect() as conn:
        assert conn.exec_driver_sql("select count(*) from orders").scalar_one() == 1


def test_the_second_gateway_may_forward_again_and_both_may_travel_in_one_call(order: Any) -> None:
    key = uuid.uuid4().hex
    both = [place_order(idempotency_key=key) for _ in range(2)]
    for _ in range(2):
        results = call(order, "place_orders", both)
        assert [result["order_id"] for result in results] == [both[0]["order_id"]] * 2
    assert call(order, "get_order", both[1]["order_id"])["order_id"] == both[0]["order_id"]


def test_another_order_with_a_key_that_was_used_gets_no_second_id(order: Any) -> None:
    key = uuid.uuid4().hex
    first = place_order(idempotency_key=key)
    other = place_order(idempotency_key=key, items=OTHER)
    results = call(order, "place_orders", [first, other])

    assert [result["status"] for result in results] == ["placed", "invalid"]
    with pytest.raises(NotFound):
        call(order, "cancel_order", other["order_id"])


def test_an_id_that_nobody_made_is_not_found(order: Any) -> None:
    for method in ("get_order", "cancel_order"):
        with pytest.raises(NotFound):
            call(order, method, str(new_id()))


def test_new_orders_are_placed_with_one_question_and_known_ones_are_looked_up(order: Any, asked: list[bytes]) -> None:
    one, two = (place_order(idempotency_key=uuid.uuid4().hex) for _ in range(2))
    for orders, questions in [([one], 1), ([two, *(place_order() for _ in range(20))], 1), ([one], 3)]:
        asked.clear()
        results = placement.place_all(store_of(order), SAGA, read(*orders))
        assert [str(result.order_id) for result in results] == [each["order_id"] for each in orders]
        assert len(asked) == questions, asked


def test_new_orders_among_known_ones_are_told_of_once_in_their_order_and_each_gets_its_own_answer(order: Any) -> None:
    key = uuid.uuid4().hex
    known, keyed = place_order(), place_order(idempotency_key=key)
    call(order, "place_orders", [known, keyed])
    new = [place_order(), place_order(idempotency_key=uuid.uuid4().hex), place_order()]
    other_id, conflict = place_order(idempotency_key=key), place_order(idempotency_key=key, items=OTHER)
    mixed = [known, new[0], other_id, new[1], {}, new[0], conflict, new[2]]

    answers = [(r["status"], r["order_id"]) for r in call(order, "place_orders", mixed)]
    assert answers == [
        ("placed", known["order_id"]), ("placed", new[0]["order_id"]), ("placed", keyed["order_id"]),
        ("placed", new[1]["order_id"]), ("invalid", None), ("placed", new[0]["order_id"]),
        ("invalid", conflict["order_id"]), ("placed", new[2]["order_id"]),
    ]  # fmt: skip
    assert [(r["status"], r["order_id"]) for r in call(order, "place_orders", mixed)] == answers
    assert said(order) == [each["order_id"] for each in [known, keyed, *new]]


def test_an_order_that_comes_twice_in_one_call_is_placed_as_it_came_first(order: Any) -> None:
    first_key, second_key = uuid.uuid4().hex, uuid.uuid4().hex
    first = place_order(idempotency_key=first_key)
    again, under_its_key = first | {"idempotency_key": second_key}, place_order(idempotency_key=second_key)
    results = call(order, "place_orders", [first, first, again, under_its_key])

    assert [(r["status"], r["order_id"]) for r in results] == [("placed", first["order_id"])] * 4
    assert said(order) == [first["order_id"]]
    assert column(order, "select idempotency_key from orders") == [first_key]
    assert call(order, "get_order", under_its_key["order_id"])["order_id"] == first["order_id"]


@pytest.mark.parametrize("with_key", [False, True], ids=["same id", "same key"])
def test_an_order_that_another_process_places_at_the_same_moment_is_placed_once(order: Any, with_key: bool) -> None:
    key = uuid.uuid4().hex if with_key else None
    first = place_order(idempotency_key=key)
    second = place_order(idempotency_key=key) if with_key else first
    with store_of(order).transaction() as tx:
        placement.place(tx, SAGA, read(first))
        tx.conn.exec_driver_sql("select 1")
        meanwhile = eventlet.spawn(call, order, "place_orders", [second])
        waiting = "select pid from pg_locks where locktype = 'advisory' and not granted"
        wait_until(lambda: column(order, waiting), "the second one waits for the first")
    assert [result["order_id"] for result in meanwhile.wait()] == [first["order_id"]]
    assert said(order) == [first["order_id"]]


def test_a_cancelled_order_that_is_placed_again_stays_cancelled_and_says_nothing(order: Any) -> None:
    placed = place_order()
    for _ in range(2):
        call(order, "place_orders", [placed])
        status = call(order, "cancel_order", placed["order_id"])["status"]
    assert status == "cancelling"
    assert column(order, "select routing_key from outbox order by id") == ["order_placed", "order_cancel_requested"]


def test_where_a_call_ends_after_its_new_orders_the_next_one_answers_for_all(
    order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, new = place_order(), place_order()
    call(order, "place_orders", [known])
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(placement, "place", lambda tx, saga, orders: 1 / 0)
        call(order, "place_orders", [known, new])
    results = call(order, "place_orders", [known, new])
    assert [result["order_id"] for result in results] == [known["order_id"], new["order_id"]]
    assert said(order) == [known["order_id"], new["order_id"]]


def test_the_relay_is_woken_by_new_orders_only(order: Any) -> None:
    placed = place_order()
    woken = [wakes(order).seen(RELAY)]
    for orders in ([placed], [placed], [{}]):
        call(order, "place_orders", orders)
        woken.append(wakes(order).seen(RELAY))
    assert [after - before for before, after in pairwise(woken)] == [1, 0, 0]
