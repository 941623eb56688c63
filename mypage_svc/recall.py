"""After a restore of another service: MyPage, which keeps every event of all, tells what happened since the backup."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa

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
