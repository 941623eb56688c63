"""Compares, at the end of a drill, what every part believes with what the network elements really hold."""

from __future__ import annotations

from collections.abc import Mapping

from tests.harness.heard import SERVICES, on_its_way
from tests.harness.network import assert_no_drift, orders_on
from tools.system import System
from tools.waiting import NotInTime, wait_until


def live_orders(system: System) -> set[str]:
    """The orders that have an entry on any network element, by the elements' own state."""
    return orders_on(system)


def wait_until_at_rest(system: System, timeout_s: float = 90.0) -> None:
    """Wait until nothing is on its way any more: outboxes empty, journal forwarded, no lease held."""
    wait_until(lambda: not on_the_way(system), lambda: f"at rest; still: {on_the_way(system)}", timeout_s=timeout_s)


def on_the_way(system: System) -> list[str]:
    """What has not arrived yet, in words."""
    found = []
    for service in SERVICES:
        [row] = system.db(service, "select count(*) as n from outbox where sent_at is null")
        if row["n"]:
            found.append(f"{row['n']} unsent in {service}")
    [row] = system.db("activation", "select count(*) as n from activations where lease_owner is not null")
    if row["n"]:
        found.append(f"{row['n']} activations at work")
    return found


def assert_each_ended_once(system: System, expected: Mapping[str, str]) -> None:
    """Each of these orders has exactly its expected outcome everywhere, and the elements agree;
    the audit finds nothing.

    `expected` maps order ids to completed, rejected or cancelled.
    """
    ids = list(expected)
    problems = unsettled(system, ids)
    book = states(system, "order", "select order_id, state from orders where order_id = any(:ids)", ids)
    pages = states(system, "mypage", "select order_id, status as state from pages where order_id = any(:ids)", ids)
    problems += [
        f"{order_id}: meant to be {outcome}, order book {book.get(order_id)}, MyPage {pages.get(order_id)}"
        for order_id, outcome in expected.items()
        if not book.get(order_id) == pages.get(order_id) == outcome
    ]
    live = live_orders(system)
    problems += [
        f"{order_id}: {outcome}, but its lines are {'live' if order_id in live else 'not live'}"
        for order_id, outcome in expected.items()
        if (outcome == "completed") != (order_id in live)
    ]
    problems += closed_twice(system, ids) + open_ends(system, ids) + parked(system, ids)
    assert not problems, f"{len(problems)} broken promise(s):\n" + "\n".join(problems[:20])
    assert_no_drift(system)


def unsettled(system: System, ids: list[str], timeout_s: float = 30.0) -> list[str]:
    """Wait until all is at rest and each service has handled what concerns these orders; what it has not, in words.

    A page may show an outcome before the other services have heard of it.
    """
    wait_until_at_rest(system)
    try:
        wait_until(lambda: not on_its_way(system, ids), "every event is handled", timeout_s=timeout_s, interval_s=0.2)
    except NotInTime:
        return on_its_way(system, ids)
    wait_until_at_rest(system)
    return []


def states(system: System, service: str, query: str, ids: list[str]) -> dict[str, str]:
    """The state of each order by its id; the query gives `order_id` and `state` of those in `:ids`."""
    return {str(row["order_id"]): row["state"] for row in system.db(service, _typed(query), ids=ids)}


def _typed(query: str) -> str:
    return query.replace(":ids", "cast(:ids as uuid[])")


def closed_twice(system: System, ids: list[str]) -> list[str]:
    """Orders that did not close exactly once."""
    query = _typed(
        "select order_id, count(*) as n from outbox where order_id = any(:ids)"
        " and routing_key in ('order_completed', 'order_rejected', 'order_cancelled')"
        " group by order_id having count(*) <> 1"
    )
    return [f"{row['order_id']}: closed {row['n']} times" for row in system.db("order", query, ids=ids)]


def open_ends(system: System, ids: list[str]) -> list[str]:
    """What services behind the order book have left open."""
    ends = {
        "activation": ("activations", ("reverted", "in_service")),
        "scheduling": ("visits", ("completed", "rejected", "cancelled")),
        "fieldwork": ("jobs", ("completed", "rejected", "cancelled")),
    }
    found = []
    for service, (table, final) in ends.items():
        query = _typed(f"select order_id, state from {table} where order_id = any(:ids) and not state = any(:final)")
        found += [
            f"{row['order_id']}: {service} is left {row['state']}"
            for row in system.db(service, query, ids=ids, final=list(final))
        ]
    return found


def parked(system: System, ids: list[str]) -> list[str]:
    """Messages of these orders whose handler gave up."""
    return [
        f"{row['order_id']}: {service} parked {row['event_type']}: {row['error']}"
        for service in SERVICES
        for row in system.db(
            service, "select order_id, event_type, error from parked_messages where order_id = any(:ids)", ids=ids
        )
    ]
