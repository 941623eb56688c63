"""Journalled requests that could not be forwarded for good, shown to operators like any parked message."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from contracts.cursor import bad_cursor, decode_cursor, encode_cursor
from gateway_svc.journal import Entry, Journal, Mark


def page(journal: Journal, limit: int, cursor: str | None) -> dict[str, Any]:
    """One page, oldest first, in the shape of the services' `list_parked`. Raises Invalid for a foreign cursor."""
    after = 0
    if cursor is not None:
        text = decode_cursor(cursor, 1)[0]
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise bad_cursor()
        after = int(text)
    entries = journal.failed(limit + 1, after)
    more = len(entries) > limit
    return {
        "items": [_item(entry) for entry in entries[:limit]],
        "next_cursor": encode_cursor(str(entries[limit - 1].seq)) if more else None,
    }


def act(journal: Journal, action: str, message_id: UUID) -> bool:
    """`replay_parked`: forward it again; `drop_parked`: give it up. False where it is not parked."""
    entry = journal.by_entry_id(message_id)
    if entry is None or entry.state != "failed":
        return False
    journal.mark([Mark(entry.entry_id, "pending" if action == "replay_parked" else "dropped", error=entry.error)])
    return True


def _item(entry: Entry) -> dict[str, Any]:
    error = entry.error or {}
    return {
        "message_id": str(entry.entry_id),
        "order_id": str(entry.order_id),
        "event_type": f"journalled_{entry.kind}",
        "queue": "journal",
        "error": f"{error.get('error', '')}: {error.get('detail', '')}",
        "attempts": entry.attempts,
        "parked_at": entry.accepted_at.isoformat(),
        "body": "",
    }
