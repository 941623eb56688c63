"""What an order's facts mean to its subscriber: where it stands, what happens next, what they can do. Pure.

It decides which texts of `mypage.ftl` are said; the texts themselves, and moments in local time, are the template's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

StepName = Literal["order", "lines", "visit", "installation"]
StepState = Literal["done", "current", "ahead"]
Tone = Literal["plain", "good", "warn"]

STEPS: tuple[StepName, ...] = ("order", "lines", "visit", "installation")

_REACHED: dict[str, int] = {"accepted": 0, "placed": 1, "fallout": 1, "activated": 2, "scheduled": 3, "completed": 4}
"""By status on the way forward: how many steps are done."""

_OPEN = ("accepted", "placed", "fallout", "activated", "scheduled")
_TO_CALL = ("requested", "flagged")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an order. `order` is an OrderPage, None where nobody could tell; `visit` scheduling's answer.

    `is_current`: the order comes from mypage, or from the journal while nobody else has it. `visit_missing`:
    scheduling could not be asked. `cancel_waits`: a cancel is written down and not yet forwarded.
    """

    order: dict[str, Any] | None
    is_current: bool = True
    visit: dict[str, Any] | None = None
    visit_missing: bool = False
    cancel_waits: bool = False

    @property
    def status(self) -> str:
        """The order's status as its subscriber should see it; `unknown` without an order."""
        if self.order is None:
            return "unknown"
        status = str(self.order["status"])
        return "cancelling" if self.cancel_waits and status in _OPEN else status


@dataclass(frozen=True, slots=True)
class Visit:
    """An agreed visit."""

    window_start: str
    window_end: str
    technician_name: str


@dataclass(frozen=True, slots=True)
class Story:
    """`stage` names the texts `mypage-<stage>` (headline) and `mypage-<stage>-next` (what happens next).

    `visit` is the agreed visit where it will be made, or was.
    """

    stage: str
    tone: Tone
    steps: tuple[tuple[StepName, StepState], ...]
    visit: Visit | None
    can_choose_window: bool
    can_cancel: bool
    is_closed: bool


def story(facts: Facts, now: datetime, zone: ZoneInfo) -> Story:
    """Tell the story of these facts at this moment; `zone` is where "today" is."""
    visit = agreed_visit(facts)
    stage = _stage(facts, visit, now, zone)
    return Story(
        stage=stage,
        tone=_tone(stage),
        steps=_steps(facts),
        visit=visit if facts.status in (*_OPEN, "completed", "unknown") else None,
        can_choose_window=can_choose_window(facts),
        can_cancel=can_cancel(facts),
        is_closed=is_closed(facts),
    )


def agreed_visit(facts: Facts) -> Visit | None:
    """The newest agreed visit that mypage or scheduling knows: after a move, one of them is ahead of the other."""
    known = [found for found in ((facts.order or {}).get("visit"), facts.visit) if found and found.get("window_start")]
    if not known:
        return None
    newest = max(known, key=lambda found: int(found.get("revision") or 0))
    return Visit(newest["window_start"], newest["window_end"], newest["technician_name"])


def can_choose_window(facts: Facts) -> bool:
    """Whether the subscriber may fix or move the visit now."""
    state = (facts.visit or {}).get("state")
    return facts.status in ("placed", "fallout", "activated", "scheduled") and state in (*_TO_CALL, "scheduled")


def can_cancel(facts: Facts) -> bool:
    """Whether there is something to cancel. What only the journal knows and order_svc refused, there is not."""
    never_placed = facts.order is not None and facts.order["version"] == 0 and facts.status == "fallout"
    return facts.status in _OPEN and not never_placed


def is_closed(facts: Facts) -> bool:
    """Whether nothing more will happen."""
    if facts.order is None or not facts.is_current:
        return False
    happened = {entry["event"] for entry in facts.order["timeline"]}
    return not happened.isdisjoint({"order_completed", "order_rejected", "order_cancelled"})


def _stage(facts: Facts, visit: Visit | None, now: datetime, zone: ZoneInfo) -> str:
    status = facts.status
    if not facts.is_current and status in ("accepted", "placed"):
        return "received"
    if status == "accepted":
        return "accepted"
    if status == "fallout" and not can_cancel(facts):
        return "refused"
    if status == "cancelling" and facts.cancel_waits:
        return "cancel-waits"
    if status == "completed" and facts.order and facts.order["cancel_refused"]:
        return "completed-anyway"
    if status in ("activated", "scheduled"):
        return _visit_stage(facts, visit, now, zone)
    return status


def _visit_stage(facts: Facts, visit: Visit | None, now: datetime, zone: ZoneInfo) -> str:
    asked = facts.visit or {}
    if visit is not None:
        if now > datetime.fromisoformat(visit.window_end) + timedelta(minutes=30):
            return "scheduled-late"
        today = datetime.fromisoformat(visit.window_start).astimezone(zone).date() == now.astimezone(zone).date()
        return "scheduled-today" if today else "scheduled"
    if asked.get("last_outcome") == "refused":
        return "visit-refused"
    if asked.get("last_outcome") == "call_back" and asked.get("next_call_at"):
        return "call-back"
    return "call-missed" if asked.get("missed_calls") else "activated"


def _tone(stage: str) -> Tone:
    if stage in ("completed", "completed-anyway"):
        return "good"
    worrying = (
        "fallout", "refused", "call-missed", "visit-refused", "scheduled-late", "rejected", "unknown", "received",
    )
    return "warn" if stage in worrying else "plain"


def _steps(facts: Facts) -> tuple[tuple[StepName, StepState], ...]:
    """The way forward; empty where the order left it, or where it is not known how far it is."""
    reached = _REACHED.get(facts.status)
    if reached is None or not facts.is_current or (facts.status == "fallout" and not can_cancel(facts)):
        return ()
    if facts.status == "activated" and agreed_visit(facts) is not None:
        reached = _REACHED["scheduled"]
    states: dict[bool, StepState] = {True: "done", False: "ahead"}
    return tuple(
        (name, "current" if place == reached else states[place < reached]) for place, name in enumerate(STEPS)
    )
