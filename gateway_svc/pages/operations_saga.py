"""The saga as a picture: one description of its steps and ways, and where an order is in it. Pure; drawn as SVG by
`templates/operations/saga.html`.

Forward: order, activation, visit, field work (the pivot), completed. Cancelled: the request travels down, what was done
is undone on the way back. Rejected: what was provisioned is put back (docs/architecture.md, "Sagas").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Mark = Literal["now", "passed", "next", "idle"]
Point = tuple[float, float]

WIDTH, HEIGHT = 1096, 452
_BOX_W, _BOX_H = 180, 56
_COLUMN, _LEFT = 222, 12
_LANES = (8, 104, 208, 296, 384)
_HEAD = 9


@dataclass(frozen=True, slots=True)
class Step:
    """One box. `event` is what shows that the order has been here, `service` who says so."""

    key: str
    column: int
    lane: int
    service: str
    event: str

    @property
    def x(self) -> int:
        return _LEFT + self.column * _COLUMN

    @property
    def y(self) -> int:
        return _LANES[self.lane]


PIVOT = "installed"
FINAL = frozenset({"completed", "cancelled", "rejected"})

STEPS: tuple[Step, ...] = (
    Step("placed", 0, 1, "order", "order_placed"),
    Step("fallout", 1, 0, "activation", "activation_failed"),
    Step("activated", 1, 1, "activation", "activation_completed"),
    Step("scheduled", 2, 1, "scheduling", "visit_scheduled"),
    Step(PIVOT, 3, 1, "fieldwork", "fieldwork_completed"),
    Step("completed", 4, 1, "order", "order_completed"),
    Step("cancel-requested", 0, 2, "order", "order_cancel_requested"),
    Step("activation-cancel", 1, 2, "activation", "activation_cancel_requested"),
    Step("visit-cancel", 2, 2, "scheduling", "visit_cancel_requested"),
    Step("job-withdrawn", 3, 3, "fieldwork", "fieldwork_cancelled"),
    Step("visit-cancelled", 2, 3, "scheduling", "visit_cancelled"),
    Step("put-back", 1, 3, "activation", "activation_reverted/cancelled"),
    Step("cancelled", 0, 3, "order", "order_cancelled"),
    Step("job-rejected", 3, 4, "fieldwork", "fieldwork_rejected"),
    Step("put-back-rejected", 1, 4, "activation", "activation_reverted/rejected"),
    Step("rejected", 0, 4, "order", "order_rejected"),
)
BY_KEY: dict[str, Step] = {step.key: step for step in STEPS}

# (from, to, how the line runs); the way an order goes on by itself unless something happens is `plain`, others are not.
WAYS: tuple[tuple[str, str, str], ...] = (
    ("placed", "activated", "plain"), ("activated", "scheduled", "plain"), ("scheduled", PIVOT, "plain"),
    (PIVOT, "completed", "plain"),
    ("placed", "fallout", "up"), ("fallout", "activated", "down"),
    ("placed", "cancel-requested", "down"), ("cancel-requested", "activation-cancel", "plain"),
    ("activation-cancel", "visit-cancel", "plain"), ("visit-cancel", "job-withdrawn", "round"),
    ("activation-cancel", "put-back", "down"), ("visit-cancel", "visit-cancelled", "down"),
    ("job-withdrawn", "visit-cancelled", "plain"), ("visit-cancelled", "put-back", "plain"),
    ("put-back", "cancelled", "plain"),
    ("scheduled", "job-rejected", "aside"), ("job-rejected", "put-back-rejected", "plain"),
    ("put-back-rejected", "rejected", "plain"),
)

# The first of these that an order has been at is where it is. What comes after the pivot wins over any cancel.
_FURTHEST = (
    "completed", PIVOT, "rejected", "put-back-rejected", "job-rejected", "cancelled", "put-back", "visit-cancelled",
    "job-withdrawn", "visit-cancel", "activation-cancel", "cancel-requested", "scheduled", "activated", "fallout",
    "placed",
)


@dataclass(frozen=True, slots=True)
class Position:
    """Where an order is. `passed`: when it was at each step, in the order of time, where it is now included."""

    now: str | None
    passed: Mapping[str, str]
    following: tuple[str, ...]

    def mark(self, key: str) -> Mark:
        """How the box of a step is drawn."""
        if key == self.now:
            return "now"
        if key in self.passed:
            return "passed"
        return "next" if key in self.following else "idle"

    def way(self, start: str, end: str) -> Mark:
        """How the line between two steps is drawn: the one that was taken came from the last step before."""
        before = [key for key, other, _ in WAYS if other == end and key in self.passed and end in self.passed
                  and self.passed[key] <= self.passed[end]]  # fmt: skip
        if before and start == max(before, key=list(self.passed).index):
            return "passed"
        return "next" if start == self.now and end in self.following else "idle"


def position(moments: Mapping[str, str]) -> Position:
    """Where an order is to which these events have happened (event type -> sortable moment).

    An `activation_reverted` without an outcome belongs to the rejection where there was one, else to the cancel.
    """
    known = dict(moments)
    if "activation_reverted" in known:
        outcome = "rejected" if "fieldwork_rejected" in known or "order_rejected" in known else "cancelled"
        known.setdefault(f"activation_reverted/{outcome}", known["activation_reverted"])
    reached = {step.key: known[step.event] for step in STEPS if step.event in known}
    passed = dict(sorted(reached.items(), key=lambda item: (item[1], -_FURTHEST.index(item[0]))))
    now = next((key for key in _FURTHEST if key in passed), None)
    return Position(now, passed, _following(now, passed))


def _following(now: str | None, passed: Mapping[str, str]) -> tuple[str, ...]:
    if now is None:
        return ("placed",)
    if now in FINAL:
        return ()
    # A cancel goes down as far as the order had come, and turns round there.
    turns = {
        "activation-cancel": "visit-cancel" if "scheduled" in passed else "put-back", "fallout": "activated",
        "visit-cancel": "job-withdrawn",
    }
    if now in turns:
        return (turns[now],)
    return tuple(end for start, end, run in WAYS if start == now and run == "plain")


@dataclass(frozen=True, slots=True)
class Line:
    """One way as it is drawn: the path, and the head of its arrow."""

    path: str
    head: str
    mark: Mark


def lines(at: Position) -> list[Line]:
    """Every way, those that were taken last, so that they lie on top."""
    drawn = [_line(BY_KEY[start], BY_KEY[end], run, at.way(start, end)) for start, end, run in WAYS]
    return sorted(drawn, key=lambda line: ("idle", "next", "passed").index(line.mark))


def _line(start: Step, end: Step, run: str, mark: Mark) -> Line:
    points = _points(start, end, run)
    (x0, y0), (x1, y1) = points[-2], points[-1]
    dx, dy = (x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0)
    back = (x1 - dx * _HEAD, y1 - dy * _HEAD)
    half = _HEAD * 0.55
    head = ((x1, y1), (back[0] - dy * half, back[1] - dx * half), (back[0] + dy * half, back[1] + dx * half))
    path = "M" + " L".join(f"{x:g} {y:g}" for x, y in [*points[:-1], back])
    return Line(path, " ".join(f"{x:g},{y:g}" for x, y in head), mark)


def _points(start: Step, end: Step, run: str) -> list[Point]:
    """The corners of the way from one box to another."""
    left, right = (start.x, end.x + _BOX_W) if end.column < start.column else (start.x + _BOX_W, end.x)
    start_y, end_y, middle = start.y + _BOX_H / 2, end.y + _BOX_H / 2, end.x + _BOX_W / 2
    if run == "up":
        return [(start.x + _BOX_W / 2, start.y), (start.x + _BOX_W / 2, end_y), (end.x, end_y)]
    if run == "down":
        top, bottom = (start.y + _BOX_H, end.y)
        return [(middle, top), (middle, bottom)]
    if run == "round":
        return [(left, start_y), (middle, start_y), (middle, end.y)]
    if run == "aside":
        # From under the visit round the right of field work, which lies between.
        low, out = start.y + _BOX_H + 22, end.x + _BOX_W + 20
        foot = start.x + _BOX_W - 24
        return [(foot, start.y + _BOX_H), (foot, low), (out, low), (out, end_y), (end.x + _BOX_W, end_y)]
    return [(left, start_y), (right, end_y)]


def boxes(at: Position) -> list[tuple[Step, Mark]]:
    """Every step and how it is drawn."""
    return [(step, at.mark(step.key)) for step in STEPS]


SIZE: dict[str, Any] = {
    "width": WIDTH, "height": HEIGHT, "box_w": _BOX_W, "box_h": _BOX_H, "lanes": _LANES,
    "notes_x": _LEFT + 4 * _COLUMN,
}
