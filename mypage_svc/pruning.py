"""Of MyPage's tables, what may go because of its age: the events of closed orders. Their pages stay, as they are.

A page is a function of its order's whole set of events, so they go together or not at all; and the page is settled in
the same transaction: from then on nothing replaces it (`queries.save_pages`), whatever comes again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chassis import dialect
from chassis.db import Tx
from chassis.models import chassis_tables
from chassis.prune_rules import Found, by_order
from mypage_svc.domain import LAST_WORDS
from mypage_svc.models import events, pages

ORDERS = 100
"""At once: some thousand events."""

_PARKED = chassis_tables(sa.MetaData()).parked


class Events:
    """The events of orders that the order book has closed, found along the order's id."""

    table = events.name
    setting = "EVENTS_KEEP_DAYS"

    def find(self, conn: sa.Connection, before: datetime, after: Any | None) -> Found:
        order_ids, last = by_order(conn, events.c.order_id, before, after, ORDERS)
        return Found(_may_go(conn, order_ids, before), last)

    def count(self, conn: sa.Connection, keys: Sequence[UUID], before: datetime) -> int:
        query = sa.select(sa.func.count()).select_from(events).where(dialect.among(conn, events.c.order_id, keys))
        return int(conn.execute(query).scalar_one())

    def delete(self, tx: Tx, keys: Sequence[UUID], before: datetime) -> int:
        tx.lock(keys)  # what has arrived since the keys were found is counted in
        order_ids = _may_go(tx.conn, keys, before)
        if not order_ids:
            return 0
        settled = pages.update().where(dialect.among(tx.conn, pages.c.order_id, order_ids))
        tx.conn.execute(settled, {"settled_at": tx.now})
        gone = events.delete().where(dialect.among(tx.conn, events.c.order_id, order_ids))
        return int(tx.conn.execute(gone).rowcount)


def _may_go(conn: sa.Connection, order_ids: Sequence[UUID], before: datetime) -> list[UUID]:
    """Those whose page is settled already, or is to be: closed, nothing has happened since, nothing is parked."""
    if not order_ids:
        return []
    said = sa.exists().where(events.c.order_id == pages.c.order_id, events.c.event_type.in_(LAST_WORDS))
    quiet = sa.and_(pages.c.waiting_since.is_(None), pages.c.updated_at < before, said)
    query = sa.select(pages.c.order_id).where(
        dialect.among(conn, pages.c.order_id, order_ids), sa.or_(pages.c.settled_at.is_not(None), quiet)
    )
    parked = set(conn.execute(sa.select(_PARKED.c.order_id).where(_PARKED.c.order_id.is_not(None))).scalars())
    return [order_id for order_id in conn.execute(query).scalars() if str(order_id) not in parked]


EVENTS = Events()
