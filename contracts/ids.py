"""Identifiers: UUID version 7 (RFC 9562, section 5.7), so that ids sort by the time they were made."""

import uuid

from uuid6 import uuid7

from contracts.errors import NotFound

__all__ = ["is_uuid7", "new_id", "order_id_of"]


def new_id() -> uuid.UUID:
    """Return a fresh UUIDv7."""
    return uuid.UUID(bytes=uuid7().bytes)


def is_uuid7(text: str) -> bool:
    """Whether `text` is a UUIDv7 in its canonical, lower-case, hyphenated form."""
    try:
        value = uuid.UUID(text)
    except ValueError:
        return False
    return value.version == 7 and str(value) == text


def order_id_of(text: object) -> uuid.UUID:
    """The order id that a caller gave as text; raises NotFound where it is no UUID, so names no order."""
    try:
        return uuid.UUID(text)  # type: ignore[arg-type]
    except (ValueError, TypeError, AttributeError):
        raise NotFound("an order id is a UUID, this is none") from None
