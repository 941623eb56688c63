"""Reading ahead: the snapshot of a lone order is committed with its lease, and a slow element costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import eventlet
import pytest
from eventlet.event import Event

from activation_svc import ahead, leases, snapshots
from activation_svc.dependencies import NetworkProvider
from activation_svc.elements import Elements
from activation_svc.handover import Handover
from activation_svc.plan import Entry
from contracts.ids import new_id
from element_sim.client import SimClient
from tests.harness.activation import ActivationUnderTest, cancel, placed, rejected
from tests.harness.activation_shared import activation, process, shared, sim
from tools.waiting import wait_until

__all__ = ["activation", "process", "shared", "sim"]

PORT = {"admin": "down", "note": "예비"}


class Seen:
    """What the database said of the order when it was first written to an element; how often what was asked."""

    def __init__(self, activation: ActivationUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept: list[Any] = []
        self.reads: list[int] = []
        self.renewals: list[int] = []
        apply, snapshot, hold = Elements.apply, Elements.snapshot, leases.hold

        def noting_apply(elements: Elements, plans: Any) -> Any:
            left_s = "cast(extract(epoch from lease_until - clock_timestamp()) as float)"
            found = activation.sql(f"select snapshot, {left_s} from activations")
            self.kept += [tuple(row) for row in found]
            return apply(elements, plans)

        def noting_snapshot(elements: Elements, plans: Any) -> Any:
            self.reads.append(len(plans))
            return snapshot(elements, plans)

        def noting_hold(store: Any, owner: Any, works: Any) -> Any:
            self.renewals.append(len(works))
            return hold(store, owner, works)

        monkeypatch.setattr(Elements, "apply", noting_apply)
        monkeypatch.setattr(Elements, "snapshot", noting_snapshot)
        monkeypatch.setattr(leases, "hold", noting_hold)

    def stood_at(self, element: str) -> Any:
        """What the snapshot said of this element, when the first write was to begin."""
        snapshot, left_s = self.kept[0]
        assert left_s > 0
        return [entry["content"] for entry in snapshot if entry["element"] == element]


@contextmanager
def made_to_wait(activation: ActivationUnderTest, lock: str, seconds: float) -> Iterator[None]:
    """Somebody else takes this lock, and after the block keeps it until activation has waited for so long."""
    waiting = (
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        " and query_start < clock_timestamp() - make_interval(secs => :seconds)"
    )
    with activation.db.begin() as conn:
        conn.exec_driver_sql(lock)
        yield
        wait_until(lambda: activation.sql(waiting, seconds=seconds)[0][0], f"somebody has waited for {lock}")


@pytest.fixture
def seen(activation: ActivationUnderTest, monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(activation, monkeypatch)


def test_the_snapshot_of_a_lone_order_is_committed_with_its_lease_before_the_first_write(
    activation: ActivationUnderTest, sim: SimClient, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "WAIT_S", 5.0)
    sim.write("olt-1", "service-port/1/1/1", PORT)
    activation.wait_for(activation.place(internet_500=1, tv_basic=1), "provisioned")
    assert (seen.stood_at("olt-1"), seen.stood_at("bng-1"), seen.stood_at("tv-1")) == ([PORT], [None], [None])
    assert (seen.reads, seen.renewals) == ([1], []), "read once, and no transaction between commit and write"


def test_a_slow_element_does_not_hold_up_the_commit_and_is_read_once(
    activation: ActivationUnderTest, sim: SimClient, seen: Seen
) -> None:
    sim.write("olt-1", "service-port/1/1/1", PORT)
    sim.delay(0.5, "bng-1", times=1)
    order_id = activation.place()
    assert activation.get(order_id)["state"] == "provisioning", "it is committed"
    assert seen.kept == [], "though an element has not answered yet"
    activation.wait_for(order_id, "provisioned")
    assert (seen.stood_at("olt-1"), seen.stood_at("bng-1")) == ([PORT], [None])
    assert (seen.reads, seen.renewals) == ([1], [1])


def test_a_lease_that_is_not_fresh_any_more_is_renewed_before_the_write(
    activation: ActivationUnderTest, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "WAIT_S", 5.0)
    monkeypatch.setattr(ahead, "FRESH_S", 0.0)
    activation.wait_for(activation.place(), "provisioned")
    assert (seen.reads, seen.renewals) == ([1], [1])


def test_a_lease_is_as_old_as_its_date_however_long_its_order_then_waited_to_be_taken_in(
    activation: ActivationUnderTest, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "WAIT_S", 5.0)
    monkeypatch.setattr(ahead, "FRESH_S", 1.0)
    order_id = new_id()
    with made_to_wait(activation, "select pg_advisory_xact_lock(hashtext('activation inventory'))", 1.0):
        arriving = eventlet.spawn(activation.handle, placed(order_id))
    arriving.wait()
    activation.wait_for(order_id, "provisioned")
    assert (seen.reads, seen.renewals) == ([1], [1])


def test_nothing_is_written_under_a_lease_whose_renewal_had_to_wait(
    activation: ActivationUnderTest, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "SURE_S", 1.0)
    may_be_read = Event()
    snapshot: Callable[..., Any] = Elements.snapshot
    monkeypatch.setattr(Elements, "snapshot", lambda *asked: may_be_read.wait() or snapshot(*asked))
    order_id = activation.place()
    with made_to_wait(activation, "select from activations for update", 2.0):
        may_be_read.send()
    activation.wait_for(order_id, "provisioned")
    ((_, left_s),) = seen.kept
    assert left_s > leases.LEASE_S - 1.5
    assert (seen.reads, seen.renewals) == ([1], [1, 1]), "the snapshot was kept all the same"


def test_an_event_does_not_wait_where_the_last_place_for_work_was_taken_while_its_order_was_read(
    activation: ActivationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "WAIT_S", 5.0)
    (provider,) = (each for each in activation.container.dependencies if isinstance(each, NetworkProvider))
    groups = provider.get_dependency(None).groups
    snapshot: Callable[..., Any] = Elements.snapshot
    may_end, order_id = Event(), new_id()

    def filling(elements: Elements, plans: Any) -> Any:
        for _ in range(groups.free()):
            groups.spawn_n(may_end.wait)
        return snapshot(elements, plans)

    monkeypatch.setattr(Elements, "snapshot", filling)
    try:
        with eventlet.Timeout(10, AssertionError("the event waits for work on other orders")):
            activation.handle(placed(order_id))
    finally:
        may_end.send()
    activation.wait_for(order_id, "provisioned")


def test_an_element_that_refuses_to_be_read_costs_the_order_a_try_and_not_its_event(
    activation: ActivationUnderTest, sim: SimClient, seen: Seen
) -> None:
    sim.refuse("olt-1", "service-port/1/1/1", verbs=["read"], times=1)
    order_id = activation.place()
    found = wait_until(lambda: (now := activation.get(order_id))["attempts"] and now, "the failed try")
    assert (found["state"], seen.kept) == ("provisioning", [])
    activation.wait_for(order_id, "provisioned")
    assert seen.reads == [1, 1], "read again for the second try"


def test_a_defect_while_reading_ahead_is_not_the_events(
    activation: ActivationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot: Callable[..., Any] = Elements.snapshot
    defects: list[int] = []

    def broken_once(elements: Elements, plans: Any) -> Any:
        if not defects:
            defects.append(1)
            raise ZeroDivisionError("a defect here")
        return snapshot(elements, plans)

    monkeypatch.setattr(Elements, "snapshot", broken_once)
    order_id = activation.place()
    activation.wait_for(order_id, "provisioned")
    assert defects and activation.sql("select count(*) from parked_messages") == [(0,)]


def test_orders_that_come_together_are_read_together_and_not_ahead(
    activation: ActivationUnderTest, seen: Seen
) -> None:
    first, second = new_id(), new_id()
    activation.handle(placed(first), placed(second))
    for order_id in (first, second):
        activation.wait_for(order_id, "provisioned")
    assert (seen.reads, seen.renewals) == ([2], [2])


def test_a_process_that_is_killed_between_the_commit_and_the_write_leaves_a_snapshot_that_another_one_writes_under(
    activation: ActivationUnderTest, sim: SimClient, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "WAIT_S", 5.0)
    sim.write("olt-1", "service-port/1/1/1", PORT)
    before = sim.entries()
    with monkeypatch.context() as killed:
        killed.setattr(Handover, "hand", lambda handover, tx, works, go: None)
        order_id = activation.place()
    assert (sim.entries(), activation.sql("select snapshot is not null from activations")) == (before, [(True,)])
    activation.sql("update activations set lease_until = now() - interval '1 second'")
    activation.wait_for(order_id, "provisioned")
    assert seen.stood_at("olt-1") == [PORT]
    activation.handle(rejected(order_id))
    activation.wait_for(order_id, "reverted")
    assert (sim.entries(), seen.reads) == (before, [1]), "what was read before the kill is what came back"


def test_snapshots_are_stored_over_a_connection_that_is_not_the_services_own_as_well(
    activation: ActivationUnderTest,
) -> None:
    first, second = activation.place(), activation.place()
    for order_id in (first, second):
        activation.wait_for(order_id, "provisioned")
    stood = {first: (Entry("olt-1", "service-port/1/1/1", PORT),), second: (Entry("bng-1", "account/x", None),)}
    with activation.db.begin() as conn:  # as `reconcile` after a restore
        snapshots.store(conn, stood)
        snapshots.store(conn, {})
    for order_id, plan in stood.items():
        found = activation.sql("select snapshot from activations where order_id = :id", id=order_id)
        assert [Entry(**entry) for entry in found[0][0]] == list(plan)


def test_a_cancel_between_the_commit_and_the_write_puts_back_what_was_read_ahead(
    activation: ActivationUnderTest, sim: SimClient, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "WAIT_S", 5.0)
    sim.write("olt-1", "service-port/1/1/1", PORT)
    before = sim.entries()
    order_id = new_id()
    apply = Elements.apply

    def cancelled_first(elements: Elements, plans: Any) -> Any:
        if order_id in plans and activation.get(order_id)["state"] == "provisioning":
            activation.handle(cancel(order_id))
        return apply(elements, plans)

    monkeypatch.setattr(Elements, "apply", cancelled_first)
    activation.handle(placed(order_id))
    activation.wait_for(order_id, "reverted")
    assert (sim.entries(), activation.ports_held()) == (before, 0)
