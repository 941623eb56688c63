"""Promises about what elements give out: never twice, spread over the OLTs, and another port where one is bad."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import eventlet
import pytest
import sqlalchemy as sa

from activation_svc import inventory
from activation_svc.dependencies import NetworkProvider
from activation_svc.provisioning import Round
from chassis.db import store_of
from contracts.errors import Conflict
from contracts.ids import new_id
from element_sim.client import SimClient
from tests.harness.activation import (
    TWO_OLTS,
    ActivationUnderTest,
    activation_under_test,
    cancel,
    own_nodes,
    placed,
    rejected,
)
from tests.harness.activation_shared import activation, process, sim
from tests.harness.databases import Databases
from tests.harness.elements import SimProcess
from tools.nodes import Nodes
from tools.waiting import wait_until

__all__ = ["activation", "process", "sim"]


@pytest.fixture(scope="module")
def shared(databases: Databases, nodes: Nodes, process: SimProcess) -> Iterator[ActivationUnderTest]:
    with (
        own_nodes(databases, nodes) as uris,
        activation_under_test(*uris, process.client, process.port, inventory_of=TWO_OLTS) as running,
    ):
        yield running


def leave_free(activation: ActivationUnderTest, pool: str, count: int) -> None:
    """All of a pool but the first `count` is taken by orders that nobody here knows."""
    activation.sql(
        "update resources set order_id = gen_random_uuid(), line = 1 where pool = :pool and position > :count",
        pool=pool, count=count,
    )


def states(activation: ActivationUnderTest) -> dict[str, int]:
    return dict(activation.sql("select state, count(*) from activations group by state"))


def port_of(activation: ActivationUnderTest, order_id: UUID) -> str:
    line = activation.get(order_id)["lines"][0]
    return f"{line['element']} {line['port']}"


def fallout(activation: ActivationUnderTest, order_id: UUID) -> dict:
    return next(item for item in activation.call("list_fallouts")["items"] if item["order_id"] == str(order_id))


def test_32_orders_at_once_for_20_ports_get_one_each_and_the_others_are_told_which_pools_are_empty(
    activation: ActivationUnderTest, sim: SimClient
) -> None:
    leave_free(activation, "service-port:olt-1", 10)
    leave_free(activation, "service-port:olt-2", 10)
    orders = [new_id() for _ in range(32)]
    for order_id in orders:
        eventlet.spawn(activation.handle, placed(order_id))
    wait_until(lambda: states(activation) == {"provisioned": 20, "fallout": 12}, lambda: str(states(activation)))
    entries = sim.entries()
    assert (len(entries["olt-1"]), len(entries["olt-2"]), len(entries["bng-1"])) == (10, 10, 20)
    for element in ("olt-1", "olt-2"):
        assert len({port["vlan"] for port in entries[element].values()}) == 10
    assert len({str(account["reply"]) for account in entries["bng-1"].values()}) == 20
    reasons = {item["reason"] for item in activation.call("list_fallouts")["items"]}
    assert reasons == {"exhausted: service-port:olt-1, service-port:olt-2"}
    held = "select count(*) from resources join activations using (order_id) where state = 'fallout'"
    assert activation.sql(held)[0][0] == 0, "an order that cannot have all it needs holds nothing"


def test_every_pool_that_an_order_found_empty_is_named(activation: ActivationUnderTest) -> None:
    leave_free(activation, "vlan:olt-1", 0)
    leave_free(activation, "service-port:olt-2", 1)
    order_id = activation.place(internet_500=2)
    activation.wait_for(order_id, "fallout")
    assert fallout(activation, order_id)["reason"] == "exhausted: service-port:olt-2, vlan:olt-1"
    leave_free(activation, "ip:bng-1", 0)
    order_id = activation.place()
    activation.wait_for(order_id, "fallout")
    assert "ip:bng-1" in fallout(activation, order_id)["reason"]


def test_all_lines_of_an_order_are_on_one_olt_and_the_next_order_is_on_the_other(
    activation: ActivationUnderTest, sim: SimClient
) -> None:
    for _ in range(4):
        order_id = activation.place(internet_100=2, tv_basic=3)
        activation.wait_for(order_id, "provisioned")
        assert len({line["element"] for line in activation.get(order_id)["lines"]}) == 1
    entries = sim.entries()
    assert (len(entries["olt-1"]), len(entries["olt-2"])) == (4, 4)


def test_a_lone_order_asks_once_for_its_place_and_behind_who_gives_out_alone(activation: ActivationUnderTest) -> None:
    (network,) = (each for each in activation.container.dependencies if isinstance(each, NetworkProvider))
    wait_until(lambda: network.worker.arrived.room, "orders to be handed over")
    store, order_id, statements = store_of(activation.container), new_id(), []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *sent: statements.append(sent[2]))
    locks = (
        "select granted from pg_locks join pg_stat_activity using (pid) where locktype = 'advisory'"
        " and datname = current_database() and wait_event = 'advisory' order by granted"
    )
    with store.transaction() as alone:
        alone.later(inventory._ALONE)
        alone.conn.exec_driver_sql("select 1")
        placing = eventlet.spawn(activation.handle, placed(order_id))
        waiting = wait_until(lambda: activation.sql(locks), "the order to wait for the inventory")
        assert waiting == [(False,), (True,)], "it is held itself meanwhile"
    placing.wait()
    activation.wait_for(order_id, "provisioned")
    assert activation.ports_held() == 1
    assert len([each for each in statements if inventory.LOOK in each]) == 1
    assert inventory._FREE not in statements


def test_a_dead_olt_stops_only_its_own_orders_and_gets_no_new_ones(
    activation: ActivationUnderTest, sim: SimClient
) -> None:
    for _ in range(2):
        on_two = activation.place()
        activation.wait_for(on_two, "provisioned")
    assert port_of(activation, on_two).startswith("olt-2")
    sim.die("olt-2")
    activation.handle(rejected(on_two))
    wait_until(
        lambda: activation.call("overview")["info"]["breaker-olt-2"] != "closed", "the breaker of olt-2 to open"
    )
    others = [activation.place() for _ in range(6)]
    for order_id in others:
        activation.wait_for(order_id, "provisioned")
        assert port_of(activation, order_id).startswith("olt-1")
    assert activation.get(on_two)["state"] == "reverting_rejected"
    sim.heal()
    activation.wait_for(on_two, "reverted")


def test_a_retry_on_another_port_blocks_the_one_that_failed(activation: ActivationUnderTest, sim: SimClient) -> None:
    leave_free(activation, "service-port:olt-2", 0)
    sim.refuse("olt-1", key="service-port/1/1/1", words="laser is broken", verbs=["write"])
    order_id = activation.place()
    activation.wait_for(order_id, "fallout")
    item = fallout(activation, order_id)
    assert item["what_was_tried"][-1]["ports"] == [{"element": "olt-1", "port": "1/1/1"}]
    assert item["standing"] == []
    with pytest.raises(Conflict, match="there is no other port, exhausted: service-port:olt-2"):
        activation.call("retry_fallout", str(order_id), by="kim", another_port=True)
    assert activation.get(order_id)["state"] == "fallout", "a refused retry changes nothing"
    assert activation.call("inventory")["blocked"] == []

    activation.sql("update resources set order_id = null, line = null where pool = 'service-port:olt-2'")
    activation.call("retry_fallout", str(order_id), by="kim", another_port=True)
    activation.wait_for(order_id, "provisioned")
    assert port_of(activation, order_id) == "olt-2 1/1/1", "the OLT that failed is left"
    (blocked,) = activation.call("inventory")["blocked"]
    assert (blocked["element"], blocked["port"], blocked["order_id"]) == ("olt-1", "1/1/1", None)
    assert blocked["why"] == f"kim wanted another port for order {order_id}: laser is broken"
    activation.handle(rejected(order_id))
    activation.wait_for(order_id, "reverted")
    sim.heal()
    other = activation.place()
    activation.wait_for(other, "provisioned")
    assert port_of(activation, other) == "olt-1 1/1/2"

    activation.call("unblock_port", "olt-1", "1/1/1", by="kim")
    with pytest.raises(Conflict, match="is not blocked"):
        activation.call("unblock_port", "olt-1", "1/1/1")
    activation.handle(rejected(other))
    activation.wait_for(other, "reverted")
    again = activation.place()
    activation.wait_for(again, "provisioned")
    assert port_of(activation, again) == "olt-1 1/1/1"


def test_where_another_element_failed_another_port_of_the_same_olt_will_do(
    activation: ActivationUnderTest, sim: SimClient
) -> None:
    leave_free(activation, "service-port:olt-2", 0)
    sim.refuse("bng-1", words="licence exhausted", verbs=["write"])
    order_id = activation.place()
    activation.wait_for(order_id, "fallout")
    sim.heal()
    activation.call("retry_fallout", str(order_id), by="kim", another_port=True)
    activation.wait_for(order_id, "provisioned")
    assert port_of(activation, order_id) == "olt-1 1/1/2"


def test_what_stands_on_the_former_port_is_put_back_when_its_olt_lets_it(
    activation: ActivationUnderTest, sim: SimClient
) -> None:
    order_id = stuck_on_its_port(activation, sim)
    assert sim.read("olt-1", "service-port/1/1/1")["subscriber"] == f"{order_id}-1"
    activation.call("retry_fallout", str(order_id), by="kim", another_port=True)
    activation.wait_for(order_id, "provisioned")
    assert port_of(activation, order_id) == "olt-2 1/1/1"
    assert sim.read("olt-1", "service-port/1/1/1") == {"subscriber": "old-1"}
    (blocked,) = activation.call("inventory")["blocked"]
    assert (blocked["port"], blocked["order_id"]) == ("1/1/1", None)
    assert activation.held("vlan:olt-1") == 0


def test_while_it_cannot_be_put_back_the_former_port_stays_the_orders_until_the_revert(
    activation: ActivationUnderTest, sim: SimClient
) -> None:
    order_id = stuck_on_its_port(activation, sim)
    sim.die("olt-1")
    activation.call("retry_fallout", str(order_id), by="kim", another_port=True)
    activation.wait_for(order_id, "provisioned")
    with pytest.raises(Conflict, match="may have left something on it"):
        activation.call("unblock_port", "olt-1", "1/1/1")
    assert activation.held("vlan:olt-1") == 1
    sim.heal()
    (extra,) = activation.call("audit", "olt-1")["elements"]["olt-1"]["extra"]
    assert (extra["key"], extra["do"], extra["order_id"]) == ("service-port/1/1/1", "put_back", str(order_id))
    activation.handle(rejected(order_id))
    activation.wait_for(order_id, "reverted")
    assert sim.entries() == {"olt-1": {"service-port/1/1/1": {"subscriber": "old-1"}}}
    assert (activation.held("vlan:olt-1"), activation.held("ip:bng-1")) == (0, 0)
    activation.call("unblock_port", "olt-1", "1/1/1")


def test_nothing_is_put_back_on_a_former_port_under_a_lease_that_is_gone(
    activation: ActivationUnderTest, sim: SimClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = stuck_on_its_port(activation, sim)
    tidy, found = Round._tidy, []

    def too_late(*asked: object) -> None:
        if not found:
            activation.sql("update activations set lease_until = now() - interval '1 second'")
        found.append(tidy(*asked) or sim.read("olt-1", "service-port/1/1/1"))

    monkeypatch.setattr(Round, "_tidy", too_late)
    activation.call("retry_fallout", str(order_id), by="kim", another_port=True)
    activation.wait_for(order_id, "provisioned")
    assert [stands["subscriber"] for stands in found] == [f"{order_id}-1", "old-1"], "put back under the next lease"


def stuck_on_its_port(activation: ActivationUnderTest, sim: SimClient) -> UUID:
    """An order in fallout on a port where `old-1` stood, which could not be put back; its elements well again."""
    sim.write("olt-1", "service-port/1/1/1", {"subscriber": "old-1"})
    leave_free(activation, "service-port:olt-2", 1)
    sim.refuse("bng-1", words="maintenance", verbs=["write"])
    order_id = new_id()
    # The port lets itself be written as the order needs it, and nothing else.
    sim.refuse("olt-1", key="service-port/1/1/1", words="port is busy", verbs=["write"])
    sim.hang("olt-1", key="service-port/1/1/1", verbs=["write"], effect=True, times=1)
    activation.handle(placed(order_id))
    activation.wait_for(order_id, "fallout")
    assert fallout(activation, order_id)["standing"]
    sim.heal()
    # What failed last is the OLT, whatever failed first.
    activation.sql("update activations set failed_element = 'olt-1' where order_id = :id", id=order_id)
    return order_id


def test_nothing_is_held_after_a_cancel_that_came_before_any_write(
    activation: ActivationUnderTest, sim: SimClient
) -> None:
    sim.die("olt-1")
    sim.die("olt-2")
    order_id = activation.place()
    wait_until(lambda: activation.get(order_id)["tried"], "a first failed try")
    activation.handle(cancel(order_id))
    sim.heal()
    activation.wait_for(order_id, "reverted")
    assert activation.held() == 0


def test_an_olt_that_hangs_holds_up_no_order_of_the_other_one(
    activation: ActivationUnderTest, sim: SimClient
) -> None:
    leave_free(activation, "service-port:olt-1", 0)
    sim.hang("olt-2")
    hanging = [activation.place() for _ in range(4)]
    on_it = (
        "select count(*) from activations where jsonb_array_length(tried) > 0"
        " or order_id in (select order_id from resources where pool = 'service-port:olt-2' and order_id is not null)"
    )
    wait_until(lambda: activation.sql(on_it)[0][0] == 4, "all four to be at work on olt-2")
    activation.sql("update resources set order_id = null, line = null where pool = 'service-port:olt-1'")
    order_id = activation.place()
    activation.wait_for(order_id, "provisioned")
    assert port_of(activation, order_id).startswith("olt-1")
    assert {activation.get(each)["state"] for each in hanging} <= {"provisioning", "fallout"}
