"""Orders through HTTP onto real equipment: NETCONF to two access nodes, RADIUS accounts, TV entitlements.

After each, the audit finds no difference between what activation believes and what the elements hold.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.bng import live_sessions, start_session
from tests.harness.checker import assert_each_ended_once, live_orders, wait_until_at_rest
from tests.harness.client import Client, an_order, internet, tv
from tests.harness.crew import Crew
from tests.harness.network import (
    accounts_locked,
    ask_activation,
    assert_no_drift,
    behind_proxies,
    bng_of,
    earlier_subscriber,
    elements_of,
    held,
    log_in,
    next_free,
    next_node,
    olt_of,
    port_of,
    stray_port,
    truth,
    tv_of,
    without_line_profile,
    without_profile,
)
from tools.system import System
from tools.waiting import wait_until

OLTS = ("olt-1", "olt-2")


@pytest.fixture(autouse=True)
def nothing_is_left_different(system: System) -> Iterator[None]:
    yield
    system.thaw_all()
    system.start_all()
    wait_until_at_rest(system)
    assert_no_drift(system)


def activation_of(system: System, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ask_activation(system, "get_activation", order_id=order_id)
    return found


def tried_at(system: System, order_id: str) -> set[str]:
    """The elements at which tries have failed so far."""
    return {tried["element"] for tried in activation_of(system, order_id)["tried"]}


def written(system: System, order_id: str) -> str:
    """Wait until the order's first line stands on its access node; the node's name."""
    node, port = port_of(system, order_id)

    def there() -> bool:
        entry = held(olt_of(system, node)).get(f"service-port/{port}", {})
        return bool(entry.get("subscriber") == f"{order_id}-1")

    wait_until(there, f"{order_id} stands on {port} of {node}")
    return node


def fallout_of(client: Client, order_id: str) -> dict[str, Any]:
    """The order's case, once it is one, as an operator sees it."""
    client.wait_for_status(order_id, "fallout")
    page = client.call("GET", "/api/ops/fallouts", as_="operator", params={"limit": 200})
    return next(item for item in page["items"] if item["order_id"] == order_id)


def cancel(client: Client, order_id: str) -> None:
    client.cancel(order_id)
    client.wait_for_status(order_id, "cancelled")


def test_an_activated_order_is_on_every_element_and_its_subscriber_gets_in(system: System, client: Client) -> None:
    order_id = client.place(an_order(items=[internet("internet-500"), tv("tv-basic")]))["order_id"]
    client.wait_for_status(order_id, "activated")
    node, port = port_of(system, order_id)
    entry = held(olt_of(system, node))[f"service-port/{port}"]
    assert (entry["subscriber"], entry["admin_state"]) == (f"{order_id}-1", "unlocked")
    assert (entry["line_profile"], entry["multicast_profiles"]) == ("internet-500", ["tv-basic"])
    assert 100 <= entry["vlan"] <= 3999 and len(entry["ont_registration_id"]) == 10
    answer, attributes = log_in(system, f"{order_id}-1")
    assert (answer, attributes["Filter-Id"]) == ("Access-Accept", ["internet-500"])
    assert attributes["WISPr-Bandwidth-Max-Down"] == ["500000000"]
    assert ipaddress.ip_address(attributes["Framed-IP-Address"][0]) in ipaddress.ip_network("100.64.0.0/17")
    assert held(tv_of(system))[f"entitlement/{order_id}-2"] == {"package": "tv-basic", "order_id": order_id}
    cancel(client, order_id)
    assert log_in(system, f"{order_id}-1")[0] == "Access-Reject"


