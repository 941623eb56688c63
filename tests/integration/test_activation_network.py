"""Promises about the network, against real elements: live where it should be, and put back exactly as it was."""

from __future__ import annotations

from uuid import UUID

import pytest

from contracts.errors import Conflict, Invalid, NotFound
from contracts.ids import new_id
from element_sim.client import SimClient
from tests.harness.activation import (
    ActivationUnderTest,
    cancel,
    placed,
    rejected,
    visit_cancelled,
)
from tests.harness.activation_shared import activation, process, shared, sim
from tools.waiting import wait_until

__all__ = ["activation", "process", "shared", "sim"]


def keys(sim: SimClient) -> set[str]:
    return {f"{element} {key}" for element, entries in sim.entries().items() for key in entries}


def fallouts(activation: ActivationUnderTest) -> dict[str, dict]:
    return {item["order_id"]: item for item in activation.call("list_fallouts")["items"]}


def live(order_id: UUID) -> set[str]:
    return {"olt-1 service-port/1/1/1", f"bng-1 account/{order_id}-1"}


def test_a_placed_order_is_live_on_every_element(activation: ActivationUnderTest, sim: SimClient) -> None:
    order_id = activation.place(internet_500=1, tv_basic=1)
    found = activation.wait_for(order_id, "provisioned")
    assert keys(sim) == live(order_id) | {f"tv-1 entitlement/{order_id}-2"}
    assert found["attempts"] == 0
    assert [(line["product"], line["port"]) for line in found["lines"]] == [
        ("internet-500", "1/1/1"), ("tv-basic", "1/1/1"),
    ]


def test_a_rejected_job_puts_back_what_was_there_before(activation: ActivationUnderTest, sim: SimClient) -> None:
    sim.write("olt-1", "service-port/1/1/1", {"admin": "down", "note": "예비", "since": [2019, 4]})
    sim.write("olt-1", "service-port/2/4/64", {"admin": "up"})
    before = sim.entries()
    order_id = activation.place(internet_500=2, tv_premium=3)
    activation.wait_for(order_id, "provisioned")
    assert sim.read("olt-1", "service-port/1/1/1")["subscriber"] == f"{order_id}-1"
    activation.handle(rejected(order_id))
    activation.wait_for(order_id, "reverted")
    assert sim.entries() == before
    assert activation.ports_held() == 0
    (reverted,) = activation.tap.heard("activation_reverted")
    assert (reverted.outcome, reverted.reason) == ("rejected", "no_duct: 막힘")


def test_a_refusal_waits_for_an_operator_with_the_elements_words(
    activation: ActivationUnderTest, sim: SimClient
) -> None:
    sim.refuse("bng-1", words="subscriber database is read-only", verbs=["write"])
    order_id = activation.place(internet_500=1)
    activation.wait_for(order_id, "fallout")
    assert sim.entries() == {}, "what was written is put back"
    assert activation.ports_held() == 0
    (failed,) = activation.tap.heard("activation_failed")
    assert (failed.reason, failed.element) == ("subscriber database is read-only", "bng-1")
    item = fallouts(activation)[str(order_id)]
    assert item["actions"] == ["retry", "retry_on_another_port", "abandon"]
    assert item["attempts"] == 2
    assert [tried["step"] for tried in item["what_was_tried"]] == ["apply", "apply"]

    sim.heal()
    assert activation.call("retry_fallout", str(order_id), by="operator")["state"] == "provisioning"
    activation.wait_for(order_id, "provisioned")
    assert keys(sim) == live(order_id)
    assert fallouts(activation) == {}
    with pytest.raises(Conflict, match="no fallout case"):
        activation.call("retry_fallout", str(order_id), by="operator")


def test_a_write_without_an_answer_is_settled_by_reading_back(activation: ActivationUnderTest, sim: SimClient) -> None:
    sim.hang("bng-1", verbs=["write"], effect=True)
    order_id = activation.place(internet_500=1)
    found = activation.wait_for(order_id, "provisioned")
    assert found["tried"] == []
    assert keys(sim) == live(order_id)


def test_an_element_that_is_back_before_patience_ends_is_provisioned(
    activation: ActivationUnderTest, sim: SimClient
) -> None:
    sim.die("bng-1")
    order_id = activation.place(internet_500=1)
    wait_until(lambda: activation.get(order_id)["tried"], "a first failed try")
    sim.heal()
    # It may have been the last try: then an operator's retry is what brings it to life.
    if activation.wait_for(order_id, "provisioned", "fallout")["state"] == "fallout":
        activation.call("retry_fallout", str(order_id))
    activation.wait_for(order_id, "provisioned")
    assert keys(sim) == live(order_id)


