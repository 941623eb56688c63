"""After a restore of another service: MyPage, which keeps every event of all, tells what happened since the backup."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from chassis import dialect
from contracts import versions
from contracts.events import EVENTS, Event
from mypage_svc import domain, queries
from mypage_svc.models import events as table

CHUNK = 500


def told(conn: sa.Connection, since: datetime) -> Iterator[Event]:
    """Every event of the orders of which something happened since then. Trace and cause are not kept."""
    recent = sa.select(table.c.order_id).where(table.c.occurred_at >= since).distinct().order_by(table.c.order_id)
    order_ids = list(conn.execute(recent).scalars())
    for at in range(0, len(order_ids), CHUNK):
        for facts in queries.facts_of(conn, order_ids[at:at + CHUNK]).values():
            yield from map(event_of, facts)


def event_of(fact: domain.Fact) -> Event:
    """The event that a fact was taken from."""
    return EVENTS[fact.event_type].model_validate({
        **fact.payload, "event_id": fact.event_id, "occurred_at": fact.occurred_at, "order_id": fact.order_id,
        "schema_version": versions.newest(fact.event_type),
    })


def forget(conn: sa.Connection, types: Collection[str], since: datetime, known: Collection[UUID]) -> int:
    """Forget events of these types since then that their sender does not know any more, and fold the pages anew.

    The sender will do again what they told of, and tell it under other ids. Returns how many were forgotten.
    """
    query = sa.select(table.c.event_id, table.c.order_id).where(
        table.c.event_type.in_(tuple(types)), table.c.occurred_at >= since
    )
    gone = {row.event_id: row.order_id for row in conn.execute(query) if row.event_id not in known}
    if gone:
        conn.execute(sa.delete(table).where(dialect.among(conn, table.c.event_id, list(gone))))
        facts = queries.facts_of(conn, list(set(gone.values())))
        queries.save_pages(conn, [domain.fold(each) for each in facts.values()])
    return len(gone)
