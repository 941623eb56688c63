"""Promises of the plan: every line gets its entries, named so that repeating them changes nothing."""

from __future__ import annotations

from uuid import UUID

import pytest

from activation_svc.plan import Port, lines_of, plan_of, ports_needed
from contracts.events import Line
from contracts.orders import OrderItem

ORDER = UUID("01920000-0000-7000-8000-000000000001")
PORTS = [Port("olt-1", f"1/1/{number}") for number in range(1, 30)]


def items(**quantities: int) -> list[OrderItem]:
    return [OrderItem(product=product.replace("_", "-"), quantity=count) for product, count in quantities.items()]


def keys(*ordered: OrderItem) -> list[str]:
    return [f"{entry.element} {entry.key}" for entry in plan_of(ORDER, list(ordered), PORTS)]


def test_an_internet_line_is_a_service_port_and_an_account() -> None:
    assert keys(*items(internet_500=1)) == ["olt-1 port/1/1/1", f"aaa-1 account/{ORDER}-1"]


def test_a_tv_line_is_a_multicast_profile_on_the_port_and_an_entitlement() -> None:
    assert keys(*items(internet_500=1, tv_basic=1)) == [
        "olt-1 port/1/1/1", "olt-1 multicast/1/1/1/2", f"aaa-1 account/{ORDER}-1", f"tv-1 entitlement/{ORDER}-2",
    ]


def test_tv_alone_opens_its_port_too() -> None:
    assert ports_needed(items(tv_basic=3)) == 1
    assert keys(*items(tv_basic=1)) == [
        "olt-1 port/1/1/1", "olt-1 multicast/1/1/1/1", f"tv-1 entitlement/{ORDER}-1",
    ]


def test_each_internet_line_has_a_port_of_its_own_and_tv_lines_spread_over_them() -> None:
    ordered = items(internet_500=2, tv_basic=3)
    assert ports_needed(ordered) == 2
    lines = lines_of(ordered, PORTS[:2])
    assert [(line.product, line.port.name) for line in lines] == [
        ("internet-500", "1/1/1"), ("internet-500", "1/1/2"),
        ("tv-basic", "1/1/1"), ("tv-basic", "1/1/2"), ("tv-basic", "1/1/1"),
    ]


def test_no_two_entries_of_a_large_order_share_a_key() -> None:
    ordered = [*items(internet_100=10, internet_500=10, tv_basic=10, tv_premium=10), *items(tv_basic=10)]
    plan = plan_of(ORDER, ordered, PORTS)
    assert len({(entry.element, entry.key) for entry in plan}) == len(plan) == 20 * 2 + 30 * 2


def test_the_same_order_and_ports_give_the_same_plan() -> None:
    ordered = items(internet_500=2, tv_basic=2)
    assert plan_of(ORDER, ordered, PORTS) == plan_of(ORDER, ordered, PORTS)


def test_the_olt_comes_before_accounts_and_entitlements() -> None:
    elements = [entry.element for entry in plan_of(ORDER, items(tv_basic=2, internet_500=2), PORTS)]
    assert elements == sorted(elements, key=["olt-1", "aaa-1", "tv-1"].index)


def test_lines_are_those_of_the_contract() -> None:
    for line in lines_of(items(internet_500=1, tv_basic=1), PORTS):
        Line.model_validate(line.as_line())


def test_too_few_ports_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 2 service ports, not 1"):
        lines_of(items(internet_500=2), PORTS[:1])
