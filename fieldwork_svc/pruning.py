"""Of fieldwork's tables, what may go because of its age: photographs. Jobs stay: they are the books."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chassis import dialect
from chassis.db import Tx
from chassis.prune_rules import Found, by_order
from fieldwork_svc.domain import TABLE
from fieldwork_svc.models import photos, table

ORDERS = 10
"""At once: each may have several photographs, and each of those is many rows in PostgreSQL's own eyes."""


class Photos:
    """The photographs of closed jobs, found along the order's id."""

    table = photos.name
    setting = "PHOTOS_KEEP_DAYS"

    def find(self, conn: sa.Connection, before: datetime, after: Any | None) -> Found:
        return Found(*by_order(conn, photos.c.order_id, before, after, ORDERS))

    def count(self, conn: sa.Connection, keys: Sequence[UUID], before: datetime) -> int:
        query = sa.select(sa.func.count()).select_from(photos).where(_may_go(conn, keys, before))
        return int(conn.execute(query).scalar_one())

    def delete(self, tx: Tx, keys: Sequence[UUID], before: datetime) -> int:
        return int(tx.conn.execute(photos.delete().where(_may_go(tx.conn, keys, before))).rowcount)


def _may_go(conn: sa.Connection, order_ids: Sequence[UUID], before: datetime) -> sa.ColumnElement[bool]:
    closed = sa.exists().where(table.c.order_id == photos.c.order_id, table.c.state.in_(sorted(TABLE.final)))
    return sa.and_(dialect.among(conn, photos.c.order_id, order_ids), photos.c.taken_at < before, closed)


PHOTOS = Photos()
