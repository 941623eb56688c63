"""What the dispatch desk shows: read from scheduling within one deadline, and laid out for its templates.

What is chosen (a visit, a day, a window) stands in the address, so that the desk works without scripts, a reload
changes nothing, and a colleague can be sent a link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import NAMESPACE_URL, uuid5

from chassis import clock
from chassis.rpc_client import RpcClient
from contracts.errors import DomainError, Invalid
from contracts.ids import is_uuid7
from gateway_svc.pages import ask
from gateway_svc.pages.ask import Part
from gateway_svc.pages.formats import Formats
from gateway_svc.pages.view import View

PATH = "/dispatch"
QUEUE_LIMIT = 50
DAYS_SHOWN = 7
OPEN = ("requested", "flagged", "scheduled")
"""The states of a visit about which somebody may still call."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is chosen on the desk; None is nothing. It stands in the address and in hidden fields of every form.

    `order`: whose panel is open. `pick`: the start of the window to be confirmed. `move`: which visit is being moved
    on the board. `done`: about whom the last call was. `day` is the board's, `since` the first of the free windows.
    """

    order: str | None = None
    pick: str | None = None
    since: str | None = None
    day: str | None = None
    move: str | None = None
    done: str | None = None
    cursor: str | None = None

    @classmethod
    def of(cls, view: View) -> Chosen:
        """What the address or the sent form names; what cannot be is left out, not complained about."""
        given = {field.name: view.request.values.get(field.name) or None for field in fields(cls)}
        for name in ("order", "move", "done"):
            if given[name] is not None and not is_uuid7(given[name] or ""):
                given[name] = None
        for name in ("day", "since"):
            given[name] = given[name] if _date(given[name]) else None
        given["pick"] = given["pick"] if _moment(given["pick"]) else None
        return cls(**given)

    def url(self, **changes: str | None) -> str:
        """The desk with these changes."""
        wanted = replace(self, **changes)
        query = urlencode(wanted.kept())
        return f"{PATH}?{query}" if query else PATH

    def kept(self, *without: str) -> list[tuple[str, str]]:
        """What is chosen, as fields; but for those named."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return [(name, value) for name, value in pairs if value is not None and name not in without]


