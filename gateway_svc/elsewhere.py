"""Orders that another gateway has taken and may still have in its journal, so that nobody else knows them yet.

A subscriber's token proves that the order was accepted. What follows from that is said and done here, instead of 404.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from chassis.rpc_client import CallFailed, RemoteFault, RpcClient
from contracts.errors import NotFound
from gateway_svc import journal_page
from gateway_svc.intake import Intake


class Counter(Protocol):
    """What is needed of the service."""

    intake: Intake
    order: RpcClient
    mypage: RpcClient


def page(
    counter: Counter, order_id: UUID, accepted_at: datetime, failure: Exception, timeout_s: float | None = None
) -> dict[str, Any]:
    """The page (`OrderPage`) of an accepted order that neither MyPage nor our journal could show.

    From the order book where it has arrived there, also under another id; else what the token proves. `failure` is
    what MyPage answered: raised again where nobody could be asked.
    """
    try:
        book: dict[str, Any] = counter.order.call("get_order", timeout_s=timeout_s, order_id=str(order_id))
    except NotFound:
        return journal_page.from_token(order_id, accepted_at, counter.intake.journal.cancel(order_id))
    except (CallFailed, RemoteFault):
        if not isinstance(failure, NotFound):
            raise failure from None
        return journal_page.from_token(order_id, accepted_at, counter.intake.journal.cancel(order_id))
    if book["order_id"] != str(order_id):
        try:
            found: dict[str, Any] = counter.mypage.call("get_order", timeout_s=timeout_s, order_id=book["order_id"])
            return found
        except (NotFound, CallFailed, RemoteFault):
            return journal_page.from_order_book(book)
    return journal_page.from_order_book(book)


def vouched_for(requested_by: str, order_id: UUID) -> bool:
    """Whether the order of a cancel exists although order_svc does not know it: its own subscriber asks."""
    return requested_by == f"subscriber:{order_id}"
