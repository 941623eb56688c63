"""An order's page before MyPage knows the order: built from the journal alone. Pure."""

from __future__ import annotations

from typing import Any

from contracts.rpc import OrderStatus
from gateway_svc.journal import Entry


def from_journal(entry: Entry, cancel: Entry | None) -> dict[str, Any]:
    """The page (`contracts.rpc.OrderPage`) of a journalled order; its version is 0, below any of MyPage's."""
    accepted_at = entry.accepted_at.isoformat().replace("+00:00", "Z")
    return {
        "order_id": str(entry.order_id),
        "status": status(entry, cancel),
        "customer": entry.body["customer"],
        "address": entry.body["address"],
        "items": entry.body["items"],
        "visit": None,
        "results": None,
        "rejection": None,
        "cancel_refused": False,
        "version": 0,
        "placed_at": None,
        "updated_at": accepted_at,
        "timeline": [{
            "at": accepted_at,
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
