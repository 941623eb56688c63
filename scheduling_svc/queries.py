"""What is read and kept beside the visit: the call queue in the order to call, technicians, bookings, call attempts."""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter, defaultdict
from dataclasses import fields
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from contracts.catalogue import PRODUCTS
from contracts.errors import Invalid
from scheduling_svc import models
from scheduling_svc.domain import IN_QUEUE, Visit, why_call
from scheduling_svc.requests import Call
from scheduling_svc.windows import Booking, Grid, Site, Technician, Window, rank

_VISIT_COLUMNS = [models.visits.c[field.name] for field in fields(Visit)]


def rfc3339(moment: datetime | None) -> str | None:
    """The moment in UTC as text."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def visit_answer(visit: Visit, now: datetime) -> dict[str, Any]:
    """The visit as RPC answers it. `due` says whether it is time to call; `why` is None outside the queue."""
    answer = {field.name: getattr(visit, field.name) for field in fields(Visit)}
    why = why_call(visit)
    due = why is not None and (visit.next_call_at is None or visit.next_call_at <= now)
    for name, value in answer.items():
        if isinstance(value, datetime):
            answer[name] = rfc3339(value)
    return answer | {"order_id": str(visit.order_id), "why": why, "due": due}


def visit_row(conn: sa.Connection, order_id: UUID) -> Visit | None:
    """The visit, without a lock."""
    row = conn.execute(sa.select(*_VISIT_COLUMNS).where(models.visits.c.order_id == order_id)).first()
    return None if row is None else Visit(**row._mapping)


def add_call_attempt(conn: sa.Connection, attempt_id: UUID, call: Call, now: datetime) -> None:
    """Keep the call beside the visit; what it meant for the visit is already in the visit."""
    values = call.model_dump(exclude={"call_id"})
    conn.execute(models.call_attempts.insert(), values | {"id": attempt_id, "at": now})


def call_attempts(conn: sa.Connection, order_id: UUID) -> list[dict[str, Any]]:
    """The order's call attempts, oldest first."""
    table = models.call_attempts
    found = conn.execute(sa.select(table).where(table.c.order_id == order_id).order_by(table.c.at, table.c.id))
    return [
        {
            "by": row.by, "outcome": row.outcome, "note": row.note,
            "call_back_at": rfc3339(row.call_back_at), "at": rfc3339(row.at),
        }
        for row in found
    ]


def list_visits(
    conn: sa.Connection, state: str | None, limit: int, cursor: str | None, now: datetime
) -> tuple[list[Visit], str | None]:
    """One page of visits in the order to call, and the next page's cursor.

    Promised call-backs that are due come first (the longest overdue before others), then who may be called now,
    the oldest request first, then flagged ones, then who is not due yet. What is due is judged as of the first
    page, which the cursor remembers, so that no visit changes its place between pages. Raises Invalid (`cursor`).
    """
    as_of, after = (now, None) if cursor is None else _read_cursor(cursor)
    table = models.visits
    place, moment = _call_order(as_of)
    # A tombstone is no visit: nobody ever asked for it.
    states = IN_QUEUE if state is None else (state,)
    query = sa.select(*_VISIT_COLUMNS, place.label("place"), moment.label("moment")).where(
        table.c.state.in_(states), table.c.customer.is_not(None)
    )
    if after is not None:
        key = sa.tuple_(place, moment, table.c.order_id)
        query = query.where(key > sa.tuple_(*(sa.literal(part) for part in after)))
    found = conn.execute(query.order_by(place, moment, table.c.order_id).limit(limit + 1)).all()
    visits = [Visit(**{column.name: row._mapping[column.name] for column in _VISIT_COLUMNS}) for row in found[:limit]]
    if len(found) <= limit:
        return visits, None
    last = found[limit - 1]
    return visits, _write_cursor(as_of, last.place, last.moment, last.order_id)


def _call_order(now: datetime) -> tuple[sa.ColumnElement[int], sa.ColumnElement[datetime]]:
    """The sort key of a visit: its place (smaller is sooner) and the moment that decides within a place."""
    c = models.visits.c
    due = (c.next_call_at <= now) & c.state.in_(IN_QUEUE)
    place = sa.case(
        ((c.last_outcome == "call_back") & due, 0),
        ((c.state == "requested") & sa.or_(c.next_call_at.is_(None), due), 1),
        (c.state == "flagged", 2),
        (c.state == "requested", 3),
        else_=4,
    )
    moment = sa.case(
        ((place == 0) | (place == 3), c.next_call_at), (place == 4, c.window_start), else_=c.requested_at
    )
    return place, sa.func.coalesce(moment, c.requested_at)


