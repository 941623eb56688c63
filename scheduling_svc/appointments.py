"""Booking technicians' windows. A window is booked once: the unique index `bookings_live_slot` decides who was first.

Every function works inside the caller's transaction, with the order already locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy.dialects import postgresql as pg

from contracts.errors import Conflict, Invalid
from scheduling_svc import models, queries
from scheduling_svc.domain import FixAppointment, Visit
from scheduling_svc.requests import Appointment
from scheduling_svc.windows import Booking, Grid, Site, Technician, Window, rank, why_unfit

if TYPE_CHECKING:
    from chassis.db import Tx


def fix(tx: Tx, visit: Visit, wanted: Appointment, grid: Grid) -> FixAppointment | None:
    """Book the wanted window, free the visit's earlier one, and return the command that says so.

    None where the visit has exactly this appointment already. Raises Invalid naming the field at fault, and
    Conflict where the window is taken. The new window is booked before the old one is freed, so two visits
    that swap their windows at one moment are refused rather than waiting for each other for ever.
    """
    window = grid.check(wanted.window_start, wanted.window_end, tx.now)
    if _stands(visit, window, wanted.technician_id):
        return None
    site = queries.site(visit)
    technicians = {technician.id: technician for technician in queries.technicians(tx.conn)}
    bookings = queries.live_bookings(tx.conn, *queries.day_of(window, grid))
    if wanted.technician_id is None:
        candidates = rank(technicians.values(), site, window, bookings, grid)
    else:
        candidates = [_named(technicians, wanted.technician_id, site, window, bookings, grid)]
    booked = next((t for t in candidates if _insert(tx, visit.order_id, t, window, wanted.by)), None)
    if booked is None:
        raise _taken(wanted, window)
    _release_other(tx, visit.order_id, booked, window)
    called = wanted.note is not None
    return FixAppointment(visit.order_id, window.start, window.end, booked.id, booked.name, called)


def free(tx: Tx, order_ids: Iterable[UUID]) -> None:
    """Free the windows of closed visits that have not begun; a window that has begun stays as history."""
    ids = list(order_ids)
    if ids:
        table = models.bookings
        tx.conn.execute(
            table.update()
            .where(table.c.order_id.in_(ids), table.c.released_at.is_(None), table.c.window_start > tx.now)
            .values(released_at=tx.now)
        )


def _stands(visit: Visit, window: Window, technician_id: str | None) -> bool:
    return (
        visit.state == "scheduled"
        and (visit.window_start, visit.window_end) == window
        and technician_id in (None, visit.technician_id)
    )


def _named(
    technicians: dict[str, Technician], wanted: str, site: Site, window: Window, bookings: Sequence[Booking], grid: Grid
) -> Technician:
    technician = technicians.get(wanted)
    if technician is None:
        raise _invalid(f"must be a technician's id; there is no {wanted!r}")
    why = why_unfit(technician, site, window, grid)
    if why is not None:
        raise _invalid(f"must be a technician who could come: {why}")
    if any(booking.technician_id == wanted and booking.window.overlaps(window) for booking in bookings):
        raise Conflict(f"{wanted} is booked already in the window from {window.start:%Y-%m-%dT%H:%M:%SZ}")
    return technician


def _insert(tx: Tx, order_id: UUID, technician: Technician, window: Window, by: str) -> bool:
    """Book; False where somebody else was first, also where they committed only while we waited for them."""
    row: dict[str, Any] = {
        "id": tx.new_id(), "order_id": order_id, "technician_id": technician.id,
        "window_start": window.start, "window_end": window.end, "booked_by": by, "booked_at": tx.now,
    }
    live = models.bookings.c.released_at.is_(None)
    insert = (
        pg.insert(models.bookings)
        .values(row)
        .on_conflict_do_nothing(index_elements=["technician_id", "window_start"], index_where=live)
        .returning(models.bookings.c.id)
    )
    return tx.conn.execute(insert).first() is not None


def _release_other(tx: Tx, order_id: UUID, technician: Technician, window: Window) -> None:
    table = models.bookings
    this = (table.c.technician_id == technician.id) & (table.c.window_start == window.start)
    tx.conn.execute(
        table.update()
        .where(table.c.order_id == order_id, table.c.released_at.is_(None), ~this)
        .values(released_at=tx.now)
    )


def _taken(wanted: Appointment, window: Window) -> Conflict:
    who = "every technician who could come is" if wanted.technician_id is None else f"{wanted.technician_id} is"
    return Conflict(f"{who} booked already in the window from {window.start:%Y-%m-%dT%H:%M:%SZ}; ask for free windows")


def _invalid(message: str) -> Invalid:
    return Invalid(f"technician_id {message}", [{"field": "technician_id", "message": message}])
