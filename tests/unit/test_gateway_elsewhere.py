"""Two gateways: what one has in its journal the other does not know, and nothing of it is lost for that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from chassis.rpc_client import NoRoute
from contracts.errors import NotFound
from contracts.ids import new_id
from contracts.rpc import OrderPage
from gateway_svc import elsewhere, ordering
from gateway_svc.auth import Caller, Tokens, subscriber
from gateway_svc.intake import AHEAD_AT_MOST, AHEAD_EVERY
from gateway_svc.journal import Entry, Journal, Mark
from tests.harness.intake import NOW, Clock, OrderSvc, a_cancel, an_intake, an_order


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


class Remote:
    """Stands in for a service behind RPC: the answer, or the error, of each order id."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.down: Exception | None = None

    def call(self, method: str, *, order_id: str, **arguments: Any) -> Any:
        if self.down is not None:
            raise self.down
        if order_id not in self.answers:
            raise NotFound(f"there is no order {order_id}")
        return self.answers[order_id]


@dataclass
class Gateway:
    """What `elsewhere.page` needs of the service."""

    intake: Any
    order: Any
    mypage: Any


UNKNOWN = NotFound("MyPage does not know it")
AWAY = NoRoute("mypage", "gone", 1.0)


@pytest.fixture
def gateway(journal: Journal) -> Gateway:
    return Gateway(an_intake(journal, OrderSvc()), Remote(), Remote())


def _book(order_id: UUID, **changes: Any) -> dict[str, Any]:
    return {
        "order_id": str(order_id), "status": "placed", "customer": {"name": "김하늘", "phone": "010-1234-5678"},
        "address": {"postcode": "06236", "line1": "서울"}, "items": [{"product": "internet-500", "quantity": 1}],
        "accepted_at": NOW.isoformat(),
    } | changes  # fmt: skip


def test_an_accepted_order_that_only_another_gateway_has_is_shown_as_accepted(gateway: Gateway) -> None:
    order_id = new_id()
    page = OrderPage.model_validate(elsewhere.page(gateway, order_id, NOW, UNKNOWN))

    assert (page.order_id, page.status, page.customer, page.version) == (order_id, "accepted", None, 0)
    assert page.timeline[0].at == NOW


def test_its_cancel_that_was_noted_here_is_shown(gateway: Gateway, journal: Journal) -> None:
    cancel = journal.append(_from_its_subscriber())

    assert elsewhere.page(gateway, cancel.order_id, NOW, UNKNOWN)["status"] == "cancelling"


def test_what_the_order_book_has_already_is_shown_before_mypage_has_it(gateway: Gateway) -> None:
    order_id = new_id()
    gateway.order = Remote(**{str(order_id): _book(order_id)})
    page = OrderPage.model_validate(elsewhere.page(gateway, order_id, NOW, AWAY))

    assert page.status == "placed"
    assert page.customer is not None and page.customer.name == "김하늘"


@pytest.mark.parametrize(
    ("status", "shown"),
    [("activated", "activated"), ("scheduled", "activated"), ("completed", "activated"), ("cancelled", "cancelled")],
)
def test_the_order_book_s_status_is_not_shown_without_the_facts_that_go_with_it(
    gateway: Gateway, status: str, shown: str
) -> None:
    order_id = new_id()
    gateway.order = Remote(**{str(order_id): _book(order_id, status=status)})

    assert elsewhere.page(gateway, order_id, NOW, UNKNOWN)["status"] == shown


def test_an_order_that_stands_under_another_id_is_shown_as_that_one(gateway: Gateway) -> None:
    first, second = new_id(), new_id()
    gateway.order = Remote(**{str(second): _book(first)})
    assert elsewhere.page(gateway, second, NOW, UNKNOWN)["order_id"] == str(first)

    gateway.mypage = Remote(**{str(first): {"order_id": str(first), "status": "scheduled"}})
    assert elsewhere.page(gateway, second, NOW, UNKNOWN)["status"] == "scheduled"


def test_where_nobody_can_be_asked_nothing_is_made_up(gateway: Gateway) -> None:
    gateway.order.down = NoRoute("order", "gone", 1.0)
    with pytest.raises(NoRoute, match="mypage"):
        elsewhere.page(gateway, new_id(), NOW, AWAY)
    # MyPage has answered: it has not heard of the order, so the order has got no further.
    assert elsewhere.page(gateway, new_id(), NOW, UNKNOWN)["status"] == "accepted"


def _visits(*order_ids: UUID) -> Callable[[str], Any]:
    """Stands in for scheduling_svc, which has visits of these orders."""
    remote = Remote(**{str(order_id): order_id for order_id in order_ids})
    return lambda order_id: remote.call("get_visit", order_id=order_id)


STAFF = Caller("dispatcher", "dispatcher", NOW + timedelta(hours=1))


@pytest.mark.parametrize("known_by", ["order book", "journal"])
def test_the_visit_of_an_order_is_found_under_its_further_id(
    gateway: Gateway, journal: Journal, known_by: str
) -> None:
    first, second = new_id(), new_id()
    if known_by == "journal":
        entry = journal.append(an_order(order_id=second))
        journal.mark([Mark(entry.entry_id, "forwarded", 201, stands_as=first)])
    else:
        gateway.order = Remote(**{str(second): _book(first)})
    owner = subscriber(second, NOW, 90)

    assert ordering.of_visit(gateway, owner, second, _visits(first)) == first


def test_the_order_book_is_not_asked_where_the_visit_is_known_or_a_member_of_staff_asks(gateway: Gateway) -> None:
    order_id = new_id()
    gateway.order.down = AssertionError("asked")

    assert ordering.of_visit(gateway, subscriber(order_id, NOW, 90), order_id, _visits(order_id)) == order_id
    with pytest.raises(NotFound):
        ordering.of_visit(gateway, STAFF, order_id, _visits())


def test_an_order_without_a_visit_is_told_apart_from_one_that_nobody_could_look_up(gateway: Gateway) -> None:
    order_id = new_id()
    owner = subscriber(order_id, NOW, 90)
    for known in ({}, {str(order_id): _book(order_id)}):
        gateway.order = Remote(**known)
        with pytest.raises(NotFound):
            ordering.of_visit(gateway, owner, order_id, _visits())
    gateway.order.down = NoRoute("order", "gone", 1.0)
    with pytest.raises(NoRoute):
        ordering.of_visit(gateway, owner, order_id, _visits())


def test_only_an_order_s_own_subscriber_vouches_for_it() -> None:
    order_id = new_id()

    assert elsewhere.vouched_for(f"subscriber:{order_id}", order_id)
    assert not elsewhere.vouched_for(f"subscriber:{new_id()}", order_id)
    assert not elsewhere.vouched_for("operator", order_id)


def test_a_subscriber_s_token_says_when_the_order_was_accepted_and_a_member_of_staff_s_does_not() -> None:
    tokens, order_id = Tokens(["k" * 32]), new_id()
    owner = tokens.read(tokens.issue(subscriber(order_id, NOW, 90), NOW), NOW)
    staff = tokens.read(tokens.issue(Caller("operator", "operator", NOW + timedelta(hours=1)), NOW), NOW)

    assert (owner.accepted_at, staff.accepted_at) == (NOW, None)
