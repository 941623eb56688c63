"""Things from long ago: ids made then, rows written then."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from chassis import clock
from chassis.db import store_of
from chassis.pruning import Pruner
from contracts.ids import new_id


def ago(days: float) -> datetime:
    return clock.utc_now() - timedelta(days=days)


def id_of(days: float) -> uuid.UUID:
    """A UUIDv7 as it was made so many days ago."""
    return uuid.UUID(int=clock.first_uuid7(ago(days)).int | (new_id().int & ((1 << 80) - 1)))


def pruner_of(container: Any) -> Pruner:
    return next(found for found in container.dependencies if isinstance(found, Pruner))


def put_outbox(
    container: Any, days: float, *, count: int = 1, sent_days: float | None = None, **more: Any
) -> list[Any]:
    """Rows that were written so many days ago and sent `sent_days` ago (None: not at all); their message ids."""
    ids = [id_of(days) for _ in range(count)]
    rows = [
        {"message_id": key, "order_id": id_of(days), "exchange": "oss.events", "routing_key": "order_placed",
         "headers": {}, "body": b"{}", "created_at": ago(days),
         "sent_at": None if sent_days is None else ago(sent_days)} | more
        for key in ids
    ]  # fmt: skip
    with store_of(container).transaction() as tx:
        tx.conn.execute(tx.tables.outbox.insert(), rows)
    return ids


def put_inbox(container: Any, days: float, ids: Sequence[uuid.UUID] | None = None, count: int = 1) -> list[Any]:
    """Ids of messages that took effect so many days ago."""
    known = list(ids or [id_of(days) for _ in range(count)])
    with store_of(container).transaction() as tx:
        tx.conn.execute(tx.tables.inbox.insert(), [{"message_id": key, "received_at": ago(days)} for key in known])
    return known


def column(container: Any, text: str, **values: Any) -> list[Any]:
    """The first column of what this finds."""
    with store_of(container).engine.connect() as conn:
        return list(conn.execute(sa.text(text), values).scalars())
