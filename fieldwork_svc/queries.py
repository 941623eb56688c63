"""Fieldwork's reads, and the shape in which a job is answered (`contracts.rpc.Job`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chassis import clock
from contracts.cursor import bad_cursor, decode_cursor, encode_cursor
from fieldwork_svc.domain import Job
from fieldwork_svc.models import photos, table

_PHOTOS = sa.select(sa.func.count()).where(photos.c.order_id == table.c.order_id).scalar_subquery().label("photos")
_COLUMNS = [*(table.c[field.name] for field in fields(Job)), _PHOTOS]


def as_answer(job: Job, photo_count: int = 0) -> dict[str, Any]:
    """Return the job, with how many photos it has, as JSON; times in UTC."""
    return _json({field.name: getattr(job, field.name) for field in fields(Job)} | {"photos": photo_count})


def get_job(conn: sa.Connection, order_id: UUID) -> dict[str, Any] | None:
    """Return the order's job; None where no technician was ever assigned."""
    query = sa.select(*_COLUMNS).where(table.c.order_id == order_id, table.c.technician_id.is_not(None))
    row = conn.execute(query).mappings().one_or_none()
    return None if row is None else _json(dict(row))


def list_jobs(
    conn: sa.Connection,
    technician_id: str | None,
    start: datetime,
    end: datetime,
    limit: int,
    cursor: str | None,
) -> dict[str, Any]:
    """Return a page of the jobs whose window starts in [start, end), by window; of one technician, or all.

    Raises Invalid where `cursor` is not one of ours.
    """
    key = sa.tuple_(table.c.window_start, table.c.order_id)
    query = sa.select(*_COLUMNS).where(table.c.window_start >= start, table.c.window_start < end)
    if technician_id is not None:
        query = query.where(table.c.technician_id == technician_id)
    if cursor is not None:
        query = query.where(key > sa.tuple_(*_key(cursor)))
    query = query.order_by(table.c.window_start, table.c.order_id).limit(limit + 1)
    rows = [_json(dict(row)) for row in conn.execute(query).mappings()]
    page = rows[:limit]
    more = encode_cursor(page[-1]["window_start"], page[-1]["order_id"]) if len(rows) > limit else None
    return {"items": page, "next_cursor": more}


def _key(cursor: str) -> tuple[Any, Any]:
    window_start, order_id = decode_cursor(cursor, 2)
    try:
        return (
            sa.literal(datetime.fromisoformat(window_start).astimezone(UTC), table.c.window_start.type),
            sa.literal(UUID(order_id), table.c.order_id.type),
        )
    except (ValueError, OverflowError):
        raise bad_cursor() from None


def _json(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return clock.rfc3339(value)
    return str(value) if isinstance(value, UUID) else value
