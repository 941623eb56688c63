"""What may go from a table that only grows: how old, what else must hold, and how it is found without an index.

Keys are made in order of time (a serial number, or a UUIDv7), so what is old is the beginning of the primary key. A
rule walks it forwards from there, a bounded number of rows at a time, and stops where the old ones end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID

import sqlalchemy as sa

from chassis import clock, dialect
from chassis.models import chassis_tables

if TYPE_CHECKING:
    from chassis.db import Tx

CHUNK = 1000
"""Rows that one transaction looks at: some ten milliseconds of the database's work."""


class Found(NamedTuple):
    """One step of a walk: the keys that may go, and the last one looked at; None where the old ones end."""

    keys: list[Any]
    last: Any | None


def by_order(
    conn: sa.Connection, order_id: sa.Column[Any], before: datetime, after: UUID | None, most: int
) -> tuple[list[UUID], UUID | None]:
    """The next `most` orders, made before the limit, that a table has rows of; and the last of them (see `Found`).

    `order_id` leads an index of the table. An order is older than all that is kept of it.
    """
    query = sa.select(order_id).distinct().where(order_id < clock.first_uuid7(before))
    if after is not None:
        query = query.where(order_id > after)
    order_ids = list(conn.execute(query.order_by(order_id).limit(most)).scalars())
    return order_ids, order_ids[-1] if len(order_ids) == most else None


class Rule(Protocol):
    """What may go from one table; `setting` is the days it is kept, 0 for ever."""

    @property
    def table(self) -> str: ...
    @property
    def setting(self) -> str: ...

    def find(self, conn: sa.Connection, before: datetime, after: Any | None) -> Found:
        """Look at the next rows behind `after` (None: from the beginning) and say which may go."""

    def count(self, conn: sa.Connection, keys: Sequence[Any], before: datetime) -> int:
        """How many rows go with these keys."""

    def delete(self, tx: Tx, keys: Sequence[Any], before: datetime) -> int:
        """Delete what may still go; returns how many rows did."""


@dataclass(frozen=True, eq=False)
class ByKey:
    """Rows of `rows` whose `moment` is before the limit, found along their primary key `key`.

    `only`: what must hold beside. `begun`: the column that grows with the key, where the key itself tells no time.
    """

    rows: sa.Table
    setting: str
    key: sa.Column[Any]
    moment: sa.Column[Any]
    only: sa.ColumnElement[bool] | None = None
    begun: sa.Column[Any] | None = None

    @property
    def table(self) -> str:
        return self.rows.name

    def find(self, conn: sa.Connection, before: datetime, after: Any | None) -> Found:
        begun = sa.true() if self.begun is None else self.begun < before
        query = sa.select(self.key, begun, self._may_go(before)).order_by(self.key).limit(CHUNK)
        if self.begun is None:
            query = query.where(self.key < clock.first_uuid7(before))
        if after is not None:
            query = query.where(self.key > after)
        rows = conn.execute(query).all()
        goes_on = len(rows) == CHUNK and rows[-1][1]
        return Found([key for key, _, may_go in rows if may_go], rows[-1][0] if goes_on else None)

    def count(self, conn: sa.Connection, keys: Sequence[Any], before: datetime) -> int:
        return len(keys)

    def delete(self, tx: Tx, keys: Sequence[Any], before: datetime) -> int:
        # Asked again: since the keys were found, a message may have been sent again, or replayed.
        chosen = dialect.among(tx.conn, self.key, keys)
        return int(tx.conn.execute(self.rows.delete().where(chosen, self._may_go(before))).rowcount)

    def _may_go(self, before: datetime) -> sa.ColumnElement[bool]:
        old = sa.func.coalesce(self.moment < before, sa.false())
        return old if self.only is None else sa.and_(old, self.only)


_TABLES = chassis_tables(sa.MetaData())
_OUTBOX, _INBOX, _PARKED = _TABLES.outbox, _TABLES.inbox, _TABLES.parked

OUTBOX = ByKey(_OUTBOX, "OUTBOX_KEEP_DAYS", _OUTBOX.c.id, _OUTBOX.c.sent_at, begun=_OUTBOX.c.created_at)
"""Messages that were sent; what waits for the broker stays, however old it is."""

INBOX = ByKey(
    _INBOX, "INBOX_KEEP_DAYS", _INBOX.c.message_id, _INBOX.c.received_at,
    only=~sa.exists().where(_PARKED.c.id == _INBOX.c.message_id),
)
"""Ids of messages that took effect. One that is parked may be replayed at any time, so its id stays."""
