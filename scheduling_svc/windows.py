"""Visit windows and the technicians who could come. Pure: no I/O, no clock, no framework.

Windows are a fixed daily grid in local time; what is stored and what crosses the wire is UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from contracts.errors import Invalid

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERYWHERE = "*"


class Window(NamedTuple):
    """A visit window: `start` (included) to `end` (excluded), both UTC."""

    start: datetime
    end: datetime

    def overlaps(self, other: Window) -> bool:
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Grid:
    """The windows of every day, in local time of `timezone`, and how far ahead they can be had.

    A window can be had until `min_lead` before its start, and up to `horizon` ahead; one list covers `days`.
    """

    timezone: ZoneInfo
    windows: tuple[tuple[time, time], ...]
    days: int
    horizon: timedelta
    min_lead: timedelta

    def local_date(self, moment: datetime) -> date:
        return moment.astimezone(self.timezone).date()

    def of_day(self, day: date) -> Iterator[Window]:
        """The windows of a local day, in order."""
        for start, end in self.windows:
            yield Window(
                datetime.combine(day, start, self.timezone).astimezone(UTC),
                datetime.combine(day, end, self.timezone).astimezone(UTC),
            )

    def between(self, first: datetime, last: datetime, now: datetime) -> list[Window]:
        """The windows that start in [first, last), can be had at `now`, and fall into the first `days` days."""
        first = max(first, now)
        if first > now + self.horizon:
            return []
        day, windows = self.local_date(first), []
        for offset in range(self.days):
            for window in self.of_day(day + timedelta(days=offset)):
                if first <= window.start < last and self._why_not(window, now) is None:
                    windows.append(window)
        return windows

    def check(self, start: datetime, end: datetime, now: datetime) -> Window:
        """Return the window of the grid with this start and end; raise Invalid naming the field at fault."""
        wanted = Window(start, end)
        why = self._why_not(wanted, now)
        if why is not None:
            raise _invalid("window_start", why)
        for window in self.of_day(self.local_date(start)):
            if window == wanted:
                return window
            if window.start == start:
                raise _invalid("window_end", f"must be {window.end:%Y-%m-%dT%H:%M:%SZ} for this window_start")
        starts = ", ".join(f"{start:%H:%M}" for start, _ in self.windows)
        raise _invalid("window_start", f"must be the start of a visit window: {starts} ({self.timezone.key})")

    def _why_not(self, window: Window, now: datetime) -> str | None:
        if window.start <= now + self.min_lead:
            lead = f" by more than {self.min_lead}" if self.min_lead else ""
            return f"must be in the future{lead}; it is {now:%Y-%m-%dT%H:%M:%SZ} now"
        if window.start > now + self.horizon:
            return f"must be within {self.horizon.days} days"
        return None


@dataclass(frozen=True, slots=True)
class Technician:
    """`skills` are product kinds, `areas` postcode prefixes (`*`: everywhere).

    `shifts` are spans of local time by weekday (`mon` to `sun`); a weekday that is missing is free.
    """

    id: str
    name: str
    skills: frozenset[str]
    areas: tuple[str, ...]
    shifts: Mapping[str, Sequence[tuple[time, time]]]

    def area_length(self, postcode: str) -> int | None:
        """How specific the technician's best matching area is (0 for everywhere); None where none matches."""
        lengths = [
            0 if area == EVERYWHERE else len(area)
            for area in self.areas
            if area == EVERYWHERE or postcode.startswith(area)
        ]
        return max(lengths, default=None)

    def works(self, window: Window, timezone: ZoneInfo) -> bool:
        """Whether a shift covers the whole window."""
        start, end = window.start.astimezone(timezone), window.end.astimezone(timezone)
        spans = self.shifts.get(WEEKDAYS[start.weekday()], ()) if start.date() == end.date() else ()
        return any(first <= start.time() and end.time() <= last for first, last in spans)


class Booking(NamedTuple):
    """A technician's live booking."""

    technician_id: str
    window: Window


@dataclass(frozen=True, slots=True)
class Site:
    """What matters of an order for choosing a technician: where, and the kinds of product to install."""

    postcode: str
    kinds: frozenset[str]


def why_unfit(technician: Technician, site: Site, window: Window, grid: Grid) -> str | None:
    """Say why this technician cannot take this visit, bookings aside; None where nothing speaks against it."""
    missing = site.kinds - technician.skills
    if missing:
        return f"{technician.id} does not install {', '.join(sorted(missing))}"
    if technician.area_length(site.postcode) is None:
        return f"{technician.id} does not work in the area of postcode {site.postcode}"
    if not technician.works(window, grid.timezone):
        return f"{technician.id} does not work in this window"
    return None


def rank(
    technicians: Iterable[Technician], site: Site, window: Window, bookings: Sequence[Booking], grid: Grid
) -> list[Technician]:
    """The technicians who could come in `window`, best first.

    Best is who has fewest visits on that local day, then who knows the area best, then by id.
    """
    day = grid.local_date(window.start)
    load = Counter(b.technician_id for b in bookings if grid.local_date(b.window.start) == day)
    busy = {b.technician_id for b in bookings if b.window.overlaps(window)}
    able = [t for t in technicians if t.id not in busy and why_unfit(t, site, window, grid) is None]
    return sorted(able, key=lambda t: (load[t.id], -(t.area_length(site.postcode) or 0), t.id))


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", [{"field": field, "message": message}])
