"""The transactional outbox: events wait here, in the database, until the broker has confirmed them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from chassis import clock

if TYPE_CHECKING:
    from chassis.db import OutgoingEvent, Tx

RELAY = "outbox-relay"
"""The wake-up call of the relay."""


def add(
    conn: sa.Connection, table: sa.Table, exchange: str, events: Sequence[OutgoingEvent], now: datetime
) -> None:
    """Insert `events` in one statement, in this order."""
    conn.execute(
        table.insert(),
        [
            {
                "message_id": event.event_id,
                "order_id": event.order_id,
                "exchange": exchange,
                "routing_key": event.event_type,
                "headers": {},
                "body": event.encode(),
                "created_at": now,
            }
            for event in events
        ],
    )


def unsent(
    conn: sa.Connection,
    table: sa.Table,
    limit: int,
    but_ids: Sequence[int] = (),
    but_orders: Sequence[uuid.UUID] = (),
) -> list[sa.Row[Any]]:
    """The oldest messages that the broker has not confirmed, in the order in which they were written.

    Leaves out the messages `but_ids` and everything of `but_orders`. One relay at a time publishes for a database,
    whatever the number of replicas: two would not keep the order.
    """
    conn.execute(sa.text("select pg_advisory_xact_lock(hashtextextended('outbox-relay', 0))"))
    query = sa.select(table).where(table.c.sent_at.is_(None)).order_by(table.c.id).limit(limit)
    if but_ids:
        query = query.where(table.c.id != sa.all_(sa.cast(list(but_ids), pg.ARRAY(sa.BigInteger))))
    if but_orders:
        others = table.c.order_id != sa.all_(sa.cast(list(but_orders), pg.ARRAY(pg.UUID(as_uuid=True))))
        query = query.where(sa.or_(table.c.order_id.is_(None), others))
    return list(conn.execute(query))


def mark_sent(conn: sa.Connection, table: sa.Table, ids: Sequence[int], now: datetime) -> None:
    """Note that the broker has confirmed these."""
    conn.execute(table.update().where(table.c.id == sa.any_(sa.cast(list(ids), sa.ARRAY(sa.BigInteger)))),
                 {"sent_at": now})


def lag(conn: sa.Connection, table: sa.Table | None = None) -> dict[str, Any]:
    """How many messages wait and how old the oldest is: `{"unsent": int, "oldest_age_s": float | None}`."""
    row = conn.execute(
        sa.text(
            "select count(*) as unsent, extract(epoch from now() - min(created_at)) as age"
            " from outbox where sent_at is null"
        )
    ).one()
    return {"unsent": row.unsent, "oldest_age_s": None if row.age is None else round(float(row.age), 3)}


def republish(tx: Tx, order_id: str | uuid.UUID | None = None) -> int:
    """Send events again, of one order or all; consumers that know them skip them. Return how many.

    This is how a read model that was dropped gets its events back.
    """
    table = tx.tables.outbox
    statement = table.update().values(sent_at=None).where(table.c.sent_at.is_not(None), table.c.exchange != "")
    if order_id is not None:
        statement = statement.where(table.c.order_id == uuid.UUID(str(order_id)))
    count = tx.conn.execute(statement).rowcount
    tx.wake(RELAY)
    return int(count)


def of_order(conn: sa.Connection, order_id: uuid.UUID, limit: int) -> list[dict[str, Any]]:
    """The newest `limit` events that were sent, or wait to be, of one order; oldest first.

    Each as `{"message_id", "event_type", "at", "sent_at", "causation_id", "traceparent"}`; `sent_at` is None until
    the broker has confirmed it.
    """
    rows = conn.execute(
        sa.text(
            "select message_id, routing_key, body, created_at, sent_at from outbox"
            " where order_id = :order_id order by id desc limit :limit"
        ),
        {"order_id": order_id, "limit": limit},
    ).all()
    return [_sent(row) for row in reversed(rows)]


def _sent(row: sa.Row[Any]) -> dict[str, Any]:
    envelope = json.loads(bytes(row.body))
    return {
        "message_id": str(row.message_id),
        "event_type": row.routing_key,
        "at": clock.rfc3339(row.created_at),
        "sent_at": None if row.sent_at is None else clock.rfc3339(row.sent_at),
        "causation_id": envelope.get("causation_id"),
        "traceparent": envelope.get("traceparent"),
    }