class Desk:
    """One look at everything the desk shows. Parts that did not come in time are `missing`, the rest is shown."""

    def __init__(self, view: View, scheduling: RpcClient, timeout_s: float, chosen: Chosen) -> None:
        self.view, self.chosen, self.now = view, chosen, clock.utc_now()
        self.today = view.formats.local(self.now).date()
        self.day = _date(chosen.day) or self.today
        self.since = max(_date(chosen.since) or self.today, self.today)
        parts = ask.together(**self._questions(scheduling, timeout_s))
        self.queue, self.board, self.technicians = parts["queue"], parts["board"], parts["technicians"]
        nothing = Part(error=Invalid("nothing is chosen"))
        self.visit, self.windows = parts.get("visit", nothing), parts.get("windows", nothing)
        self.done, self.moving = parts.get("done", nothing), parts.get("moving", nothing)
        self.targets = parts.get("targets", nothing)

    def _questions(self, scheduling: RpcClient, timeout_s: float) -> dict[str, ask.Question]:
        def of(method: str, **arguments: Any) -> ask.Question:
            return ask.question(scheduling, method, timeout_s, **arguments)

        def free(order_id: str, first: date, days: int) -> ask.Question:
            last = first + timedelta(days=days)
            return of("free_windows", order_id=order_id, from_=first.isoformat(), to=last.isoformat())

        chosen = self.chosen
        questions = {
            "queue": of("list_visits", limit=QUEUE_LIMIT, cursor=chosen.cursor),
            "board": of("day_board", date=self.day.isoformat()),
            "technicians": of("list_technicians"),
        }
        if chosen.order:
            questions["visit"] = of("get_visit", order_id=chosen.order)
            questions["windows"] = free(chosen.order, self.since, DAYS_SHOWN)
        if chosen.done:
            questions["done"] = of("get_visit", order_id=chosen.done)
        if chosen.move:
            questions["moving"] = of("get_visit", order_id=chosen.move)
            questions["targets"] = free(chosen.move, self.day, 1)
        return questions

    @property
    def mine(self) -> bool:
        """Whether the reader is on the phone with the chosen customer, and so sees the number."""
        return self.visit.known and (self.visit.value["claim"] or {}).get("by") == self.view.by.subject

    @property
    def call_id(self) -> str:
        """The same for every sending of this form: the caller's call after so many others counts once."""
        return str(uuid5(NAMESPACE_URL, f"{self.chosen.order}/{self.visit.value['calls']}/{self.view.by.subject}"))

    @property
    def call_back_at(self) -> str:
        """A time to offer for calling again, in local time: the next full half hour after an hour from now."""
        later = self.view.formats.local(self.now) + timedelta(hours=1)
        return (later.replace(minute=later.minute // 30 * 30) + timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M")

    @property
    def day_before(self) -> str:
        """The day before the board's."""
        return (self.day - timedelta(days=1)).isoformat()

    @property
    def day_after(self) -> str:
        """The day after the board's."""
        return (self.day + timedelta(days=1)).isoformat()

    @property
    def earlier(self) -> str:
        """The first day of the free windows before those shown, not before today."""
        return max(self.since - timedelta(days=DAYS_SHOWN), self.today).isoformat()

    @property
    def later(self) -> str:
        """The first day of the free windows after those shown."""
        return (self.since + timedelta(days=DAYS_SHOWN)).isoformat()

    def week(self) -> dict[str, Any]:
        """The free windows as a table: `days`, and `rows` of hours with a window or None for each day."""
        return week(self.windows.value["items"], self.since, self.view.formats)

    def picked(self) -> dict[str, Any] | None:
        """The chosen window with who could come, best first, each with skills, areas and that day's load."""
        items = self.windows.value["items"] if self.windows.known and self.chosen.pick else []
        window = next((w for w in items if _moment(w["window_start"]) == _moment(self.chosen.pick)), None)
        if window is None:
            return None
        known = {t["id"]: t for t in self.technicians.value["items"]} if self.technicians.known else {}
        day = self.view.formats.local_date(window["window_start"])
        able = [known.get(t["id"], {}) | t for t in window["technicians"]]
        return window | {"technicians": [t | {"load_that_day": t.get("load_by_day", {}).get(day, 0)} for t in able]}

    def rows(self) -> list[dict[str, Any]]:
        """The board: each technician with a cell a window (see `board_rows`; `target` while a visit is moved)."""
        targets = {
            (technician["id"], window["window_start"])
            for window in (self.targets.value["items"] if self.targets.known else [])
            for technician in window["technicians"]
        }
        return board_rows(self.board.value, targets, self.now)


def week(items: Sequence[Mapping[str, Any]], first: date, formats: Formats) -> dict[str, Any]:
    """Free windows by day and hours: `{"days": [date], "rows": [{"hours", "cells": [window or None]}]}`."""
    days = [first + timedelta(days=n) for n in range(DAYS_SHOWN)]
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for window in items:
        hours = formats.hours(window["window_start"], window["window_end"])
        found[hours, formats.local_date(window["window_start"])] = window
    rows = [
        {"hours": hours, "cells": [found.get((hours, day.isoformat())) for day in days]}
        for hours in sorted({hours for hours, _ in found})
    ]
    return {"days": days, "rows": rows}


def board_rows(board: Mapping[str, Any], targets: set[tuple[str, str]], now: datetime) -> list[dict[str, Any]]:
    """Each technician with one cell for each window; `ahead`: it has not begun at `now`. `targets`: (id, start)."""
    starts = [_moment(window["window_start"]) for window in board["windows"]]
    rows = []
    for technician in board["technicians"]:
        works = {_moment(start) for start in technician["works"]}
        cells = [
            {
                "window": window,
                "works": start in works,
                "ahead": start is not None and start > now,
                "visits": [v for v in technician["visits"] if _moment(v["window_start"]) == start],
                "target": (technician["id"], window["window_start"]) in targets,
            }
            for window, start in zip(board["windows"], starts, strict=True)
        ]
        rows.append(dict(technician) | {"cells": cells})
    return rows


def why_refused(error: DomainError | None, visit: Part, me: str, revision: int | None) -> str:
    """The code of the text that says why scheduling refused, as far as the visit as it now stands can tell."""
    if error is None or not visit.known:
        return "no-answer"
    if isinstance(error, Invalid):
        at_fault = error.fields[0]["field"] if error.fields else ""
        known = {"window_start": "past", "window_end": "past", "technician_id": "unfit", "call_back_at": "call-back"}
        return known.get(at_fault, "invalid")
    claim = visit.value["claim"]
    if claim is not None and claim["by"] != me:
        return "held"
    if visit.value["state"] not in OPEN:
        return "closed"
    return "moved" if revision not in (None, visit.value["revision"]) else "taken"


def _date(text: str | None) -> date | None:
    try:
        found = date.fromisoformat(text or "")
    except ValueError:
        return None
    return found if 2000 <= found.year < 2100 else None


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else None
