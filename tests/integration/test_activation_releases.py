"""Promises about leases that are gone: nothing is done under them, and only one's own are given back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from eventlet.event import Event

from activation_svc import leases
from activation_svc.dependencies import NetworkProvider
from activation_svc.elements import Elements
from activation_svc.handover import Handover
from activation_svc.provisioning import Round
from contracts.ids import new_id
from element_sim.client import SimClient
from tests.harness.activation import ActivationUnderTest, activation_under_test, placed, rejected
from tests.harness.activation_shared import activation, process, shared, sim
from tests.harness.containers import engine
from tests.harness.elements import SimProcess
from tools.waiting import wait_until

__all__ = ["activation", "process", "shared", "sim"]


class Stop:
    """Stops whoever is the first to have something to do in a step of these, until he may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, these: type[Any], step: str) -> None:
        self.reached, self.may_go_on, self.done = Event(), Event(), Event()
        original = getattr(these, step)

        def stopping(one: Any, todo: Any) -> Any:
            if not todo or self.reached.ready():
                return original(one, todo)
            self.reached.send()
            self.may_go_on.wait()
            outcome = original(one, todo)
            self.done.send()
            return outcome

        monkeypatch.setattr(these, step, stopping)


def leases_of(activation: ActivationUnderTest) -> dict[UUID, tuple[Any, Any]]:
    """Owner and end of each order's lease."""
    rows = activation.sql("select order_id, lease_owner, lease_until from activations")
    return {order_id: (owner, until) for order_id, owner, until in rows}


def provisioned_of(activation: ActivationUnderTest) -> Handover[Any]:
    """The way from the network to the visits, in the running process."""
    (provider,) = (each for each in activation.container.dependencies if isinstance(each, NetworkProvider))
    return provider.worker.provisioned


def fails_once(monkeypatch: pytest.MonkeyPatch, step: str) -> list[str]:
    """Let the next call of a step of a round fail. Returns what is no longer empty then."""
    original = getattr(Round, step)
    failed: list[str] = []

    def failing(work_round: Round, *args: Any) -> Any:
        if not failed:
            failed.append(step)
            raise OSError("the database does not answer")
        return original(work_round, *args)

    monkeypatch.setattr(Round, step, failing)
    return failed


@pytest.fixture
def let_go(activation: ActivationUnderTest, monkeypatch: pytest.MonkeyPatch) -> Event:
    """Is sent when the first round has tried to give back what it held, with the leases as they are then."""
    original: Callable[[Round, Any], None] = Round._let_go
    tried = Event()

    def noting(work_round: Round, claimed: Any) -> None:
        try:
            original(work_round, claimed)
        finally:
            if not tried.ready():
                tried.send(leases_of(activation))

    monkeypatch.setattr(Round, "_let_go", noting)
    return tried


def test_a_worker_that_cannot_record_leaves_the_lease_that_a_colleague_has_taken_meanwhile(
    activation: ActivationUnderTest, let_go: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Stop(monkeypatch, Elements, "verify")
    order_id = activation.place()
    first.reached.wait()
    colleague = Stop(monkeypatch, Elements, "apply")
    activation.sql("update activations set lease_until = now() - interval '1 second'")
    colleague.reached.wait()
    held = leases_of(activation)
    fails_once(monkeypatch, "_record")
    first.may_go_on.send()
    assert let_go.wait() == held, "the colleague writes under it"
    colleague.may_go_on.send()
    activation.wait_for(order_id, "provisioned")


def half_recorded(
    activation: ActivationUnderTest, sim: SimClient, monkeypatch: pytest.MonkeyPatch
) -> tuple[UUID, UUID]:
    """Two orders that are worked on together: the first is recorded as live, and then recording the second fails."""
    provisioned = provisioned_of(activation)
    wait_until(lambda: provisioned.room, "orders can be handed over")
    fine, failing = new_id(), new_id()
    sim.refuse("bng-1", f"account/{failing}-1", verbs=["write"], times=1)
    fails_once(monkeypatch, "_after_failure")
    activation.handle(placed(fine), placed(failing))
    return fine, failing


def test_a_lease_that_was_handed_over_with_its_record_is_not_given_back_with_the_rest(
    activation: ActivationUnderTest, sim: SimClient, let_go: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(provisioned_of(activation), "take", lambda limit: [])
        fine, failing = half_recorded(activation, sim, monkeypatch)
        found = let_go.wait()
    assert found[fine] != (None, None), "whoever asks for its visit works under it"
    assert found[failing] == (None, None)
    activation.wait_for(failing, "provisioned")


def test_where_nothing_can_be_given_back_either_lone_orders_go_straight_on_as_before(
    activation: ActivationUnderTest, sim: SimClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = fails_once(monkeypatch, "_let_go")
    _, failing = half_recorded(activation, sim, monkeypatch)
    wait_until(lambda: failed, "the round could not give back what it held")
    wait_until(lambda: provisioned_of(activation).is_idle, "nobody is said to be on the way any more", timeout_s=10)
    activation.sql("update activations set lease_until = now() - interval '1 second'")
    activation.wait_for(failing, "provisioned")


def test_nothing_is_put_back_under_a_lease_that_is_gone(
    activation: ActivationUnderTest, sim: SimClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    reverted = activation.place()
    activation.wait_for(reverted, "provisioned")
    late = Stop(monkeypatch, Round, "_put_back")
    activation.handle(rejected(reverted))
    late.reached.wait()
    activation.sql("update activations set lease_until = now() - interval '1 second'")
    activation.wait_for(reverted, "reverted")
    activation.wait_for(activation.place(), "provisioned")
    stands = sim.entries()
    late.may_go_on.send()
    late.done.wait()
    assert sim.entries() == stands, "what was put back is another order's by now"


def test_what_could_not_be_put_back_under_a_lease_that_lasts_is_put_back_by_the_next_round(
    activation: ActivationUnderTest, sim: SimClient, let_go: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_back: Callable[[Round, Any], None] = Round._put_back
    too_slow: list[Any] = []

    def slow_at_first(work_round: Round, works: Any) -> None:
        with monkeypatch.context() as patched:
            if works and not too_slow:
                too_slow.extend(works)
                patched.setattr(leases, "SURE_S", -1.0)
            put_back(work_round, works)

    monkeypatch.setattr(Round, "_put_back", slow_at_first)
    sim.refuse("bng-1", verbs=["write"])
    activation.wait_for(activation.place(), "fallout")
    assert (len(too_slow), sim.entries(), activation.ports_held()) == (1, {}, 0)
    assert not let_go.ready(), "and that is no failure of the round's"


def test_a_process_that_ends_leaves_a_lease_that_was_taken_since_its_order_began_to_wait(
    database: Callable[[str], str], vhost: str, process: SimProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = database("activation")
    with activation_under_test(uri, vhost, process.client, process.port) as first:
        monkeypatch.setattr(Handover, "take", lambda handover, limit: [])
        first.place()
        first.sql("update activations set lease_until = now() + interval '1 hour'")
    with engine(uri) as db, db.connect() as conn:
        assert conn.execute(sa.text("select lease_until > now() from activations")).all() == [(True,)]
