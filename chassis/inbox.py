"""The inbox: which messages have taken effect, so that a message delivered again is skipped."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from sqlalchemy.dialects import postgresql as pg

from chassis.db import Tx


def claim(tx: Tx, message_ids: Iterable[str]) -> set[str]:
    """Record these ids in this transaction and return those that were not known before."""
    values = [{"message_id": uuid.UUID(value), "received_at": tx.now} for value in dict.fromkeys(message_ids)]
    if not values:
        return set()
    table = tx.tables.inbox
    statement = pg.insert(table).values(values).on_conflict_do_nothing().returning(table.c.message_id)
    return {str(row.message_id) for row in tx.conn.execute(statement)}
