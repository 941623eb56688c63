"""The transactional outbox: events wait here, in the database, until the broker has confirmed them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from chassis import clock, dialect
from chassis.connection import prepared
from chassis.models import chassis_tables
from chassis.straight import FEW, Message

if TYPE_CHECKING:
    from chassis.db import OutgoingEvent, Tx

RELAY = "outbox-relay"
"""The wake-up call of the relay, and the lock of the one that publishes."""

_OUTBOX = chassis_tables(sa.MetaData()).outbox
_LAG = sa.select(sa.func.count(), sa.func.min(_OUTBOX.c.created_at)).where(_OUTBOX.c.sent_at.is_(None))


ADD = (
    "insert into outbox (message_id, order_id, exchange, routing_key, headers, body, created_at)"
    " select message_id, order_id, %s::text, routing_key, '{}', convert_to(body, 'UTF8'), %s::timestamptz"
    " from unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[]) with ordinality"
    " as event(message_id, order_id, routing_key, body, position)"
)
"""Takes what `values_of` gives. What follows it may leave some events out, and ends with ORDERED."""
ORDERED = " order by position"
_ADD = prepared(ADD + ORDERED)
_SENT = prepared("update outbox set sent_at = %s::timestamptz where id = any(%s::bigint[])")
_UNSENT = prepared(
    "select id, message_id, order_id, exchange, routing_key, headers, body from outbox where sent_at is null"
    " and id <> all(%s::bigint[]) and (order_id is null or order_id <> all(%s::uuid[])) order by id limit %s::int"
)


def add(tx: Tx, exchange: str, events: Sequence[OutgoingEvent]) -> None:
    """Insert `events`, in this order."""
    tx.later(_ADD, *values_of(tx, exchange, events))


def values_of(tx: Tx, exchange: str, events: Sequence[OutgoingEvent]) -> tuple[Any, ...]:
    """The values of ADD for these events."""
    return (
        exchange, tx.now, dialect.array(event.event_id for event in events),
        dialect.array(event.order_id for event in events), [event.event_type for event in events],
        [event.encode().decode() for event in events],
    )  # fmt: skip


def saying(change: str) -> str:
    """A statement that writes orders and returns their ids, with the events of just these orders, of those it is given.

    It takes what `change` takes and `saying_of`, and gives what `told` takes: for each order that was written a row for
    each of its events, or one without.
    """
    return prepared(
        f"with written as ({change}), said as ("
        f"{ADD} where order_id in (select order_id from written){ORDERED} returning id, message_id, order_id)"
        " select written.order_id, said.id, said.message_id, not %s::bool or exists (select from outbox as earlier"
        # Not `sent_at is null`: only the index of the order is to serve, also where very many messages wait.
        "  where earlier.order_id = written.order_id and coalesce(earlier.sent_at, 'infinity') = 'infinity'"
        " ) as is_behind from written left join said using (order_id) order by said.id"
    )


def saying_of(tx: Tx, events: Sequence[OutgoingEvent]) -> tuple[Any, ...]:
    """The values of such a statement for these events. Of more than a few it is not asked what waits before them."""
    return *values_of(tx, tx.exchange, events), len(events) <= FEW


def told(tx: Tx, events: Sequence[OutgoingEvent], rows: Sequence[sa.Row[Any]]) -> set[uuid.UUID]:
    """Have what such a statement has added published; return the orders that it has written."""
    known = {event.event_id: event for event in events}
    added = [row for row in rows if row.id is not None]
    if any(row.is_behind for row in added):
        tx.wake(RELAY)
    elif added:
        tx.publish([_message(row.id, tx.exchange, known[row.message_id]) for row in added])
    return {row.order_id for row in rows}


def _message(outbox_id: int, exchange: str, event: OutgoingEvent) -> Message:
    return Message(outbox_id, event.event_id, event.order_id, exchange, event.event_type, event.encode())


def unsent(
    conn: sa.Connection, limit: int, but_ids: Collection[int] = (), but_orders: Collection[uuid.UUID] = ()
) -> Sequence[sa.Row[Any]]:
    """The oldest messages that the broker has not confirmed, in the order in which they were written.

    Leaves out the messages `but_ids` and everything of `but_orders`. One relay at a time publishes what it has
    read, whatever the number of replicas: two would not keep the order.
    """
    dialect.lock_name(conn, RELAY)
    if not dialect.is_sqlite(conn):
        return conn.exec_driver_sql(_UNSENT, (dialect.array(but_ids), dialect.array(but_orders), limit)).all()
    others = sa.or_(_OUTBOX.c.order_id.is_(None), _OUTBOX.c.order_id.not_in(but_orders))
    query = sa.select(_OUTBOX).where(_OUTBOX.c.sent_at.is_(None), _OUTBOX.c.id.not_in(but_ids), others)
    return conn.execute(query.order_by(_OUTBOX.c.id).limit(limit)).all()


def mark_sent(conn: sa.Connection, ids: Collection[int], now: datetime) -> None:
    """Note that the broker has confirmed these."""
    if not dialect.is_sqlite(conn):
        dialect.later(conn, _SENT, now, dialect.array(ids))
        return
    conn.execute(_OUTBOX.update().where(_OUTBOX.c.id.in_(ids)), {"sent_at": now})


def lag(conn: sa.Connection) -> dict[str, Any]:
    """How many messages wait and how old the oldest is: `{"unsent": int, "oldest_age_s": float | None}`."""
    unsent, oldest = conn.execute(_LAG).one()
    if oldest is None:
        return {"unsent": unsent, "oldest_age_s": None}
    now = dialect.now(conn) or clock.utc_now()
    return {"unsent": unsent, "oldest_age_s": round((now - oldest).total_seconds(), 3)}


def republish(tx: Tx, order_id: uuid.UUID, since: datetime | None = None) -> int:
    """Send the order's events again, those from `since` on (None: all); consumers that know them skip them. How many.

    None that is older than `since`: the inboxes of those who act on it need not know it for ever.
    """
    return _send_again(tx, _OUTBOX.c.order_id == order_id, _sent_since(since))


def republish_next(tx: Tx, after: int, newest: int, since: datetime | None, limit: int) -> tuple[int, int | None]:
    """The same with the next `limit` events of all orders whose id is over `after`, up to `newest`.

    Returns how many, and the last one's id: `after` of the next call; None where none is left. This is how a read model
    that was dropped gets its events back.
    """
    which = sa.and_(_OUTBOX.c.id > after, _OUTBOX.c.id <= newest, _sent_since(since))
    ids = tx.conn.execute(sa.select(_OUTBOX.c.id).where(which).order_by(_OUTBOX.c.id).limit(limit)).scalars().all()
    if not ids:
        return 0, None
    count = _send_again(tx, which, _OUTBOX.c.id <= ids[-1])
    return count, ids[-1] if len(ids) == limit else None


def newest(tx: Tx) -> int:
    """The id of the newest message; 0 where there is none."""
    return tx.conn.execute(sa.select(sa.func.max(_OUTBOX.c.id))).scalar_one() or 0


def _sent_since(since: datetime | None) -> sa.ColumnElement[bool]:
    sent = sa.and_(_OUTBOX.c.sent_at.is_not(None), _OUTBOX.c.exchange != "")
    return sent if since is None else sa.and_(sent, _OUTBOX.c.created_at >= since)


def _send_again(tx: Tx, *which: sa.ColumnElement[bool]) -> int:
    count = tx.conn.execute(_OUTBOX.update().values(sent_at=None).where(*which)).rowcount
    tx.wake(RELAY)
    return int(count)


def of_order(conn: sa.Connection, order_id: uuid.UUID, limit: int) -> list[dict[str, Any]]:
    """The newest `limit` events that were sent, or wait to be, of one order; oldest first.

    Each as `{"message_id", "event_type", "at", "sent_at", "causation_id", "traceparent"}`; `sent_at` is None until
    the broker has confirmed it.
    """
    query = sa.select(_OUTBOX).where(_OUTBOX.c.order_id == order_id).order_by(_OUTBOX.c.id.desc()).limit(limit)
    rows = conn.execute(query).all()
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
