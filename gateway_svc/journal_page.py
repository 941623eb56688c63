"""An order's page before MyPage knows the order: built from the journal, a token or the order book alone. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.clock import rfc3339
from contracts.rpc import OrderStatus
from gateway_svc.journal import Entry

_NEEDS_MYPAGE = frozenset({"scheduled", "completed", "rejecting", "rejected"})
"""These go with the visit, the results, or the reason why."""


def from_journal(entry: Entry, cancel: Entry | None) -> dict[str, Any]:
    """The page (`contracts.rpc.OrderPage`) of a journalled order; its version is 0, below any of MyPage's."""
    return _page(entry.order_id, status(entry, cancel), entry.accepted_at, entry.body)


def from_token(order_id: UUID, accepted_at: datetime, cancel: Entry | None) -> dict[str, Any]:
    """The page of an order of which nothing is known here but that it was accepted: another gateway has it."""
    is_cancelled = cancel is not None and cancel.state in ("pending", "forwarded")
    return _page(order_id, "cancelling" if is_cancelled else "accepted", accepted_at, {})


def from_order_book(book: dict[str, Any]) -> dict[str, Any]:
    """The page of an order that MyPage does not know yet, as order_svc has it (`get_order`).

    A status that goes with facts which the order book does not hold is not shown without them.
    """
    stands: OrderStatus = "activated" if book["status"] in _NEEDS_MYPAGE else book["status"]
    return _page(UUID(book["order_id"]), stands, datetime.fromisoformat(book["accepted_at"]), book)


def _page(order_id: UUID, stands: OrderStatus, accepted_at: datetime, body: dict[str, Any]) -> dict[str, Any]:
    at = rfc3339(accepted_at)
    return {
        "order_id": str(order_id),
        "status": stands,
        "customer": body.get("customer"),
        "address": body.get("address"),
        "items": body.get("items", []),
        "visit": None,
        "results": None,
        "rejection": None,
        "cancel_refused": False,
        "version": 0,
        "placed_at": None,
        "updated_at": at,
        "timeline": [{
            "at": at,
            "event": "order_accepted",
            "text_ko": "주문을 접수했습니다",
            "text_en": "We have received your order",
            "details": {},
        }],
    }


def status(entry: Entry, cancel: Entry | None) -> OrderStatus:
    """Where a journalled order stands. One that order_svc would not take waits for a person: fallout."""
    if entry.state in ("failed", "refused", "dropped"):
        return "fallout"
    if cancel is not None and cancel.state in ("pending", "forwarded"):
        return "cancelling"
    return "accepted" if entry.state == "pending" else "placed"


def matches(page: dict[str, Any], wanted_status: str | None, phone: str | None) -> bool:
    """Whether a page passes the filters of the list."""
    customer = page.get("customer") or {}
    return (wanted_status is None or page["status"] == wanted_status) and (
        phone is None or customer.get("phone") == phone
    )