def test_a_rejected_order_leaves_those_who_were_there_before_exactly_as_they_were(
    system: System, client: Client
) -> None:
    ports = {name: f"service-port/{next_free(system, f'service-port:{name}')}" for name in OLTS}
    with earlier_subscriber(system, ports):
        before = truth(system)
        order_id = client.place(an_order(items=[internet(quantity=1), tv("tv-premium", 2)]))["order_id"]
        client.schedule(order_id)
        node, port = port_of(system, order_id)
        assert f"service-port/{port}" == ports[node], "on the port that somebody had before"
        assert held(olt_of(system, node))[ports[node]]["subscriber"] == f"{order_id}-1"
        assert log_in(system, f"{order_id}-1")[0] == "Access-Accept"
        start_session(bng_of(system), f"{order_id}-1", "the-installer-s-test")
        client.reject(order_id, reason_code="no_fibre")
        client.wait_for_status(order_id, "rejected")
        assert truth(system) == before
        assert log_in(system, f"{order_id}-1")[0] == "Access-Reject"
        assert live_sessions(bng_of(system).uri, f"{order_id}-1") == []
        assert log_in(system, "mrs-song")[1]["Framed-IP-Address"] == ["198.51.100.7"]
        assert live_sessions(bng_of(system).uri, "mrs-song") == ["since-spring"]
        assert_each_ended_once(system, {order_id: "rejected"})


def test_a_cancel_in_the_middle_of_provisioning_puts_back_what_was_written(system: System, client: Client) -> None:
    before = truth(system)
    with accounts_locked(system):
        order_id = client.place()["order_id"]
        written(system, order_id)
        assert client.cancel(order_id).status_code == 202
        wait_until(lambda: activation_of(system, order_id)["state"] == "reverting_cancelled", "it turns round")
    client.wait_for_status(order_id, "cancelled")
    assert truth(system) == before
    assert_each_ended_once(system, {order_id: "cancelled"})


def test_an_order_goes_on_when_the_middleware_that_died_after_the_node_was_written_is_back(
    system: System, client: Client
) -> None:
    with accounts_locked(system):
        order_id = client.place()["order_id"]
        written(system, order_id)
        tv_of(system).kill()
    wait_until(lambda: "tv-1" in tried_at(system, order_id), "a try that did not get through")
    tv_of(system).start()
    client.wait_for_status(order_id, "activated")
    cancel(client, order_id)


def test_an_order_goes_on_when_the_node_that_died_after_it_was_written_is_back(system: System, client: Client) -> None:
    with accounts_locked(system):
        order_id = client.place()["order_id"]
        node = elements_of(system)[written(system, order_id)]
        node.kill()
    wait_until(lambda: node.name in tried_at(system, order_id), "a try that did not get through")
    assert activation_of(system, order_id)["state"] == "provisioning"
    node.start()
    client.wait_for_status(order_id, "activated")
    written(system, order_id)
    cancel(client, order_id)


def test_what_a_node_s_model_forbids_waits_for_an_operator_in_the_node_s_words(system: System, client: Client) -> None:
    before = truth(system)
    with without_line_profile(system, "internet-1000"):
        order_id = client.place(an_order(items=[internet("internet-1000")]))["order_id"]
        case = fallout_of(client, order_id)
        assert "required value instance not found: bad-value line-profile" in case["reason"]
        assert case["element"] in OLTS and {"retry", "abandon"} < set(case["actions"])
        assert case["what_was_tried"][-1]["error"] == case["reason"]
        assert held(elements_of(system)["bng-1"]) == before["bng-1"], "and nothing was written behind it"
    client.call("POST", f"/api/ops/fallouts/{order_id}/retry", as_="operator")
    client.wait_for_status(order_id, "activated")
    cancel(client, order_id)
    assert truth(system) == before


def test_an_order_whose_port_is_no_good_is_provisioned_on_another(system: System, client: Client) -> None:
    node = next_node(system)
    stray = {"subscriber": "a-cabinet-s-own", "vlan": int(next_free(system, f"vlan:{node}"))}
    with stray_port(system, node, "service-port/8/16/64", stray):
        order_id = client.place()["order_id"]
        case = fallout_of(client, order_id)
        assert "unique" in case["reason"], "two ports in one VLAN"
        bad = case["what_was_tried"][-1]["ports"][0]
        client.call("POST", f"/api/ops/fallouts/{order_id}/retry", as_="operator", params={"another_port": "true"})
        client.wait_for_status(order_id, "activated")
    assert port_of(system, order_id) != (bad["element"], bad["port"])
    cancel(client, order_id)
    ask_activation(system, "unblock_port", **bad)


