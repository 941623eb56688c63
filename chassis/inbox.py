"""The inbox: which messages have taken effect, so that a message delivered again is skipped."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from chassis import clock, dialect
from chassis.db import Tx
from chassis.models import chassis_tables

_INBOX = chassis_tables(sa.MetaData()).inbox

CLAIM = (
    "insert into inbox (message_id, received_at) select id, %s::timestamptz from unnest(%s::uuid[]) as id"
    " on conflict do nothing returning message_id"
)
"""Records messages that were received then, with these ids; returns those that were not known before."""


def claim(tx: Tx, message_ids: Iterable[str]) -> set[str]:
    """Record these ids in this transaction and return those that were not known before."""
    rows = tx.conn.exec_driver_sql(CLAIM, (tx.now, dialect.array(message_ids)))
    return {str(row.message_id) for row in rows}


def handled(conn: sa.Connection, message_ids: Sequence[uuid.UUID]) -> list[dict[str, Any]]:
    """Those of these messages that have taken effect, as `{"message_id", "at"}`, oldest first."""
    query = sa.select(_INBOX).where(dialect.among(conn, _INBOX.c.message_id, message_ids))
    rows = conn.execute(query.order_by(_INBOX.c.received_at, _INBOX.c.message_id))
    return [{"message_id": str(row.message_id), "at": clock.rfc3339(row.received_at)} for row in rows]
