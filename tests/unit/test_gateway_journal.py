"""The journal keeps what was accepted; the intake forwards it in order, once in effect, and never lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import eventlet
import pytest
from eventlet.semaphore import Semaphore

from chassis.rpc_client import CallFailed, DeadlineExceeded, NoRoute, RemoteFault
from contracts.errors import Conflict, Invalid, Overloaded, Unavailable
from contracts.ids import new_id
from gateway_svc import pages, parked
from gateway_svc.intake import MAX_ATTEMPTS, Intake
from gateway_svc.journal import Entry, Journal, Mark

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
BODY = {"customer": {"name": "김하늘", "phone": "010-1234-5678"}, "address": {"postcode": "06236"}, "items": []}


class OrderSvc:
    """Stands in for order_svc: keeps what it placed, and fails as told."""

    def __init__(self) -> None:
        self.placed: list[str] = []
        self.keys: dict[str, str] = {}
        self.cancelled: list[str] = []
        self.calls: list[list[str]] = []
        self.down: Exception | None = None
        self.poison: set[str] = set()
        self.invalid: set[str] = set()
        self.before_answer: Callable[[], None] = lambda: None

    def call(self, method: str, **arguments: Any) -> Any:
        if self.down is not None:
            raise self.down
        if method == "cancel_order":
            if arguments["order_id"] in self.poison:
                raise Conflict("the order is closed")
            self.cancelled.append(arguments["order_id"])
            return {"order_id": arguments["order_id"], "status": "cancelling"}
        orders = arguments["orders"]
        self.calls.append([order["order_id"] for order in orders])
        if any(order["order_id"] in self.poison for order in orders):
            raise RemoteFault("order.place_orders: ValueError: poison")
        results = [self._place(order) for order in orders]
        self.before_answer()
        return results

    def _place(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["order_id"] in self.invalid:
            return {"order_id": order["order_id"], "status": "invalid", "error": Invalid("no").as_dict()}
        first = self.keys.setdefault(order["idempotency_key"] or order["order_id"], order["order_id"])
        if first not in self.placed:
            self.placed.append(first)
        return {"order_id": first, "status": "placed", "error": None}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    opened = Journal(path)
    yield opened
    opened.close()


def an_order(key: str | None = None, fingerprint: str = "f", order_id: UUID | None = None) -> Entry:
    return Entry(new_id(), "order", order_id or new_id(), BODY, NOW, key, fingerprint)


def a_cancel(order_id: UUID) -> Entry:
    return Entry(new_id(), "cancel", order_id, {"reason": "", "requested_by": "x"}, NOW)


def an_intake(journal: Journal, svc: OrderSvc, wait_s: float = 5.0, clock: Clock | None = None) -> Intake:
    """An intake whose wake-up runs the forwarder, one at a time, as the loop does."""
    wakes, turn = [0], Semaphore(1)

    def forward() -> None:
        with turn:
            if wakes[0]:
                wakes[0] = 0
                drain(intake, svc)

    def wake() -> None:
        wakes[0] += 1
        eventlet.spawn_n(forward)

    intake = Intake(journal, wake, clock or Clock(), wait_s)
    return intake


def drain(intake: Intake, svc: OrderSvc) -> None:
    while intake.forward(svc):
        pass


def test_what_was_accepted_is_there_after_a_restart(path: Path) -> None:
    first = Journal(path)
    entries = [first.append(an_order()) for _ in range(3)]
    # No close: the process died.
    second = Journal(path)

    assert [entry.order_id for entry in second.pending(10)] == [entry.order_id for entry in entries]
    assert second.pending(1)[0].body == BODY
    assert second.has_backlog
    first.close()
    second.close()


def test_many_appends_at_once_are_all_kept(journal: Journal) -> None:
    pool = eventlet.GreenPool(50)
    stored = list(pool.imap(journal.append, [an_order() for _ in range(50)]))

    assert {entry.order_id for entry in journal.pending(100)} == {entry.order_id for entry in stored}
    assert journal.lag()["pending"] == 50


def test_a_repeated_key_finds_the_first_entry(journal: Journal) -> None:
    first = journal.append(an_order("k"))
    again = journal.append(an_order("k", "another body"))

    assert again.order_id == first.order_id and again.fingerprint == "f"
    assert journal.lag()["pending"] == 1


def test_a_full_disk_is_an_honest_refusal_and_later_orders_are_taken_again(journal: Journal) -> None:
    kept = journal.append(an_order())
    pages_used = journal._writer.execute("pragma page_count").fetchone()[0]
    journal._writer.execute(f"pragma max_page_count = {pages_used}")
    big = {**BODY, "note": "x" * 100_000}
    with pytest.raises(Unavailable) as raised:
        journal.append(Entry(new_id(), "order", new_id(), big, NOW))
    assert raised.value.http_status == 503 and raised.value.retry_after_s

    journal._writer.execute("pragma max_page_count = 100000")
    more = journal.append(an_order())
    assert [entry.order_id for entry in journal.pending(10)] == [kept.order_id, more.order_id]


def test_a_backlog_has_an_end(path: Path) -> None:
    journal = Journal(path, max_pending=2)
    journal.append(an_order())
    journal.append(an_order())
    with pytest.raises(Overloaded):
        journal.append(an_order())
    journal.close()


def test_settled_entries_are_forgotten_after_their_time(journal: Journal) -> None:
    for _ in range(3):
        journal.append(an_order())
    done, failed, _ = journal.pending(3)
    journal.mark([Mark(done.entry_id, "forwarded"), Mark(failed.entry_id, "failed")])

    assert journal.purge(NOW - timedelta(days=1)) == 0
    assert journal.purge(NOW + timedelta(days=1)) == 1
    assert journal.order(done.order_id) is None and journal.order(failed.order_id) is not None


def test_an_order_is_placed_while_the_client_waits(journal: Journal) -> None:
    svc = OrderSvc()
    stored = an_intake(journal, svc).take(an_order())

    assert (stored.state, stored.answer) == ("forwarded", 201)
    assert svc.placed == [str(stored.order_id)]
    assert not journal.has_backlog


def test_orders_that_wait_together_travel_together(journal: Journal) -> None:
    svc = OrderSvc()
    intake = an_intake(journal, svc)
    stored = list(eventlet.GreenPool(30).imap(intake.take, [an_order() for _ in range(30)]))

    assert all(entry.answer == 201 for entry in stored)
    assert len(svc.calls) < 30
    assert sorted(svc.placed) == sorted(str(entry.order_id) for entry in stored)


def test_without_order_svc_the_order_is_accepted_and_forwarded_later_in_order(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    svc.down = NoRoute("order", "the service is not there", 1.0)
    intake = an_intake(journal, svc, clock=clock)
    stored = [intake.take(an_order()) for _ in range(5)]

    assert all(entry.state == "pending" and entry.answer is None for entry in stored)
    assert intake.is_blocked
    svc.down = None
    clock.now += timedelta(seconds=10)
    drain(intake, svc)
    assert svc.placed == [str(entry.order_id) for entry in stored]
    assert not intake.is_blocked and not journal.has_backlog


def test_a_blocked_way_is_not_tried_again_at_once(journal: Journal) -> None:
    svc = OrderSvc()
    svc.down = NoRoute("order", "gone", 2.0)
    intake = an_intake(journal, svc)
    intake.take(an_order())
    svc.down = None

    assert intake.forward(svc) is False
    assert svc.placed == []


def test_a_lost_answer_places_the_order_once(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)

    def lose_the_answer() -> None:
        raise DeadlineExceeded("order", "no answer", 1.0)

    svc.before_answer = lose_the_answer
    stored = intake.take(an_order())
    assert stored.state == "pending"
    svc.before_answer = lambda: None
    clock.now += timedelta(seconds=10)
    drain(intake, svc)
    assert svc.placed == [str(stored.order_id)]
    assert len(svc.calls) == 2


def test_the_same_key_gets_the_same_answer_whatever_has_happened_since(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)
    placed = intake.take(an_order("placed"))
    assert intake.take(an_order("placed")).answer == placed.answer == 201

    svc.down = NoRoute("order", "gone", 1.0)
    accepted = intake.take(an_order("accepted"))
    svc.down = None
    clock.now += timedelta(seconds=10)
    drain(intake, svc)
    again = intake.take(an_order("accepted"))
    assert again.order_id == accepted.order_id
    assert again.state == "forwarded" and again.answer is None, "it was answered 202, so it is answered 202 again"


def test_the_same_key_at_the_same_moment_is_one_order(journal: Journal) -> None:
    svc = OrderSvc()
    intake = an_intake(journal, svc)
    stored = list(eventlet.GreenPool(20).imap(intake.take, [an_order("k") for _ in range(20)]))

    assert len({entry.order_id for entry in stored}) == 1
    assert {entry.answer for entry in stored} == {201}
    assert len(svc.placed) == 1


def test_a_key_that_order_svc_knew_already_leads_to_the_first_order(journal: Journal) -> None:
    svc = OrderSvc()
    first = an_intake(journal, svc).take(an_order("k"))
    other = Journal(journal.path.with_name("other.sqlite3"))
    second = an_intake(other, svc).take(an_order("k"))

    assert second.stands_as == first.order_id
    assert len(svc.placed) == 1
    other.close()


def test_an_order_that_order_svc_refuses_is_told_or_parked(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)
    told = an_order()
    svc.invalid.add(str(told.order_id))
    assert (intake.take(told).state, intake.take(an_order()).state) == ("refused", "forwarded")

    later = an_order()
    svc.invalid.add(str(later.order_id))
    svc.down = NoRoute("order", "gone", 1.0)
    intake.take(later)
    svc.down = None
    clock.now += timedelta(seconds=10)
    drain(intake, svc)
    (item,) = parked.page(journal, 10, None)["items"]
    assert item["order_id"] == str(later.order_id)
    assert pages.from_journal(journal.failed(1)[0], None)["status"] == "fallout"

    svc.invalid.clear()
    assert parked.act(journal, "replay_parked", UUID(item["message_id"]))
    drain(intake, svc)
    assert str(later.order_id) in svc.placed
    assert not parked.act(journal, "drop_parked", UUID(item["message_id"]))


def test_one_poisonous_order_does_not_stop_the_others(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)
    orders = [an_order() for _ in range(3)]
    svc.poison.add(str(orders[1].order_id))
    for order in orders:
        journal.append(order)

    intake.forward(svc)
    assert svc.placed == [str(orders[0].order_id), str(orders[2].order_id)]
    for _ in range(MAX_ATTEMPTS):
        intake.note(an_order())
        clock.now += timedelta(seconds=10)
        intake.forward(svc)
    assert [entry.order_id for entry in journal.failed(10)] == [orders[1].order_id]


def test_a_defect_of_the_whole_service_makes_no_order_fail(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    svc.down = RemoteFault("order.place_orders: OperationalError: no database")
    intake = an_intake(journal, svc, clock=clock)
    for _ in range(2 * MAX_ATTEMPTS):
        journal.append(an_order())
        intake.forward(svc)
        clock.now += timedelta(seconds=10)
    assert journal.lag()["failed"] == 0
    svc.down = None
    drain(intake, svc)
    assert len(svc.placed) == 2 * MAX_ATTEMPTS


def test_a_journalled_cancel_follows_its_order(journal: Journal) -> None:
    svc, clock = OrderSvc(), Clock()
    intake = an_intake(journal, svc, clock=clock)
    svc.down = NoRoute("order", "gone", 1.0)
    order = intake.take(an_order())
    intake.note(a_cancel(order.order_id))
    assert pages.from_journal(order, journal.cancel(order.order_id))["status"] == "cancelling"
    svc.down = None
    clock.now += timedelta(seconds=10)
    drain(intake, svc)
    assert svc.placed == svc.cancelled == [str(order.order_id)]


def test_a_cancel_that_came_too_late_is_shown_to_operators(journal: Journal) -> None:
    svc = OrderSvc()
    intake = an_intake(journal, svc)
    order_id = new_id()
    svc.poison.add(str(order_id))
    journal.append(a_cancel(order_id))
    drain(intake, svc)
    (item,) = parked.page(journal, 10, None)["items"]
    assert "closed" in item["error"]


def test_parked_pages_follow_each_other(journal: Journal) -> None:
    for _ in range(5):
        journal.append(an_order())
    journal.mark([Mark(entry.entry_id, "failed") for entry in journal.pending(5)])
    first = parked.page(journal, 3, None)
    second = parked.page(journal, 3, first["next_cursor"])
    assert len(first["items"]) == 3 and len(second["items"]) == 2 and second["next_cursor"] is None
    with pytest.raises(Invalid):
        parked.page(journal, 3, "nonsense")


def test_call_failed_is_what_the_intake_waits_out() -> None:
    assert issubclass(NoRoute, CallFailed)
