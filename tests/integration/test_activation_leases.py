"""Promises about workers that die, stall or are overtaken in the middle: the outcome is still exactly one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from eventlet.event import Event

from activation_svc import leases
from activation_svc.commands import VisitAccepted
from activation_svc.elements import Elements
from activation_svc.handover import Handover
from activation_svc.models import Base
from activation_svc.provisioning import Round
from activation_svc.seed import seed
from activation_svc.service import SAGA
from chassis.db import store_of
from element_sim.client import SimClient
from tests.harness.activation import ActivationUnderTest, activation_under_test, cancel, placed, rejected
from tests.harness.containers import engine
from tests.harness.elements import SimProcess, simulator
from tools.paths import ROOT
from tools.waiting import wait_until


@pytest.fixture
def process(tmp_path: Any) -> Iterator[SimProcess]:
    with simulator(tmp_path / "elements") as running:
        yield running


@pytest.fixture
def sim(process: SimProcess) -> SimClient:
    return process.client


@pytest.fixture
def activation(
    database: Callable[[str], str], vhost: str, process: SimProcess
) -> Iterator[ActivationUnderTest]:
    with activation_under_test(database("activation"), vhost, process.client, process.port) as running:
        yield running


def test_a_crash_between_writing_and_recording_is_done_again_and_undone_exactly(
    activation: ActivationUnderTest, sim: SimClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.write("olt-1", "service-port/1/1/1", {"admin": "down"})
    record = Round._record
    crashes: list[int] = []

    def dies_once(self: Round, claimed: Any) -> None:
        if not crashes:
            crashes.append(1)
            raise MemoryError("killed here")
        record(self, claimed)

    monkeypatch.setattr(Round, "_record", dies_once)
    monkeypatch.setattr(Round, "_let_go", lambda self, claimed: None)
    order_id = activation.place()
    wait_until(lambda: crashes, "the crash")
    assert sim.read("olt-1", "service-port/1/1/1")["subscriber"] == f"{order_id}-1"
    assert activation.get(order_id)["state"] == "provisioning"
    activation.sql("update activations set lease_until = now() - interval '1 second'")
    activation.wait_for(order_id, "provisioned")
    assert activation.ports_held() == 1
    activation.handle(rejected(order_id))
    activation.wait_for(order_id, "reverted")
    assert sim.entries() == {"olt-1": {"service-port/1/1/1": {"admin": "down"}}}


class Halfway:
    """Stops the first worker between writing and reading back, until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.may_go_on, self.recorded = Event(), Event(), Event()
        verify, record = Elements.verify, Round._record
        first: list[Any] = []

        def stopping_verify(adapter: Elements, plans: Any) -> Any:
            if not first:
                first.append(dict(plans))
                self.reached.send()
                self.may_go_on.wait()
            return verify(adapter, plans)

        def noting_record(work_round: Round, claimed: Any) -> None:
            record(work_round, claimed)
            if {work.order_id for work in claimed} & set(first[0]) and not self.recorded.ready():
                self.recorded.send()

        monkeypatch.setattr(Elements, "verify", stopping_verify)
        monkeypatch.setattr(Round, "_record", noting_record)


