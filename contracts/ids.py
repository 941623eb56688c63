"""Identifiers: UUID version 7 (RFC 9562, section 5.7), so that ids sort by the time they were made."""

import uuid

from uuid6 import uuid7

__all__ = ["is_uuid7", "new_id"]


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
