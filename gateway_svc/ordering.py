"""Placing, reading and cancelling orders at the gateway: what the API's routes and the pages do alike.

Holds no rule about orders (order_svc decides) and no HTTP: it joins the intake journal with the services behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from chassis import clock, tracing
from chassis.logging import get_logger
from chassis.rpc_client import CallFailed, RemoteFault, RpcClient
from contracts.errors import BY_NAME, Conflict, DomainError, Invalid, NotFound
from contracts.ids import new_id
from contracts.orders import OrderRequest, check_internet_quantity
from gateway_svc import elsewhere, journal_page
from gateway_svc.auth import Caller, subscriber
from gateway_svc.extensions import Limits
from gateway_svc.intake import Intake
from gateway_svc.journal import Entry

_log = get_logger(__name__)

NEVER_PLACED = ("failed", "dropped", "refused")
"""The states of a journalled order that order_svc does not have."""


class Counter(Protocol):
    """What is needed of the service whose counter orders come in over."""

    settings: dict[str, Any]
    intake: Intake
    limits: Limits
    order: RpcClient
    mypage: RpcClient


class Books(Protocol):
    """Where it is written which orders there are: our journal, and the order book."""

    intake: Intake
    order: RpcClient


@dataclass(frozen=True, slots=True)
class Taken:
    """An order that is on disk. `placed`: order_svc has it; else it is `accepted` and will be forwarded.

    `same`: whether it is the order that was just sent. With an idempotency key that was used before for another
    order, it is that earlier one.
    """

    order_id: UUID
    placed: bool
    same: bool
    accepted_at: datetime


def place(counter: Counter, order: OrderRequest, key: str | None, address: str) -> Taken:
    """Write the order down and wait a moment for order_svc. `key`: an idempotency key; `address`: who is limited.

    Raises TooManyRequests, Overloaded or Unavailable (nothing is accepted then), Invalid or Conflict naming what
    order_svc refuses.
    """
    counter.limits.order(address)
    check_internet_quantity(order.items, int(counter.settings["MIN_INTERNET_QUANTITY"]))
    fingerprint = hashlib.sha256(order.model_dump_json().encode()).hexdigest()
    entry = Entry(
        entry_id=new_id(), kind="order", order_id=new_id(), body=order.model_dump(mode="json"),
        accepted_at=clock.utc_now(), idempotency_key=key, fingerprint=fingerprint,
        traceparent=tracing.current_traceparent(),
    )
    stored = counter.intake.take(entry)
    _log.info("order_taken", order_id=str(stored.order_id), state=stored.state)
    same = stored.fingerprint == fingerprint
    if same and stored.answer is not None and stored.answer >= 400:
        raise _refusal(stored)
    placed = stored.answer == 201
    order_id = stored.stands_as if placed and stored.stands_as else stored.order_id
    return Taken(order_id, placed, same, stored.accepted_at)


def was_refused(counter: Counter, order_id: UUID) -> bool:
    """Whether this is a journalled order that came to nothing, and its sender was told so."""
    entry = counter.intake.journal.order(order_id)
    return entry is not None and entry.state in ("refused", "dropped")


def owner(counter: Counter, order_id: UUID, since: datetime) -> Caller:
    """The subscriber of this order, for as many days from `since` as SUBSCRIBER_TOKEN_DAYS says."""
    return subscriber(order_id, since, int(counter.settings.get("SUBSCRIBER_TOKEN_DAYS", 90)))


def standing(counter: Counter, order_id: UUID) -> UUID:
    """The id under which the order stands at order_svc."""
    entry = counter.intake.journal.order(order_id)
    return entry.stands_as if entry is not None and entry.stands_as is not None else order_id


def of_visit(
    books: Books, caller: Caller, order_id: UUID, ask: Callable[[str], Any], timeout_s: float | None = None
) -> Any:
    """What `ask` gets from scheduling_svc about the visit of this order.

    Two gateways that take one request give it an id each, and its subscriber may have the one that nobody else knows.
    Only where scheduling_svc does not know theirs is the id looked up under which the order stands, and asked about.
    Raises what `ask` raises, and CallFailed or RemoteFault where that id cannot be looked up.
    """
    try:
        return ask(str(order_id))
    except NotFound:
        stands_as = _looked_up(books, order_id, timeout_s) if caller.role == "subscriber" else order_id
        if stands_as == order_id:
            raise
    return ask(str(stands_as))


def _looked_up(books: Books, order_id: UUID, timeout_s: float | None) -> UUID:
    """The id under which the order stands, by our journal, or where another gateway has it, by the order book."""
    entry = books.intake.journal.order(order_id)
    if entry is not None:
        return entry.stands_as or order_id
    try:
        return UUID(books.order.call("get_order", timeout_s=timeout_s, order_id=str(order_id))["order_id"])
    except NotFound:
        return order_id


def page(counter: Counter, order_id: UUID, accepted_at: datetime | None = None) -> dict[str, Any]:
    """The order (`OrderPage`) from mypage or, before mypage knows it or while it cannot be asked, from the journal.

    `accepted_at`: its own subscriber asks, whose token says when it was accepted, here or at another gateway.
    Raises NotFound, or CallFailed or RemoteFault where the journal does not know it either.
    """
    try:
        found: dict[str, Any] = counter.mypage.call("get_order", order_id=str(standing(counter, order_id)))
        return found
    except (NotFound, CallFailed, RemoteFault) as failure:
        written = journalled(counter, order_id)
        if written is not None:
            return written
        if accepted_at is not None:
            return elsewhere.page(counter, order_id, accepted_at, failure)
        raise


def journalled(counter: Counter, order_id: UUID) -> dict[str, Any] | None:
    """The order as the journal alone knows it; None where it was written down elsewhere, or long ago."""
    journal = counter.intake.journal
    entry = journal.order(order_id)
    return None if entry is None else journal_page.from_journal(entry, journal.cancel(order_id))


def cancel(
    counter: Counter, order_id: UUID, reason: str, requested_by: str, timeout_s: float | None = None
) -> dict[str, Any]:
    """Ask for the cancellation; where order_svc cannot be reached it is journalled behind its order.

    Returns `{"order_id", "status"}`. Raises Conflict where the order is closed, NotFound where there is none.
    """
    wanted: dict[str, Any] = {"reason": reason, "requested_by": requested_by}
    entry = counter.intake.journal.order(order_id)
    if entry is not None and entry.state in NEVER_PLACED:
        raise Conflict("the order could not be placed, so there is nothing to cancel")
    order_id = entry.stands_as if entry and entry.stands_as else order_id
    if entry is not None and entry.state == "pending":
        return _note_cancel(counter.intake, order_id, wanted)
    try:
        answer: dict[str, Any] = counter.order.call(
            "cancel_order", timeout_s=timeout_s, order_id=str(order_id), **wanted
        )
        return answer
    except (CallFailed, RemoteFault):
        return _note_cancel(counter.intake, order_id, wanted)
    except DomainError as exc:
        is_on_its_way = isinstance(exc, NotFound) and elsewhere.vouched_for(requested_by, order_id)
        if exc.http_status < 500 and not is_on_its_way:
            raise
        return _note_cancel(counter.intake, order_id, wanted)


def _note_cancel(intake: Intake, order_id: UUID, wanted: dict[str, Any]) -> dict[str, Any]:
    """Write the cancel down behind its order; it is forwarded when the way is clear."""
    earlier = intake.journal.cancel(order_id)
    if earlier is None or earlier.state != "pending":
        intake.note(Entry(new_id(), "cancel", order_id, wanted, clock.utc_now()))
    return {"order_id": order_id, "status": "cancelling"}


def _refusal(entry: Entry) -> DomainError:
    """What order_svc said of this order when it came."""
    error = entry.error or {}
    return BY_NAME.get(str(error.get("error")), Invalid)(error.get("detail", ""), error.get("fields"))
