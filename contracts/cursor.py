"""Opaque cursors for lists: the key of the last item given, as URL-safe text (keyset paging)."""

from __future__ import annotations

import base64
import json

from contracts.errors import Invalid


def encode_cursor(*parts: str) -> str:
    """Return the cursor that means "after the item with this key"."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> tuple[str, ...]:
    """Return the key of `length` parts that `cursor` stands for; raise Invalid naming `cursor`."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, AttributeError, RecursionError):
        parts = None
    if not isinstance(parts, list) or len(parts) != length or not all(isinstance(part, str) for part in parts):
        raise bad_cursor()
    return tuple(parts)


def bad_cursor() -> Invalid:
    """The answer to a cursor that this list never gave."""
    return Invalid("the cursor is none of this list's", [{"field": "cursor", "message": "must come from next_cursor"}])
