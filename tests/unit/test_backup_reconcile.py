"""Promises of a restored activation to the network: what it does not remember is gone before it works again."""

from __future__ import annotations

from uuid import UUID

import pytest

from activation_svc.beliefs import Beliefs
from activation_svc.driver import Content
from activation_svc.plan import Entry, Plan
from activation_svc.reconcile import AT_ONCE, Believed, NotReconciled, carry_out, corrections, listed, stood_before
from contracts.ids import new_id
from tests.unit.test_activation_elements import Network

ONE, TWO = (UUID(f"01920000-0000-7000-8000-00000000000{number}") for number in (1, 2))
KINDS = {"olt-1": "olt", "olt-2": "olt", "bng-1": "bng", "tv-1": "tv"}
PORT = "service-port/1/1/1"
NOTHING = Believed(Beliefs())


def port(order: UUID, vlan: int = 101) -> Content:
    return {"subscriber": f"{order}-1", "vlan": vlan}


def plan_of(order: UUID, key: str = PORT, vlan: int = 101) -> Plan:
    return (Entry("olt-1", key, port(order, vlan)), Entry("bng-1", f"account/{order}-1", {"check": []}))


def live(**plans: Plan) -> Believed:
    by_order = {{"one": ONE, "two": TWO}[name]: plan for name, plan in plans.items()}
    return Believed(Beliefs(plans=by_order, before={order: {} for order in by_order}))


def reconcile(network: Network, believed: Believed) -> None:
    todo = corrections(KINDS, listed(network.elements, KINDS), believed)
    carry_out(network.elements, todo.removals)
    carry_out(network.elements, todo.writes)


def test_an_order_provisioned_after_the_backup_is_undone_wholly_when_it_is_reverted_later() -> None:
    network = Network()
    network.elements.apply({ONE: plan_of(ONE)})

    reconcile(network, NOTHING)
    snapshots, _ = network.elements.snapshot({ONE: plan_of(ONE)})
    network.elements.apply({ONE: plan_of(ONE)})
    network.elements.restore(snapshots)

    assert network.stands() == {}, "its own entry is not what stood there before"


def test_without_it_a_revert_would_leave_the_orders_own_entries() -> None:
    network = Network()
    network.elements.apply({ONE: plan_of(ONE)})

    snapshots, _ = network.elements.snapshot({ONE: plan_of(ONE)})
    network.elements.restore(snapshots)

    assert network.stands() != {}, "this is what reconciling is there for"


def test_a_recalled_orders_own_entry_is_not_what_stood_before_it_and_a_strangers_is() -> None:
    network = Network()
    network.elements.apply({ONE: plan_of(ONE)})
    stranger: Content = {"subscriber": "mrs-song", "vlan": 4001}
    network["olt-1"].stands["service-port/1/1/2"] = stranger
    wanted = (*plan_of(ONE), Entry("olt-1", "service-port/1/1/2", port(ONE)))

    [before] = stood_before(network.elements, KINDS, {ONE: wanted}).values()

    assert [entry.content for entry in before] == [None, None, stranger]


def test_an_element_is_never_asked_in_one_step_what_stood_before_all_orders() -> None:
    network, asked = Network(), []
    read = network["olt-1"].read
    network["olt-1"].read = lambda keys, deadline: asked.append(len(keys)) or read(keys, deadline)  # type: ignore[method-assign, func-returns-value]
    wanted = {new_id(): (Entry("olt-1", f"service-port/1/1/{at}", {}),) for at in range(2 * AT_ONCE + 1)}

    assert stood_before(network.elements, KINDS, wanted).keys() == wanted.keys()

    assert sum(asked) == len(wanted) and max(asked) == AT_ONCE


def test_what_an_order_holds_by_the_inventory_is_free_of_another_that_had_got_it_since() -> None:
    network = Network()
    network.elements.apply({TWO: plan_of(TWO)})

    reconcile(network, live(one=plan_of(ONE)))

    assert network.stands() == {"olt-1": {PORT: port(ONE)}, "bng-1": {f"account/{ONE}-1": {"check": []}}}


def test_what_is_in_the_way_goes_before_anything_is_written() -> None:
    network = Network()
    network.elements.apply({TWO: plan_of(TWO, "service-port/1/1/2")})
    network.log.clear()

    reconcile(network, live(one=plan_of(ONE, "service-port/1/1/3")))

    assert network.log.index("olt-1 service-port/1/1/2") < network.log.index("olt-1 service-port/1/1/3")


def test_a_place_where_an_order_under_way_may_have_written_is_its_snapshots_business() -> None:
    network = Network()
    network.elements.apply({ONE: plan_of(ONE)})

    reconcile(network, Believed(Beliefs(uncertain={ONE}), {ONE: {("olt-1", PORT): None}}))

    assert network.stands() == {"olt-1": {PORT: port(ONE)}}, "the account was no part of the snapshot, so it was later"


def test_what_never_was_an_orders_stays() -> None:
    network = Network()
    network["olt-1"].stands["service-port/9/9/9"] = {"subscriber": "mrs-song"}
    network["bng-1"].stands["account/mrs-song"] = {"check": [["Cleartext-Password", ":=", "magnolia"]]}
    before = network.stands()

    reconcile(network, NOTHING)

    assert network.stands() == before


def test_what_stood_on_a_former_port_before_the_order_is_put_back() -> None:
    network = Network()
    stranger: Content = {"subscriber": "mrs-song"}
    network["olt-1"].stands["service-port/1/1/7"] = port(ONE)
    believed = Believed(Beliefs(plans={ONE: ()}, before={ONE: {("olt-1", "service-port/1/1/7"): stranger}}))

    reconcile(network, believed)

    assert network.stands() == {"olt-1": {"service-port/1/1/7": stranger}}


def test_twice_is_as_good_as_once() -> None:
    network = Network()
    network.elements.apply({TWO: plan_of(TWO)})
    reconcile(network, live(one=plan_of(ONE)))
    todo = corrections(KINDS, listed(network.elements, KINDS), live(one=plan_of(ONE)))
    assert (todo.removals, todo.writes) == ((), ())


def test_an_element_that_does_not_answer_is_named_and_nothing_is_taken_for_done() -> None:
    network = Network()
    network["olt-2"].is_dead = True
    with pytest.raises(NotReconciled, match="olt-2 does not say what it holds: connection refused"):
        reconcile(network, NOTHING)


def test_an_entry_that_is_refused_is_named() -> None:
    network = Network()
    network["olt-1"].refuses.add(PORT)
    with pytest.raises(NotReconciled, match=f"olt-1 {PORT}: no such profile"):
        reconcile(network, live(one=plan_of(ONE)))
