"""Parked messages: those whose handler gave up. Operators list, replay or drop them."""

from __future__ import annotations

import base64
import json
import math
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from chassis import clock, dialect
from chassis.models import chassis_tables
from chassis.outbox import RELAY

if TYPE_CHECKING:
    from chassis.db import Tx
    from chassis.delivery import Delivery

MAX_ERROR = 4000

_PARKED = chassis_tables(sa.MetaData()).parked
_OLDEST_FIRST = (_PARKED.c.parked_at, _PARKED.c.id)


def park(tx: Tx, queue: str, delivery: Delivery, error: str) -> None:
    """Store a message with its error. Parking the same message twice keeps one row; two messages keep two."""
    values = {
        "message_id": None if delivery.message_id is None else _text(delivery.message_id),
        "order_id": _field(delivery, "order_id"),
        "event_type": _field(delivery, "event_type") or _text(delivery.routing_key),
        "queue": queue,
        "headers": {_text(key): _plain(value) for key, value in delivery.headers.items() if _is_plain(value)},
        "body": delivery.body,
        "error": _text(error)[:MAX_ERROR],
        "attempts": delivery.attempt,
        "parked_at": tx.now,
    }
    if not _put(tx, _key(delivery), values):
        # Another message has this id: a stranger's ids need not be unique.
        _put(tx, _key_of_content(delivery), values)


def _put(tx: Tx, key: uuid.UUID, values: dict[str, Any]) -> bool:
    table = tx.tables.parked
    statement = dialect.insert(tx.conn, table).values(id=key, **values)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["id"], set_={"error": new.error, "attempts": new.attempts}, where=table.c.body == new.body
    )
    return bool(tx.conn.execute(statement).rowcount)


def _text(value: str) -> str:
    """PostgreSQL's text cannot hold NUL, nor UTF-8 a lone surrogate; what is shown may."""
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _field(delivery: Delivery, name: str) -> str | None:
    value = delivery.field(name)
    return None if value is None else _text(value)


def _is_plain(value: Any) -> bool:
    """What JSON can hold; it has no NaN and no infinity."""
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _plain(value: Any) -> Any:
    return _text(value) if isinstance(value, str) else value


def _key(delivery: Delivery) -> uuid.UUID:
    """The message's own id where it has one, so that a message delivered twice is parked once."""
    try:
        return uuid.UUID(str(delivery.message_id))
    except ValueError:
        return _key_of_content(delivery)


def _key_of_content(delivery: Delivery) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, base64.b64encode(delivery.body).decode())


def list_parked(conn: sa.Connection, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
    """One page, oldest first: `{"items": [{message_id, order_id, event_type, error, attempts, parked_at, body}],
    "next_cursor"}`. Raises ValueError for a cursor that is not ours."""
    query = sa.select(_PARKED).order_by(*_OLDEST_FIRST).limit(limit + 1)
    if cursor:
        values = zip(_read_cursor(cursor), _OLDEST_FIRST, strict=True)
        query = query.where(sa.tuple_(*_OLDEST_FIRST) > sa.tuple_(*(sa.literal(v, c.type) for v, c in values)))
    rows = conn.execute(query).all()
    page = rows[:limit]
    more = len(rows) > limit
    return {
        "items": [_item(row) for row in page],
        "next_cursor": _cursor(page[-1].parked_at, page[-1].id) if more else None,
    }


def _item(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "message_id": str(row.id),
        "order_id": row.order_id,
        "event_type": row.event_type,
        "queue": row.queue,
        "error": row.error,
        "attempts": row.attempts,
        "parked_at": row.parked_at.isoformat(),
        "body": bytes(row.body).decode("utf-8", "replace")[:2000],
    }


def of_order(conn: sa.Connection, order_id: uuid.UUID, limit: int) -> list[dict[str, Any]]:
    """The oldest `limit` parked messages of one order, without their bodies, which hold personal data."""
    query = sa.select(_PARKED).where(_PARKED.c.order_id == str(order_id)).order_by(*_OLDEST_FIRST).limit(limit)
    rows = conn.execute(query)
    return [
        {
            "message_id": str(row.id), "event_id": row.message_id, "event_type": row.event_type, "queue": row.queue,
            "error": row.error, "attempts": row.attempts, "parked_at": clock.rfc3339(row.parked_at),
        }
        for row in rows
    ]


def _cursor(at: datetime, key: uuid.UUID) -> str:
    return base64.urlsafe_b64encode(json.dumps([at.isoformat(), str(key)]).encode()).decode()


def _read_cursor(cursor: str) -> tuple[datetime, uuid.UUID]:
    try:
        at, key = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return datetime.fromisoformat(at), uuid.UUID(key)
    except (ValueError, TypeError) as exc:
        raise ValueError("not a cursor of this list") from exc


def replay(tx: Tx, message_id: str) -> bool:
    """Send the message to its queue again, with its attempts counted anew; False where it is not parked.

    It goes through the outbox and leaves the list in the same transaction: never lost, never sent for nothing. Where
    it took effect before it was parked (its process died each time right after), its id is remembered anew.
    """
    row = _take(tx, message_id)
    if row is None:
        return False
    inbox = tx.tables.inbox
    tx.conn.execute(inbox.update().where(inbox.c.message_id == row.id), {"received_at": tx.now})
    tx.conn.execute(
        tx.tables.outbox.insert(),
        {
            "message_id": row.id,
            "order_id": None,
            "exchange": "",
            "routing_key": row.queue,
            "headers": {k: v for k, v in row.headers.items() if not k.startswith("x-")},
            "body": row.body,
            "created_at": tx.now,
        },
    )
    tx.wake(RELAY)
    return True


def drop(tx: Tx, message_id: str) -> bool:
    """Throw the message away; False where it is not parked."""
    return _take(tx, message_id) is not None


def _take(tx: Tx, message_id: str) -> sa.Row[Any] | None:
    try:
        key = uuid.UUID(message_id)
    except ValueError:
        return None
    table = tx.tables.parked
    return tx.conn.execute(table.delete().where(table.c.id == key).returning(*table.c)).one_or_none()


def count(conn: sa.Connection) -> int:
    """How many messages are parked."""
    return int(conn.execute(sa.text("select count(*) from parked_messages")).scalar_one())
