"""Promises of what a restored service takes back: its own later events, each once, and never against the pivot."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from activation_svc.domain import Activation
from activation_svc.recall import recalled as recalled_activation_at
from contracts.events import EVENTS, Event
from contracts.ids import new_id
from fieldwork_svc.domain import Job
from fieldwork_svc.recall import recalled as recalled_job
from mypage_svc.domain import fact
from mypage_svc.recall import event_of
from order_svc.domain import Order
from order_svc.recall import Taken
from order_svc.recall import recalled as recalled_order
from scheduling_svc.domain import Visit
from scheduling_svc.recall import recalled as recalled_visit
from tests.harness.orders import place_order

ORDER = new_id()
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
CONTENT = {name: place_order()[name] for name in ("customer", "address", "items")}
VISIT: dict[str, Any] = CONTENT | {
    "window_start": "2026-11-27T00:00:00Z", "window_end": "2026-11-27T02:00:00Z",
    "technician_id": "tech-kim", "technician_name": "Kim",
}  # fmt: skip
RESULTS = {"ont_serial": "ABCD12345678", "rx_power_dbm": -20.5, "down_mbps": 480.0}


def told(event_type: str, order_id: UUID = ORDER, **payload: Any) -> Event:
    envelope = {"event_id": new_id(), "occurred_at": NOON, "order_id": order_id}
    return EVENTS[event_type].model_validate(envelope | payload)


def after(row: Any, recalled: Any, *events: Event) -> Any:
    for event in events:
        row = recalled(row, event)
    return row


def recalled_activation(row: Activation, event: Event) -> Activation:
    return recalled_activation_at(row, event, NOON)


@pytest.mark.parametrize("state", ["", "provisioning", "fallout", "provisioned"])
def test_an_activation_that_was_completed_since_passes_a_cancel_on_to_the_visit_that_stands(state: str) -> None:
    row = recalled_activation(Activation(ORDER, state=state, next_attempt_at=NOON), told("activation_completed"))
    assert (row.state, row.next_attempt_at) == ("active", None)
    cancelled = recalled_activation(row, told("activation_cancel_requested", reason="moving"))
    assert (cancelled.state, cancelled.reason) == ("cancelling", "moving")


def test_an_activation_that_was_put_back_since_is_put_back_for_good() -> None:
    row = after(Activation(ORDER), recalled_activation, told("activation_completed"),
                told("activation_reverted", outcome="cancelled", reason="moving"))
    assert (row.state, row.reason, row.lines) == ("reverted", "moving", [])
    assert recalled_activation(row, told("activation_completed")).state == "reverted"


def test_an_activation_that_failed_since_waits_for_an_operator() -> None:
    failed = told("activation_failed", reason="no such profile", element="bng-1", attempts=3)
    row = recalled_activation(Activation(ORDER, state="provisioning", next_attempt_at=NOON), failed)
    assert (row.state, row.last_error, row.failed_element, row.next_attempt_at) == (
        "fallout", "no such profile", "bng-1", None)
    assert row.stuck_since == NOON
    assert recalled_activation(Activation(ORDER, state="active"), failed).state == "active"


def test_an_order_comes_back_with_what_the_journal_knows_of_it() -> None:
    taken = Taken(datetime(2026, 11, 26, 11, tzinfo=UTC), "a-key")
    order = recalled_order(Order(ORDER), told("order_placed", **CONTENT), taken)
    assert (order.state, order.idempotency_key, order.accepted_at) == ("placed", "a-key", taken.accepted_at)
    assert order.customer["name"] == "김하늘"
    assert order.content_hash, "the same request again is the same order"


def test_an_order_without_a_journal_entry_was_accepted_when_it_was_placed() -> None:
    assert recalled_order(Order(ORDER), told("order_placed", **CONTENT)).accepted_at == NOON


def test_an_order_that_was_cancelled_since_is_cancelled() -> None:
    order = after(Order(ORDER, state="activated"), recalled_order,
                  told("order_cancel_requested", reason="moving"), told("order_cancelled", reason="moving"))
    assert (order.state, order.cancel_reason) == ("cancelled", "moving")


def test_news_of_an_order_that_was_never_placed_make_none() -> None:
    assert recalled_order(Order(ORDER), told("order_completed")).state == ""


def test_a_closed_order_stays_closed_as_it_is() -> None:
    assert recalled_order(Order(ORDER, state="completed"), told("order_cancelled")).state == "completed"


def test_a_job_that_was_done_since_is_done_with_its_results_and_its_technician() -> None:
    job = after(Job(ORDER), recalled_job, told("visit_scheduled", revision=2, **VISIT),
                told("fieldwork_completed", technician_id="tech-kim", results=RESULTS, note="fine"))
    assert (job.state, job.technician_id, job.revision, job.note) == ("completed", "tech-kim", 2, "fine")
    assert job.results["ont_serial"] == "ABCD12345678"
    assert job.closed_at == NOON


def test_a_job_that_was_rejected_or_withdrawn_since_is_so() -> None:
    rejected = recalled_job(
        Job(ORDER, state="started"), told("fieldwork_rejected", technician_id="tech-kim", reason_code="no_duct")
    )
    assert (rejected.state, rejected.reason_code) == ("rejected", "no_duct")
    assert recalled_job(Job(ORDER), told("fieldwork_cancelled")).state == "cancelled"
    assert recalled_job(rejected, told("fieldwork_cancelled")).state == "rejected", "the first decision stands"


def test_a_visit_that_was_agreed_since_is_agreed_and_an_older_agreement_changes_nothing() -> None:
    visit = recalled_visit(Visit(ORDER, state="requested"), told("visit_scheduled", revision=2, **VISIT))
    assert (visit.state, visit.technician_id, visit.revision) == ("scheduled", "tech-kim", 2)
    assert recalled_visit(visit, told("visit_scheduled", revision=1, **VISIT)) == visit


def test_a_visit_that_was_cancelled_since_is_cancelled() -> None:
    visit = after(Visit(ORDER, state="scheduled", revision=1), recalled_visit,
                  told("visit_cancel_requested", reason="moving"), told("visit_cancelled", reason="moving"))
    assert (visit.state, visit.cancel_reason) == ("cancelled", "moving")


def test_an_event_comes_back_from_mypage_as_it_was_sent() -> None:
    for event in (told("order_placed", **CONTENT), told("visit_scheduled", revision=1, **VISIT)):
        assert event_of(fact(event)) == event