def test_a_cancel_during_the_write_waits_for_it_and_then_puts_everything_back(
    activation: ActivationUnderTest, sim: SimClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.write("olt-1", "service-port/1/1/1", {"admin": "down"})
    before = sim.entries()
    halfway = Halfway(monkeypatch)
    order_id = activation.place(internet_500=1, tv_basic=1)
    halfway.reached.wait()
    activation.handle(cancel(order_id))
    assert activation.get(order_id)["state"] == "reverting_cancelled"
    other = activation.place()
    activation.wait_for(other, "provisioned")
    stands = sim.read("olt-1", "service-port/1/1/1")["subscriber"]
    assert stands == f"{order_id}-1", "no revert while the write may still run"
    activation.handle(rejected(other))
    activation.wait_for(other, "reverted")
    halfway.may_go_on.send()
    activation.wait_for(order_id, "reverted")
    assert sim.entries() == before
    assert activation.ports_held() == 0
    said = activation.sql("select routing_key from outbox where order_id = :id", id=order_id)
    assert [key for (key,) in said] == ["activation_reverted"]


@pytest.mark.parametrize("owner", ["'another'", "lease_owner"], ids=["another process", "a colleague"])
def test_a_worker_that_lost_its_lease_records_nothing(
    activation: ActivationUnderTest, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    halfway = Halfway(monkeypatch)
    order_id = activation.place()
    halfway.reached.wait()
    activation.sql(f"update activations set lease_owner = {owner}, lease_until = now() + interval '1 hour'")
    halfway.may_go_on.send()
    halfway.recorded.wait()
    assert activation.get(order_id)["state"] == "provisioning"
    activation.sql("update activations set lease_until = now() - interval '1 second'")
    activation.wait_for(order_id, "provisioned")


def test_an_order_that_somebody_moved_is_not_swapped_and_says_nothing(activation: ActivationUnderTest) -> None:
    first, moved = activation.place(), activation.place()
    store = store_of(activation.container)
    for order_id in (first, moved):
        activation.wait_for(order_id, "provisioned")
    leased = "lease_owner = 'us', lease_until = now() + interval '1 hour'"
    activation.sql(f"update activations set {leased}, visit_attempts = 1")
    with store.transaction() as tx:
        known = SAGA.load(tx, [first, moved])
    activation.handle(cancel(moved))
    activation.sql("delete from outbox")
    with store.single() as tx:
        _, changed, events = SAGA.effects(tx, known, [VisitAccepted(first), VisitAccepted(moved)])
        rows = [leases.released(row) for row in changed.values()]
        assert SAGA.swap(tx, list(known.values()), rows, events) == {first}
    assert (activation.get(first)["state"], activation.get(moved)["state"]) == ("active", "cancelling")
    said = activation.sql("select order_id, routing_key from outbox")
    assert [tuple(row) for row in said] == [(first, "activation_completed")]


@pytest.mark.parametrize("change", ["lease_owner = 'another'", "lease_until = now() + interval '2 hours'"])
def test_a_row_under_another_lease_is_not_swapped(activation: ActivationUnderTest, change: str) -> None:
    order_id = activation.place()
    store = store_of(activation.container)
    activation.wait_for(order_id, "provisioned")
    activation.sql("update activations set lease_owner = 'us', lease_until = now() + interval '1 hour'")
    with store.transaction() as tx:
        known = SAGA.load(tx, [order_id])
    activation.sql(f"update activations set {change}")
    with store.single() as tx:
        _, changed, events = SAGA.effects(tx, known, [VisitAccepted(order_id)])
        assert SAGA.swap(tx, list(known.values()), list(changed.values()), events) == set()
    assert activation.get(order_id)["state"] == "provisioned"


def test_a_transaction_of_one_question_holds_its_orders_and_is_undone_as_a_whole(
    activation: ActivationUnderTest,
) -> None:
    store = store_of(activation.container)
    order_id = activation.place()
    activation.wait_for(order_id, "provisioned")
    with store.single() as tx:
        tx.later("update activations set reason = %s", "noted")
        assert tx.conn.exec_driver_sql("select reason from activations").scalar_one() == "noted"
    assert activation.sql("select reason from activations") == [("noted",)]
    with pytest.raises(sa.exc.DBAPIError), store.single() as tx:
        tx.later("update activations set reason = 'gone'")
        tx.conn.exec_driver_sql("select 1 / 0")
    assert activation.sql("select reason from activations") == [("noted",)]
    with store.transaction() as holder, store.single() as other:
        holder.lock([order_id])
        holder.conn.exec_driver_sql("select 1")
        other.later("set local lock_timeout = '50ms'")
        other.lock([order_id])
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            other.conn.exec_driver_sql("select 1")


def test_a_restarted_instance_takes_up_at_once_what_its_killed_life_left(
    database: Callable[[str], str], vhost: str, process: SimProcess
) -> None:
    uri = database("activation")
    with activation_under_test(uri, vhost, process.client, process.port, INSTANCE_ID="act-1") as first:
        order_id = first.place()
        first.wait_for(order_id, "provisioned")
    with engine(uri) as db, db.begin() as conn:
        conn.execute(sa.text(
            "update activations set state = 'provisioning', next_attempt_at = now(), "
            "lease_owner = :owner, lease_until = now() + interval '1 hour'"
        ), {"owner": str(leases.Owner("act-1", os.getpid(), "an-earlier-life"))})
    with activation_under_test(uri, vhost, process.client, process.port, INSTANCE_ID="act-1") as second:
        second.wait_for(order_id, "provisioned")


def test_a_process_that_ends_lets_go_of_what_waits_in_it(
    database: Callable[[str], str], vhost: str, process: SimProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = database("activation")
    with activation_under_test(uri, vhost, process.client, process.port) as first:
        monkeypatch.setattr(Handover, "take", lambda handover, limit: [])
        order_id = first.place()
        assert first.sql("select lease_owner is not null from activations") == [(True,)]
    with engine(uri) as db, db.connect() as conn:
        assert conn.execute(sa.text("select lease_owner from activations")).all() == [(None,)]
    monkeypatch.undo()
    with activation_under_test(uri, vhost, process.client, process.port, INSTANCE_ID="another") as second:
        second.wait_for(order_id, "provisioned")


def test_what_was_handed_over_in_a_killed_process_is_found_when_its_lease_ends(
    activation: ActivationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handover, "hand", lambda handover, tx, works, go: None)
    order_id = activation.place()
    assert activation.get(order_id)["state"] == "provisioning"
    for state in ("provisioning", "provisioned"):
        wait_until(
            lambda state=state: activation.sql("select state from activations where lease_until > now()") == [(state,)],
            f"{state}, under a lease that nobody uses",
        )
        activation.sql("update activations set lease_until = now() - interval '1 second'")
    wait_until(lambda: activation.get(order_id)["visit_attempts"], "asked for, though nobody is there")


def test_leases_of_the_living_and_of_other_instances_are_left_alone(activation: ActivationUnderTest) -> None:
    me = leases.Owner("act-1", os.getpid(), "now")
    owners = {
        "dead": leases.Owner("act-1", 4_000_001, "then"),
        "living": leases.Owner("act-1", 4_000_002, "now"),
        "neighbour": leases.Owner("act-10", 4_000_001, "then"),
    }
    ids = {name: activation.place() for name in owners}
    for order_id in ids.values():
        activation.wait_for(order_id, "provisioned")
    for name, owner in owners.items():
        activation.sql(
            "update activations set lease_owner = :owner, lease_until = now() + interval '1 hour' where order_id = :id",
            owner=str(owner), id=ids[name],
        )
    with store_of(activation.container).transaction() as tx:
        assert leases.clear_dead(tx, me, lambda pid: pid == 4_000_002) == 1
    left = {owner for (owner,) in activation.sql("select lease_owner from activations where lease_owner like 'act-%'")}
    assert left == {str(owners["living"]), str(owners["neighbour"])}


def test_seeding_again_changes_nothing_and_keeps_holders(database: Callable[[str], str]) -> None:
    uri = database("activation")
    path = ROOT / "config" / "elements.yaml"
    ports, vlans, addresses = 2 * 8 * 16 * 64, 2 * 3900, 2**15 - 2
    assert seed(uri, path) == ports + vlans + addresses
    with engine(uri) as db, db.begin() as conn:
        conn.execute(sa.text("update resources set order_id = gen_random_uuid() where position = 1"))
    assert seed(uri, path) == 0
    with engine(uri) as db, db.begin() as conn:
        assert conn.execute(sa.text("select count(*) from resources where order_id is not null")).scalar() == 5


def test_migrated_tables_are_those_of_the_models(activation: ActivationUnderTest) -> None:
    inspector = sa.inspect(activation.db)
    for name, model in Base.metadata.tables.items():
        columns = {column["name"]: column["nullable"] for column in inspector.get_columns(name)}
        assert columns == {column.name: column.nullable for column in model.columns}, name
        indexes = {index["name"] for index in inspector.get_indexes(name)}
        assert {index.name for index in model.indexes} <= indexes, name


def test_a_message_delivered_twice_takes_effect_once(activation: ActivationUnderTest, sim: SimClient) -> None:
    order_id = activation.place()
    activation.wait_for(order_id, "provisioned")
    news = rejected(order_id)
    activation.handle(news, news)
    activation.handle(news)
    activation.wait_for(order_id, "reverted")
    activation.handle(placed(order_id))
    assert (activation.get(order_id)["state"], sim.entries()) == ("reverted", {})
