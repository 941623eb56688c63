"""What is read and kept beside the visit: technicians, bookings, call attempts. The queue is in `call_queue.py`."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import fields
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chassis import clock
from contracts.catalogue import PRODUCTS
from scheduling_svc import models
from scheduling_svc.domain import Visit, why_call
from scheduling_svc.requests import Appointment, Call
from scheduling_svc.urgency import UrgencyPolicy, cancel_risk, is_due
from scheduling_svc.windows import Booking, Grid, Site, Technician, Window, rank

VISIT_COLUMNS = [models.visits.c[field.name] for field in fields(Visit)]


def rfc3339(moment: datetime | None) -> str | None:
    """The moment in UTC as text."""
    return None if moment is None else clock.rfc3339(moment)


def visit_of(row: sa.Row[*tuple[Any, ...]]) -> Visit:
    """The visit in a row that holds VISIT_COLUMNS, whatever else it holds."""
    return Visit(**{column.name: row._mapping[column] for column in VISIT_COLUMNS})


def visit_answer(
    visit: Visit, claim: tuple[str, datetime] | None, policy: UrgencyPolicy, now: datetime
) -> dict[str, Any]:
    """The visit as RPC answers it. `due` says whether it is time to call; `why` is None outside the queue.

    `claim` is the live claim on it, `cancel_risk` as in `urgency.py`, `age_s` whole seconds since the request (None
    for the tombstone of a cancel that came first).
    """
    answer = {field.name: getattr(visit, field.name) for field in fields(Visit)}
    for name, value in answer.items():
        if isinstance(value, datetime):
            answer[name] = rfc3339(value)
    return answer | {
        "order_id": str(visit.order_id), "why": why_call(visit), "due": is_due(visit, now),
        "age_s": None if visit.requested_at is None else max(0, int((now - visit.requested_at).total_seconds())),
        "cancel_risk": cancel_risk(visit, policy, now),
        "claim": None if claim is None else {"by": claim[0], "until": rfc3339(claim[1])},
    }


def visit_row(conn: sa.Connection, order_id: UUID) -> Visit | None:
    """The visit, without a lock."""
    row = conn.execute(sa.select(*VISIT_COLUMNS).where(models.visits.c.order_id == order_id)).first()
    return None if row is None else visit_of(row)


def add_call_attempt(conn: sa.Connection, attempt_id: UUID, call: Call, now: datetime) -> None:
    """Keep the call beside the visit; what it meant for the visit is already in the visit."""
    values = call.model_dump(exclude={"call_id"})
    conn.execute(models.call_attempts.insert(), values | {"id": attempt_id, "at": now})


def add_agreed_call(conn: sa.Connection, attempt_id: UUID, wanted: Appointment, now: datetime) -> None:
    """Keep the call in which the appointment was agreed, where there was one."""
    if wanted.note is not None:
        call = Call(order_id=wanted.order_id, by=wanted.by, outcome="agreed", note=wanted.note)
        add_call_attempt(conn, attempt_id, call, now)


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
    # A window ends on the day on which it begins; there is an index of when windows begin.
    ahead = sa.select(table.c.technician_id, table.c.window_start).where(
        table.c.released_at.is_(None), table.c.window_start > now - timedelta(days=1), table.c.window_end > now
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