def test_a_revert_goes_on_until_its_element_is_back(activation: ActivationUnderTest, sim: SimClient) -> None:
    sim.write("olt-1", "service-port/1/1/1", {"admin": "down"})
    order_id = activation.place(internet_500=1)
    activation.wait_for(order_id, "provisioned")
    sim.die("bng-1")
    activation.handle(rejected(order_id))
    item = wait_until(lambda: fallouts(activation).get(str(order_id)), "the stuck revert among the fallouts")
    assert (item["state"], item["actions"], item["element"]) == ("reverting_rejected", [], "bng-1")
    assert activation.ports_held() == 1
    sim.heal()
    activation.wait_for(order_id, "reverted")
    assert sim.entries() == {"olt-1": {"service-port/1/1/1": {"admin": "down"}}}
    assert (fallouts(activation), activation.ports_held()) == ({}, 0)


def test_what_could_not_be_put_back_on_giving_up_is_put_back_when_abandoned(
    activation: ActivationUnderTest, sim: SimClient
) -> None:
    sim.refuse("olt-1", words="port is busy", verbs=["delete"])
    sim.refuse("bng-1", words="maintenance", verbs=["write"])
    order_id = activation.place(internet_500=1)
    activation.wait_for(order_id, "fallout")
    assert keys(sim) == {"olt-1 service-port/1/1/1"}, "the OLT would not let go of its port"
    assert activation.ports_held() == 1, "so nobody else may have it"
    assert fallouts(activation)[str(order_id)]["what_was_tried"][-1]["error"] == "port is busy"
    activation.call("abandon_fallout", str(order_id), by="operator", reason="no longer wanted")
    sim.heal()
    activation.wait_for(order_id, "reverted")
    assert (sim.entries(), activation.ports_held()) == ({}, 0)
    assert activation.tap.heard("activation_reverted")[0].reason == "no longer wanted"


def test_a_cancel_that_overtakes_its_order_leaves_the_network_alone(
    activation: ActivationUnderTest, sim: SimClient
) -> None:
    order_id = new_id()
    activation.handle(cancel(order_id))
    activation.handle(placed(order_id))
    assert activation.get(order_id)["state"] == "reverted"
    other = activation.place()
    activation.wait_for(other, "provisioned")
    assert keys(sim) == live(other)


def test_a_cancel_after_provisioning_waits_for_the_visit_to_be_cancelled(
    activation: ActivationUnderTest, sim: SimClient
) -> None:
    order_id = activation.place()
    activation.wait_for(order_id, "provisioned")
    activation.handle(cancel(order_id))
    activation.tap.heard("activation_cancel_requested")
    assert (activation.get(order_id)["state"], keys(sim)) == ("cancelling", live(order_id))
    activation.handle(visit_cancelled(order_id))
    activation.wait_for(order_id, "reverted")
    assert sim.entries() == {}
    assert activation.tap.heard("activation_reverted")[0].outcome == "cancelled"


def test_an_empty_pool_is_a_fallout_that_names_it(activation: ActivationUnderTest, sim: SimClient) -> None:
    ports = "pool = 'service-port:olt-1' and position > 1"
    activation.sql(f"update resources set order_id = gen_random_uuid() where {ports}")
    order_id = activation.place(internet_500=2)
    activation.wait_for(order_id, "fallout")
    item = fallouts(activation)[str(order_id)]
    # The second OLT is in the configuration, but nothing of it has been put into this inventory.
    assert item["reason"] == "exhausted: service-port:olt-1, service-port:olt-2, vlan:olt-2"
    assert (item["element"], item["actions"]) == ("inventory", ["retry", "abandon"])
    fits = activation.place(internet_500=1)
    activation.wait_for(fits, "provisioned")
    activation.sql(f"update resources set order_id = null where {ports}")
    activation.call("retry_fallout", str(order_id))
    activation.wait_for(order_id, "provisioned")


def test_many_orders_at_once_never_share_a_port(activation: ActivationUnderTest, sim: SimClient) -> None:
    orders = [new_id() for _ in range(150)]
    activation.handle(*(placed(order_id, internet_500=2, tv_basic=1) for order_id in orders))
    wait_until(
        lambda: activation.sql("select count(*) from activations where state = 'provisioned'")[0][0] == 150,
        lambda: str(activation.sql("select state, last_error, count(*) from activations group by 1, 2")),
    )
    entries = sim.entries()
    assert len([key for key in entries["olt-1"] if key.startswith("service-port/")]) == 300
    assert (len(entries["bng-1"]), len(entries["tv-1"]), activation.ports_held()) == (300, 150, 300)


def test_questions_that_make_no_sense_are_answered_as_such(activation: ActivationUnderTest) -> None:
    for unknown in (str(new_id()), "none", ""):
        for method in ("get_activation", "retry_fallout", "abandon_fallout"):
            with pytest.raises(NotFound):
                activation.call(method, unknown)
    for wrong in ({"limit": 0}, {"limit": 201}, {"limit": True}, {"cursor": "x"}):
        with pytest.raises(Invalid):
            activation.call("list_fallouts", **wrong)
