"""The day board: what scheduling's `day_board` answers. One local day of every technician, for the dispatch desk."""

from __future__ import annotations

from uuid import UUID

from pydantic import AwareDatetime

from contracts.orders import Value


class BoardWindow(Value):
    """A visit window of the day."""

    window_start: AwareDatetime
    window_end: AwareDatetime


class BoardVisit(BoardWindow):
    """A visit booked for that day. `kinds` of product are to be installed; `revision` is what a move names."""

    order_id: UUID
    customer_name: str | None
    postcode: str | None
    line1: str | None
    kinds: tuple[str, ...]
    state: str
    revision: int


class BoardTechnician(Value):
    """`works`: the starts of the windows that a shift covers."""

    id: str
    name: str
    skills: tuple[str, ...]
    areas: tuple[str, ...]
    works: tuple[AwareDatetime, ...]
    visits: tuple[BoardVisit, ...]


class DayBoard(Value):
    """One local day (`date`, as in 2026-11-25) of every technician."""

    date: str
    windows: tuple[BoardWindow, ...]
    technicians: tuple[BoardTechnician, ...]