def test_an_abandoned_order_ends_as_cancelled_and_leaves_nothing(system: System, client: Client) -> None:
    before = truth(system)
    with without_profile(system, "internet-1000"):
        order_id = client.place(an_order(items=[internet("internet-1000"), tv()]))["order_id"]
        case = fallout_of(client, order_id)
    assert case["element"] == "bng-1" and "internet-1000" in case["reason"]
    body = {"reason": "we have no such speed here"}
    client.call("POST", f"/api/ops/fallouts/{order_id}/abandon", as_="operator", json=body)
    client.wait_for_status(order_id, "cancelled")
    assert truth(system) == before
    assert_each_ended_once(system, {order_id: "cancelled"})


def test_writes_whose_answers_are_lost_are_found_to_have_taken_effect(system: System, client: Client) -> None:
    with behind_proxies(system, ELEMENT_CALL_TIMEOUT_S="9") as proxies:
        proxies["tv-1"].drop_answer_to(b"PUT /entitlements/")
        unanswered = client.place()["order_id"]
        proxies["tv-1"].wait_until_lost()
        client.wait_for_status(unanswered, "activated")

        for name in OLTS:
            proxies[name].to_client_s = 0.2
        cut_off = client.place()["order_id"]
        node = olt_of(system, port_of(system, cut_off)[0])
        # The node writes its startup file when a commit is confirmed: the answer to that is under way now.
        startup = node.folder / "startup.xml"
        wait_until(lambda: cut_off in startup.read_text(errors="replace"), "the node has it", interval_s=0.005)
        proxies[node.name].drop_answers()
        proxies[node.name].wait_until_lost()
        for name in OLTS:
            proxies[name].heal()
        client.wait_for_status(cut_off, "activated")
    for order_id in (unanswered, cut_off):
        assert activation_of(system, order_id)["tried"] == [], "settled by reading back, not by another try"
        cancel(client, order_id)


def test_200_orders_over_two_nodes_of_which_one_goes_down_half_way_and_comes_back(system: System) -> None:
    crew = Crew(system)
    with system.stopped("activation"):
        ids = crew.place(200, items=[internet(), tv()])
    wait_until(lambda: done(system, ids) >= 20, "the first are on the network")
    dead = elements_of(system)["olt-2"]
    dead.kill()
    wait_until(lambda: left_on(system, ids, "olt-1") == 0, "every order on the other node is done meanwhile")
    assert left_on(system, ids, "olt-2") > 0, "while those on the dead one wait"
    assert done(system, ids) >= 100
    dead.start()
    crew.wait_until_activated(ids)
    assert live_orders(system) >= set(ids)


def test_activation_killed_amid_40_orders_leaves_each_provisioned_once(system: System) -> None:
    crew = Crew(system)
    ids = crew.place(40, items=[internet(), tv()])
    for share in (1, 15):
        wait_until(lambda share=share: done(system, ids) >= share, "some are on the network")
        system.kill("activation")
        system.start("activation")
    crew.wait_until_activated(ids)
    query = "select count(*) as n from resources where order_id = any(cast(:ids as uuid[])) and pool like :pool"
    for kind in ("service-port", "vlan", "ip"):
        assert system.db("activation", query, ids=ids, pool=f"{kind}:%") == [{"n": 40}]
    assert live_orders(system) >= set(ids)


def done(system: System, ids: list[str]) -> int:
    """How many of these orders are on the network."""
    query = (
        "select count(*) as n from activations where order_id = any(cast(:ids as uuid[]))"
        " and state in ('provisioned', 'active')"
    )
    return int(system.db("activation", query, ids=ids)[0]["n"])


def left_on(system: System, ids: list[str], node: str) -> int:
    """How many of these orders are not on the network yet and may need this node: it gave them a port, or may do."""
    query = (
        "select count(*) as n from activations where order_id = any(cast(:ids as uuid[])) and state = 'provisioning'"
        " and not exists (select from resources"
        "  where resources.order_id = activations.order_id and pool like 'service-port:%' and element <> :node)"
    )
    return int(system.db("activation", query, ids=ids, node=node)[0]["n"])
