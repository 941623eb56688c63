"""One request that reached two gateways is one order, under either of the ids that they made."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contracts.errors import NotFound
from contracts.ids import new_id
from order_svc.service import OrderService
from tests.harness.containers import call, engine, running
from tests.harness.orders import place_order


@pytest.fixture
def order(database: Callable[[str], str], vhost: str) -> Iterator[Any]:
    uri = database("order")
    with running(OrderService, uri, vhost) as container:
        container.uri = uri
        yield container


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
    other = place_order(idempotency_key=key, items=[{"product": "internet-100", "quantity": 1}])
    results = call(order, "place_orders", [first, other])

    assert [result["status"] for result in results] == ["placed", "invalid"]
    with pytest.raises(NotFound):
        call(order, "cancel_order", other["order_id"])


def test_an_id_that_nobody_made_is_not_found(order: Any) -> None:
    for method in ("get_order", "cancel_order"):
        with pytest.raises(NotFound):
            call(order, method, str(new_id()))
