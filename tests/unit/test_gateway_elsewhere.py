"""Two gateways: what one has in its journal the other does not know, and nothing of it is lost for that."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from contracts.ids import new_id
from gateway_svc.intake import AHEAD_AT_MOST, AHEAD_EVERY
from gateway_svc.journal import Entry, Journal
from tests.harness.intake import Clock, OrderSvc, a_cancel, an_intake, an_order


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite3")
    yield opened
    opened.close()


def _from_its_subscriber() -> Entry:
    order_id = new_id()
    return a_cancel(order_id, by=f"subscriber:{order_id}")


def test_a_cancel_waits_for_an_order_that_another_gateway_still_has(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)
    cancel = journal.append(_from_its_subscriber())
    svc.unknown = {str(cancel.order_id)}
    intake.forward(svc)
    found = journal.by_entry_id(cancel.entry_id)
    assert found is not None
    assert (found.state, found.attempts) == ("pending", 1)

    svc.unknown = set()
    clock.now += AHEAD_EVERY
    intake.forward(svc)
    assert svc.cancelled == [str(cancel.order_id)]
    assert not journal.has_backlog


def test_while_it_waits_orders_behind_it_go_on_and_the_forwarder_does_not_spin(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)
    cancels = [journal.append(_from_its_subscriber()) for _ in range(150)]
    svc.unknown = {str(cancel.order_id) for cancel in cancels}
    assert intake.forward(svc) is True
    assert intake.forward(svc) is False, "every cancel was tried once; nothing more is to be done at once"
    order = journal.append(an_order())
    assert intake.forward(svc) is False
    assert svc.placed == [str(order.order_id)]
    clock.now += AHEAD_EVERY
    intake.forward(svc)
    tried_again = [entry for entry in journal.ahead(200) if entry.attempts == 2]
    assert 0 < len(tried_again) < len(cancels), "some at a time"


def test_a_cancel_whose_order_never_comes_is_shown_to_operators_after_a_day(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)
    cancel = journal.append(_from_its_subscriber())
    svc.unknown = {str(cancel.order_id)}
    intake.forward(svc)
    clock.now += AHEAD_AT_MOST + timedelta(seconds=1)
    intake.forward(svc)

    assert [entry.entry_id for entry in journal.failed(10)] == [cancel.entry_id]


@pytest.mark.parametrize("known_here", [True, False])
def test_an_order_that_nobody_vouches_for_or_that_was_refused_here_is_not_waited_for(
    journal: Journal, known_here: bool
) -> None:
    svc = OrderSvc()
    intake = an_intake(journal, svc)
    order = an_order()
    if known_here:
        svc.invalid = {str(order.order_id)}
        journal.append(order)
    by = f"subscriber:{order.order_id}" if known_here else "operator"
    cancel = journal.append(a_cancel(order.order_id, by=by))
    svc.unknown = {str(order.order_id)}
    while intake.forward(svc):
        pass

    found = journal.by_entry_id(cancel.entry_id)
    assert found is not None and found.state == "failed"


def test_a_waiting_cancel_counts_as_lag(journal: Journal) -> None:
    svc = OrderSvc()
    intake = an_intake(journal, svc)
    cancel = journal.append(_from_its_subscriber())
    svc.unknown = {str(cancel.order_id)}
    intake.forward(svc)

    assert intake.lag()["pending"] == 1
    assert intake.lag()["oldest_pending_at"] == cancel.accepted_at.isoformat()
