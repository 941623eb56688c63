"""Promises of the drift audit: it finds exactly what differs, and a repair does exactly what was shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from eventlet.event import Event

from activation_svc.elements import Elements
from contracts.errors import Invalid, NotFound
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
    visit_cancelled,
)
from tests.harness.activation_shared import activation, process, sim
from tests.harness.databases import Databases
from tests.harness.elements import SimProcess
from tools import audit as command
from tools.nodes import Nodes
from tools.waiting import wait_until

__all__ = ["activation", "process", "sim"]

PORT = "service-port/1/1/1"


@pytest.fixture(scope="module")
def shared(databases: Databases, nodes: Nodes, process: SimProcess) -> Iterator[ActivationUnderTest]:
    with (
        own_nodes(databases, nodes) as uris,
        activation_under_test(*uris, process.client, process.port, inventory_of=TWO_OLTS) as running,
    ):
        yield running


@pytest.fixture
def order_id(activation: ActivationUnderTest) -> UUID:
    """An order with one internet line and one TV line on olt-1."""
    placed_id = activation.place(internet_500=1, tv_basic=1)
    activation.wait_for(placed_id, "provisioned")
    return placed_id


def differences(audit: dict[str, Any]) -> list[dict[str, Any]]:
    return command.differences(audit)


def short(audit: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [(found["element"], found["kind"], found["key"], found["do"]) for found in differences(audit)]


def test_what_is_as_it_should_be_shows_no_difference_and_what_was_never_ours_is_only_counted(
    activation: ActivationUnderTest, sim: SimClient, order_id: UUID
) -> None:
    sim.write("olt-2", "service-port/2/1/1", {"subscriber": "an old one"})
    sim.write("bng-1", "account/kim", {"check": [], "reply": [], "groups": []})
    audit = activation.call("audit")
    assert (differences(audit), audit["left_out"]) == ([], 0)
    counts = {name: (found["checked"], found["foreign"]) for name, found in audit["elements"].items()}
    assert counts == {"olt-1": (1, 0), "olt-2": (0, 1), "bng-1": (1, 1), "tv-1": (1, 0)}
    assert command.is_clean(audit)


def drift(sim: SimClient, order_id: UUID) -> None:
    """Somebody changes a port, deletes an account, and leaves entries of orders that are none any more."""
    port = sim.read("olt-1", PORT)
    assert port is not None
    sim.write("olt-1", PORT, port | {"vlan": 7, "line_profile": "internet-100"})
    sim.delete("bng-1", f"account/{order_id}-1")
    sim.write("tv-1", f"entitlement/{new_id()}-1", {"package": "tv-basic"})


def test_what_is_missing_extra_or_different_is_found_and_mended(
    activation: ActivationUnderTest, sim: SimClient, order_id: UUID
) -> None:
    before = sim.entries()
    drift(sim, order_id)
    audit = activation.call("audit")
    found = short(audit)
    assert found[:2] == [
        ("olt-1", "different", PORT, "write"), ("bng-1", "missing", f"account/{order_id}-1", "write"),
    ]  # fmt: skip
    assert (found[2][0], found[2][1], found[2][3]) == ("tv-1", "extra", "delete")
    assert len(found) == 3
    assert differences(audit)[0]["fields"] == ["line_profile", "vlan"]
    password = before["bng-1"][f"account/{order_id}-1"]["check"][0][2]
    assert password not in str(audit), "an audit tells no secret"

    repaired = activation.call("repair", differences(audit), by="kim")
    assert [item["done"] for item in repaired["items"]] == [True, True, True]
    assert sim.entries() == before
    assert command.is_clean(activation.call("audit"))
    again = activation.call("repair", differences(audit), by="kim")
    assert [item["done"] for item in again["items"]] == [True, True, True], "repeating it changes nothing"
    assert sim.entries() == before


def test_a_repair_leaves_alone_what_has_changed_since_the_audit(
    activation: ActivationUnderTest, sim: SimClient, order_id: UUID
) -> None:
    drift(sim, order_id)
    findings = differences(activation.call("audit"))
    sim.write("olt-1", PORT, {"subscriber": "somebody else"})
    (item,) = activation.call("repair", findings[:1], by="kim")["items"]
    assert (item["done"], item["why"]) == (False, "what stands there has changed since: audit again")
    activation.handle(rejected(order_id))
    wait_until(lambda: activation.get(order_id)["state"] == "reverted", "the revert")
    sim.write("olt-1", PORT, {"subscriber": "somebody else"})
    stands = sim.entries()
    items = activation.call("repair", findings[:2], by="kim")["items"]
    assert [item["done"] for item in items] == [False, False]
    assert {item["why"] for item in items} == {"what is wanted has changed since: audit again"}
    assert sim.entries() == stands


def test_a_repair_deletes_nothing_that_is_not_the_orders(activation: ActivationUnderTest, sim: SimClient) -> None:
    sim.write("olt-1", PORT, {"subscriber": "an old one"})
    stranger = f"{new_id()}-1"
    sim.write("olt-1", "service-port/1/1/2", {"subscriber": stranger})
    (finding,) = differences(activation.call("audit"))
    sim.write("olt-1", "service-port/1/1/3", {"subscriber": stranger})
    digest = finding["found"]
    forged = [finding | {"key": PORT}, finding | {"order_id": str(new_id())}]
    items = activation.call("repair", forged, by="kim")["items"]
    assert [item["done"] for item in items] == [False, False]
    assert digest and sim.read("olt-1", PORT) == {"subscriber": "an old one"}
    with pytest.raises(Invalid, match="those of an audit"):
        activation.call("repair", [{"element": "olt-1"}], by="kim")
    with pytest.raises(NotFound):
        activation.call("audit", "olt-9")


def test_an_element_that_cannot_be_read_is_named_and_the_others_are_compared(
    activation: ActivationUnderTest, sim: SimClient, order_id: UUID
) -> None:
    sim.die("olt-1")
    sim.delete("tv-1", f"entitlement/{order_id}-2")
    audit = activation.call("audit")
    assert set(audit["elements"]["olt-1"]) == {"unreachable"}
    assert short(audit) == [("tv-1", "missing", f"entitlement/{order_id}-2", "write")]
    assert not command.is_clean(audit)


def test_orders_that_are_worked_on_are_left_out(
    activation: ActivationUnderTest, sim: SimClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, may_go_on = Event(), Event()
    verify = Elements.verify

    def stopping_verify(elements: Elements, plans: Any) -> Any:
        if not reached.ready():
            reached.send()
            may_go_on.wait()
        return verify(elements, plans)

    monkeypatch.setattr(Elements, "verify", stopping_verify)
    order_id = activation.place(internet_500=1, tv_basic=1)
    reached.wait()
    audit = activation.call("audit")
    assert (differences(audit), audit["left_out"]) == ([], 1)
    may_go_on.send()
    activation.wait_for(order_id, "provisioned")
    assert activation.call("audit")["left_out"] == 0


def test_after_every_way_an_order_can_end_nothing_differs(activation: ActivationUnderTest, sim: SimClient) -> None:
    sim.write("olt-1", PORT, {"subscriber": "an old one", "vlan": 4000})
    orders = [activation.place(internet_100=1, tv_basic=1) for _ in range(4)]
    for order_id in orders:
        activation.wait_for(order_id, "provisioned")
    turned_down, withdrawn, *_ = orders
    activation.handle(rejected(turned_down), cancel(withdrawn))
    activation.handle(visit_cancelled(withdrawn))
    sim.refuse("bng-1", words="full", verbs=["write"])
    failed = activation.place()
    activation.wait_for(failed, "fallout")
    sim.heal()
    early = new_id()
    activation.handle(cancel(early), placed(early))
    for order_id in (turned_down, withdrawn):
        activation.wait_for(order_id, "reverted")
    audit = activation.call("audit")
    assert (differences(audit), audit["left_out"]) == ([], 0)
    assert sum(found["checked"] for found in audit["elements"].values()) == 2 * 3


class Proxy:
    """What `nameko`'s RPC proxy is to the command: methods that answer."""

    def __init__(self, activation: ActivationUnderTest) -> None:
        self._activation = activation

    def audit(self, element: str | None) -> dict[str, Any]:
        return dict(self._activation.call("audit", element))

    def repair(self, findings: list[dict[str, Any]], by: str) -> dict[str, Any]:
        return dict(self._activation.call("repair", findings, by=by))


def test_the_command_shows_its_plan_and_changes_nothing_without_a_yes(
    activation: ActivationUnderTest, sim: SimClient, order_id: UUID
) -> None:
    drift(sim, order_id)
    stands = sim.entries()
    said: list[str] = []
    assert command.run(Proxy(activation), None, repair=True, ask=lambda text: "no", say=said.append) == 1
    assert f"  bng-1 account/{order_id}-1: write what is planned" in said
    assert said[-1] == "nothing was changed"
    assert sim.entries() == stands
    assert command.run(Proxy(activation), None, repair=True, ask=lambda text: "yes", say=said.append) == 0
    assert f"  olt-1 {PORT}: done" in said
    assert command.run(Proxy(activation), "olt-1", repair=False, say=said.append) == 0
