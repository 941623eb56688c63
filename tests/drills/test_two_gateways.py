"""Two gateways with a journal each: a client meets now one, now the other, and cannot tell."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.harness.client import Client, an_order
from tests.harness.drill_checker import judge
from tests.harness.drill_stage import replicated
from tests.harness.pages import Visitor
from tests.harness.subscriber import order_of
from tools.system import System
from tools.waiting import wait_until

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]


@pytest.fixture
def both(system: System) -> Iterator[tuple[Client, Client]]:
    """A client of each gateway."""
    with replicated(system, {"gateway": 2}):
        urls = [system.service_url(name) for name in system.replicas("gateway")]
        here, there = (Client(url, staff_password=system.env["STAFF_PASSWORD"]) for url in urls)
        yield here, there


def chooses_a_visit(client: Client, order_id: str, stands_as: str) -> None:
    """Its subscriber fixes or moves the visit over HTTP, then on MyPage, each time to another window."""
    path = f"/api/visits/{order_id}"
    free = wait_until(
        lambda: client.request("GET", f"{path}/windows", as_=order_id).json().get("items"), "windows are shown"
    )
    *_, second, first = free
    wanted = {name: first[name] for name in ("window_start", "window_end")}
    visit = client.call("PUT", f"{path}/appointment", as_=order_id, json=wanted)
    assert (visit["order_id"], visit["window_start"]) == (stands_as, first["window_start"])
    visitor = Visitor(client.url)
    visitor.http.cookies.set("oss_order", client.token(order_id), path=f"/my/{order_id}")
    moved = visitor.post(f"/my/{order_id}/visit", {"window": f"{second['window_start']}/{second['window_end']}"})
    assert order_of(moved) == stands_as
    assert "The time of the visit is agreed" in moved.text
    assert f'datetime="{second["window_start"]}"' in moved.text


def test_an_order_in_one_journal_is_shown_and_cancelled_at_the_other_gateway(
    system: System, both: tuple[Client, Client]
) -> None:
    here, there = both
    with system.stopped("order"):
        placed = here.place(an_order())
        order_id = str(placed["order_id"])
        there.remember(order_id, str(placed["token"]))
        assert placed["status"] == "accepted"
        assert there.order(order_id)["status"] == "accepted"
        answer = there.cancel(order_id)
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
        assert there.order(order_id)["status"] == "cancelling"
    for client in both:
        client.wait_for_status(order_id, "cancelled")
    assert judge(system, {order_id: "cancelled"}).problems == []


def test_one_request_that_both_gateways_have_taken_is_one_order_under_both_its_ids(
    system: System, both: tuple[Client, Client]
) -> None:
    here, there = both
    key = uuid4().hex
    with system.stopped("order"):
        ids = [str(client.place(an_order(), key=key)["order_id"]) for client in both]
    here.remember(ids[1], there.token(ids[1]))
    there.remember(ids[0], here.token(ids[0]))
    query = "select order_id from orders where idempotency_key = :key"
    [row] = wait_until(lambda: system.db("order", query, key=key), "the order is in the book")
    stands_as = str(row["order_id"])
    assert stands_as in ids
    for client in both:
        for known_as in ids:
            client.wait_for_status(known_as, "activated")
            assert client.order(known_as)["order_id"] == stands_as
    [other] = set(ids) - {stands_as}
    for client in both:
        chooses_a_visit(client, other, stands_as)
    assert here.cancel(other).status_code == 202
    for client in both:
        client.wait_for_status(other, "cancelled")
    assert judge(system, {stands_as: "cancelled"}, keys={stands_as: key}).problems == []


def test_a_member_of_staff_is_still_told_that_there_is_no_such_order(both: tuple[Client, Client]) -> None:
    for client in both:
        assert client.request("GET", f"/api/orders/{uuid4()}", as_="operator").status_code == 404
        assert client.cancel(str(uuid4()), as_="operator").status_code == 404
