"""The day board: one local day, each technician with the windows they work in and the visits booked for them."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, time, timedelta

import sqlalchemy as sa

from contracts.day_board import BoardTechnician, BoardVisit, BoardWindow, DayBoard
from scheduling_svc import models
from scheduling_svc.queries import VISIT_COLUMNS, site, technicians, visit_of
from scheduling_svc.windows import Grid


def day_board(conn: sa.Connection, day: date, grid: Grid) -> DayBoard:
    """The board of the local day."""
    windows = list(grid.of_day(day))
    booked = _booked(conn, day, grid)
    return DayBoard(
        date=day.isoformat(),
        windows=tuple(BoardWindow(window_start=window.start, window_end=window.end) for window in windows),
        technicians=tuple(
            BoardTechnician(
                id=technician.id, name=technician.name, skills=tuple(sorted(technician.skills)),
                areas=technician.areas,
                works=tuple(window.start for window in windows if technician.works(window, grid.timezone)),
                visits=tuple(booked[technician.id]),
            )
            for technician in technicians(conn)
        ),
    )


def _booked(conn: sa.Connection, day: date, grid: Grid) -> dict[str, list[BoardVisit]]:
    """By technician, the visits booked on that day, in order of their windows."""
    bookings = models.bookings
    first, following = (datetime.combine(at, time(), grid.timezone) for at in (day, day + timedelta(days=1)))
    query = (
        sa.select(
            *VISIT_COLUMNS, bookings.c.technician_id.label("booked_for"), bookings.c.window_start.label("booked_from"),
            bookings.c.window_end.label("booked_to"),
        )
        .join_from(bookings, models.visits, bookings.c.order_id == models.visits.c.order_id)
        .where(bookings.c.released_at.is_(None), bookings.c.window_start >= first, bookings.c.window_start < following)
        .order_by(bookings.c.window_start)
    )
    found: dict[str, list[BoardVisit]] = defaultdict(list)
    for row in conn.execute(query):
        visit = visit_of(row)
        customer, address = visit.customer or {}, visit.address or {}
        found[row.booked_for].append(BoardVisit(
            order_id=visit.order_id, window_start=row.booked_from, window_end=row.booked_to,
            customer_name=customer.get("name"), postcode=address.get("postcode"), line1=address.get("line1"),
            kinds=tuple(sorted(site(visit).kinds)), state=visit.state, revision=visit.revision,
        ))
    return found