def _write_cursor(as_of: datetime, place: int, moment: datetime, order_id: UUID) -> str:
    text = json.dumps([as_of.isoformat(), place, moment.isoformat(), str(order_id)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, tuple[int, datetime, UUID]]:
    try:
        as_of, place, moment, order_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        times = datetime.fromisoformat(as_of), datetime.fromisoformat(moment)
        if type(place) is not int or not 0 <= place <= 4 or any(at.tzinfo is None for at in times):
            raise ValueError("not a cursor of ours")
        return times[0], (place, times[1], UUID(order_id))
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError) as exc:
        message = "must be the next_cursor of an earlier answer"
        raise Invalid(f"cursor {message}", [{"field": "cursor", "message": message}]) from exc


def site(visit: Visit) -> Site:
    """What matters of the visit's order for choosing a technician."""
    kinds = frozenset(PRODUCTS[item["product"]].kind for item in visit.items or ())
    return Site((visit.address or {}).get("postcode", ""), kinds)


def technicians(conn: sa.Connection) -> list[Technician]:
    """Every technician, by id."""
    return [
        Technician(row.id, row.name, frozenset(row.skills), tuple(row.areas), {
            day: [(time.fromisoformat(start), time.fromisoformat(end)) for start, end in spans]
            for day, spans in row.shifts.items()
        })
        for row in conn.execute(sa.select(models.technicians).order_by(models.technicians.c.id))
    ]


def live_bookings(conn: sa.Connection, first: datetime, last: datetime) -> list[Booking]:
    """The live bookings whose window begins in [first, last)."""
    table = models.bookings
    found = conn.execute(
        sa.select(table.c.technician_id, table.c.window_start, table.c.window_end).where(
            table.c.released_at.is_(None), table.c.window_start >= first, table.c.window_start < last
        )
    )
    return [Booking(row.technician_id, Window(row.window_start, row.window_end)) for row in found]


def day_of(window: Window, grid: Grid) -> tuple[datetime, datetime]:
    """The window's whole local day: its first instant, and the next day's."""
    day = grid.local_date(window.start)
    midnight = datetime.combine(day, time(), grid.timezone)
    return midnight.astimezone(UTC), datetime.combine(day + timedelta(days=1), time(), grid.timezone).astimezone(UTC)


def free_windows(conn: sa.Connection, visit: Visit, windows: list[Window], grid: Grid) -> list[dict[str, Any]]:
    """Those of `windows` in which somebody could come to the visit, each with who, best first."""
    if not windows:
        return []
    bookings = live_bookings(conn, day_of(windows[0], grid)[0], day_of(windows[-1], grid)[1])
    everyone, place = technicians(conn), site(visit)
    offers = ((window, rank(everyone, place, window, bookings, grid)) for window in windows)
    return [
        {
            "window_start": rfc3339(window.start), "window_end": rfc3339(window.end),
            "technicians": [{"id": technician.id, "name": technician.name} for technician in able],
        }
        for window, able in offers
        if able
    ]


def technician_answers(conn: sa.Connection, grid: Grid, now: datetime) -> list[dict[str, Any]]:
    """Every technician with `load`, the visits still ahead or under way, and `load_by_day` by local date."""
    table = models.bookings
    ahead = sa.select(table.c.technician_id, table.c.window_start).where(
        table.c.released_at.is_(None), table.c.window_end > now
    )
    load: dict[str, Counter[str]] = defaultdict(Counter)
    for row in conn.execute(ahead):
        load[row.technician_id][grid.local_date(row.window_start).isoformat()] += 1
    found = conn.execute(sa.select(models.technicians).order_by(models.technicians.c.id))
    return [
        {
            "id": row.id, "name": row.name, "skills": row.skills, "areas": row.areas, "shifts": row.shifts,
            "load": load[row.id].total(), "load_by_day": dict(sorted(load[row.id].items())),
        }
        for row in found
    ]
