"""Builders of orders and events for tests of one service."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from contracts import events
from contracts.ids import new_id


def place_order(order_id: uuid.UUID | None = None, **changes: Any) -> dict[str, Any]:
    """A valid `contracts.rpc.PlaceOrder` as JSON."""
    return {
        "order_id": str(order_id or new_id()),
        "accepted_at": datetime.now(UTC).isoformat(),
        "customer": {"name": "김하늘", "phone": "010-1234-5678"},
        "address": {"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1"},
        "items": [{"product": "internet-500", "quantity": 1}],
    } | changes


def an_event(cls: type[events.Event], order_id: uuid.UUID, **payload: Any) -> Any:
    """An event of this type with a fresh envelope."""
    return cls(event_id=new_id(), occurred_at=datetime.now(UTC), order_id=order_id, **payload)
