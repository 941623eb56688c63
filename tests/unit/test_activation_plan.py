"""Promises of the plan: every line gets its entries, named so that repeating them changes nothing."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from activation_svc import plan_table
from activation_svc.plan import PORT, TABLE, Entry, Holding, Resource, Site, elements_of, lines_of, needs_of, plan_of
from contracts.catalogue import PRODUCTS
from contracts.events import Line
from contracts.orders import OrderItem

ORDER = UUID("01920000-0000-7000-8000-000000000001")
SITE = Site({"olt": "olt-1", "bng": "bng-1", "tv": "tv-1"}, b"a key")


def items(**quantities: int) -> list[OrderItem]:
    return [OrderItem(product=product.replace("_", "-"), quantity=count) for product, count in quantities.items()]


def holding(ordered: list[OrderItem]) -> Holding:
    """What the inventory would give: line n gets port 1/1/n, VLAN 100+n and the address 100.64.0.n."""
    return {
        line: {kind: _resource(kind, line) for kind in kinds} for line, kinds in needs_of(ordered).items()
    }


def _resource(kind: str, line: int) -> Resource:
    names = {PORT: f"1/1/{line}", "vlan": str(100 + line), "ip": f"100.64.0.{line}"}
    return Resource(kind, "bng-1" if kind == "ip" else "olt-1", names[kind])


def plan(ordered: list[OrderItem]) -> tuple[Entry, ...]:
    return plan_of(ORDER, ordered, holding(ordered), SITE)


def keys(ordered: list[OrderItem]) -> list[str]:
    return [f"{entry.element} {entry.key}" for entry in plan(ordered)]


def contents(ordered: list[OrderItem]) -> dict[str, Any]:
    return {f"{entry.element} {entry.key}": entry.content for entry in plan(ordered)}


orders = st.lists(
    st.builds(OrderItem, product=st.sampled_from(sorted(PRODUCTS)), quantity=st.integers(1, 4)), min_size=1, max_size=6
)


def test_an_internet_line_is_a_service_port_and_an_account() -> None:
    assert contents(items(internet_500=1)) == {
        "olt-1 service-port/1/1/1": {
            "subscriber": f"{ORDER}-1", "admin_state": "unlocked", "ont_registration_id": "6752629148",
            "ont_serial": None, "vlan": 101, "line_profile": "internet-500", "multicast_profiles": [],
        },
        f"bng-1 account/{ORDER}-1": {
            "check": [["Cleartext-Password", ":=", SITE.secret("password", f"{ORDER}-1").hex()[:32]]],
            "reply": [["Framed-IP-Address", ":=", "100.64.0.1"]],
            "groups": [["internet-500", 1]],
        },
    }  # fmt: skip


def test_a_tv_line_is_a_multicast_profile_on_the_internet_lines_port_and_an_entitlement() -> None:
    found = contents(items(internet_500=1, tv_premium=1, tv_basic=1))
    port = found["olt-1 service-port/1/1/1"]
    assert (port["line_profile"], port["subscriber"], port["vlan"]) == ("internet-500", f"{ORDER}-1", 101)
    assert port["multicast_profiles"] == ["tv-basic", "tv-premium"]
    assert found[f"tv-1 entitlement/{ORDER}-2"] == {"package": "tv-premium", "order_id": str(ORDER)}
    assert len(found) == 4


def test_tv_alone_opens_a_port_of_its_own_without_internet() -> None:
    ordered = items(tv_basic=3)
    assert needs_of(ordered) == {1: (PORT, "vlan")}
    found = contents(ordered)
    assert list(found) == [
        "olt-1 service-port/1/1/1", *(f"tv-1 entitlement/{ORDER}-{line}" for line in (1, 2, 3)),
    ]  # fmt: skip
    assert found["olt-1 service-port/1/1/1"]["line_profile"] == "tv-only"


def test_each_internet_line_has_resources_of_its_own_and_tv_lines_spread_over_the_ports() -> None:
    ordered = items(tv_basic=3, internet_500=2)
    assert needs_of(ordered) == {1: (PORT, "vlan", "ip"), 2: (PORT, "vlan", "ip")}
    lines = lines_of(ordered, holding(ordered))
    assert [(line.product, line.resources[PORT].name) for line in lines] == [
        ("internet-500", "1/1/1"), ("internet-500", "1/1/2"),
        ("tv-basic", "1/1/1"), ("tv-basic", "1/1/2"), ("tv-basic", "1/1/1"),
    ]  # fmt: skip


@given(orders)
def test_whatever_is_ordered_every_entry_has_a_place_of_its_own_and_elements_come_in_one_order(
    ordered: list[OrderItem],
) -> None:
    found = plan(ordered)
    assert len({(entry.element, entry.key) for entry in found}) == len(found)
    assert list(elements_of(found)) == [name for name in ("olt-1", "bng-1", "tv-1") if name in elements_of(found)]
    elements = [entry.element for entry in found]
    assert elements == sorted(elements, key=["olt-1", "bng-1", "tv-1"].index), "an element is gone to once"


@given(orders)
def test_whatever_is_ordered_every_line_is_counted_once_and_the_plan_stays_the_same(ordered: list[OrderItem]) -> None:
    found = plan(ordered)
    assert found == plan(ordered)
    internet = sum(item.quantity for item in ordered if item.kind == "internet")
    tv = sum(item.quantity for item in ordered if item.kind == "tv")
    by_kind = [entry.key.partition("/")[0] for entry in found]
    assert by_kind.count("account") == internet
    assert by_kind.count("entitlement") == tv
    assert by_kind.count("service-port") == max(internet, 1)
    for line in lines_of(ordered, holding(ordered)):
        Line.model_validate(line.as_line())


def test_secrets_of_lines_differ_by_line_and_by_key_and_do_not_show() -> None:
    one, other = SITE.secret("password", "a-1"), SITE.secret("password", "a-2")
    assert len({one, other, SITE.secret("registration", "a-1"), Site({}, b"another").secret("password", "a-1")}) == 4
    assert "a key" not in repr(SITE)


def test_lacking_resources_are_named() -> None:
    with pytest.raises(ValueError, match="line 2 holds no service-port, vlan, ip"):
        lines_of(items(internet_500=2), holding(items(internet_500=1)))
    with pytest.raises(ValueError, match="no element of kind 'tv'"):
        plan_of(ORDER, items(tv_basic=1), holding(items(tv_basic=1)), Site({}, b""))


def test_a_plan_that_takes_what_there_is_no_pool_of_is_refused() -> None:
    with pytest.raises(ValidationError, match="tv takes telephone, of which there is no pool"):
        plan_table.PlanTable.model_validate({"lines": {"tv": {"takes": {"own": ["telephone"]}, "tasks": []}}})
    crossed = TABLE.model_dump()
    crossed["lines"]["tv"]["tasks"] = crossed["lines"]["tv"]["tasks"][::-1]
    crossed["lines"] = dict(reversed(crossed["lines"].items()))
    crossed["lines"]["internet"]["tasks"][1]["at"] = "tv"
    with pytest.raises(ValidationError, match="in the same order"):
        plan_table.PlanTable.model_validate(crossed)


def test_a_name_alone_keeps_its_type_and_inside_text_becomes_text() -> None:
    filled = plan_table.fill({"a": "{vlan}", "b": ["vlan {vlan}", 1, None]}, {"vlan": 7})
    assert filled == {"a": 7, "b": ["vlan 7", 1, None]}
    with pytest.raises(KeyError):
        plan_table.fill("{nobody}", {})


texts = st.lists(st.sampled_from(["tv-basic", "tv-premium", "tv-sports"]), max_size=3)


@given(st.lists(texts, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_lists_of_one_entry_come_out_the_same_in_whatever_order_lines_say_them(
    lists: list[list[str]], random: Any
) -> None:
    def all_of(parts: list[list[str]]) -> dict[str, Any]:
        result: dict[str, Any] = {"profiles": [], "name": None}
        for part in parts:
            result = plan_table.united(result, {"profiles": part, "name": "first"})
        return result

    mixed = list(lists)
    random.shuffle(mixed)
    assert all_of(lists) == all_of(mixed) == {"profiles": sorted({x for part in lists for x in part}), "name": "first"}
