"""The hint that an order's page has changed: mypage sends it, each gateway process listens (for SSE).

It is a hint and nothing more: transient, unconfirmed, and lost without harm. Who needs the page reads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from uuid import UUID

EXCHANGE = "mypage_changes"
"""A durable fanout exchange. A listener binds a queue of its own (exclusive, auto-delete, bounded)."""


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """`version` counts the distinct events the page is made of; it only grows."""

    order_id: UUID
    version: int

    def encode(self) -> bytes:
        return json.dumps({"order_id": str(self.order_id), "version": self.version}).encode()

    @classmethod
    def decode(cls, body: bytes) -> OrderChanged:
        """Raise ValueError where `body` is no such hint."""
        try:
            data = json.loads(body)
            return cls(UUID(data["order_id"]), int(data["version"]))
        except (KeyError, TypeError, AttributeError) as exc:
            raise ValueError(f"not a change hint: {exc}") from exc
