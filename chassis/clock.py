"""Time and ids as values that can be handed in, so that a test can fix them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from uuid6 import uuid7


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def new_uuid7() -> uuid.UUID:
    """A fresh UUIDv7 (RFC 9562)."""
    return uuid.UUID(bytes=uuid7().bytes)


def rfc3339(moment: datetime) -> str:
    """An aware moment as text, in UTC (RFC 3339)."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
