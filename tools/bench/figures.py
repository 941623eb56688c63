"""What was measured, as values: single readings, their medians over rounds, and the goals they are held against.

Arithmetic only; nothing here measures.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MADE_BY = ("gateway", "order", "activation", "scheduling", "fieldwork", "mypage")
"""Our processes. The simulator of the elements stands in for equipment, so it is shown and not added."""
BROKER, DATABASE = "RabbitMQ", "PostgreSQL"


@dataclass(frozen=True, order=True)
class Name:
    """What a figure is of: `section` and `title` as they are printed, and its unit."""

    section: str
    title: str
    unit: str


Reading = dict[Name, float]
"""What one turn (one revision in one round) found."""


@dataclass(frozen=True)
class Goal:
    """Met where the median is at most (or, with `at_least`, at least) this."""

    value: float
    at_least: bool = False

    def is_met(self, median: float) -> bool:
        return median >= self.value if self.at_least else median <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.value:g}"


IDLE = "idle"
INTAKE_1, INTAKE_32 = "intake, 1 connection", "intake, 32 connections"
BATCH = "batch, 32 connections"
ARRIVALS = "10 orders a second"
READS = "MyPage reads, 32 connections"
STREAMS = "event streams"
MEMORY = "memory"
LIMITS = "limits"
GROWTH = "growth"
GROWN = "× CPU"
"""How much dearer something is with the most orders stored than with the fewest."""
RATE, P50, P99 = "answered", "p50", "p99"
ALL = "all of ours"
VISIBLE = "until visible"

IDLE_ALONE, ONE, WHOLE = "replicas: idle", "replicas: one order after another", "replicas: whole system"
SERIAL = "replicas: one of a kind"
INTAKE_ALONE, PLACING, RELAY = "replicas: a gateway alone", "replicas: journal to order", "replicas: one relay"
DRAINED = {name: f"replicas: {name}'s backlog" for name in ("activation", "order", "mypage", "fieldwork")}

GOALS: Mapping[tuple[str, str], Goal] = {
    (BATCH, ALL): Goal(7),
    (INTAKE_1, ALL): Goal(18),
    (LIMITS, f"{DATABASE}, ours by its limit"): Goal(2),
    (LIMITS, f"{BROKER}, ours by its limit"): Goal(4),
    (BATCH, VISIBLE): Goal(270, at_least=True),
    (INTAKE_32, RATE): Goal(300, at_least=True),
    (INTAKE_32, P99): Goal(190),
    (ARRIVALS, f"{VISIBLE}, {P50}"): Goal(25),
    (ARRIVALS, f"{VISIBLE}, {P99}"): Goal(50),
    # Flat: from the first half of the orders to the second, nothing that would show over days.
    (MEMORY, "our processes, growth in the second half"): Goal(2),
}
"""By section and title; docs/bench/README.md says where they come from."""


def of_each(processes: int) -> str:
    """How figures are titled that were measured with so many processes of each service."""
    return f"{processes} of each"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all values do not exceed (nearest rank). Raises ValueError for none."""
    if not values:
        raise ValueError("no values, so no percentile")
    rank = max(1, math.ceil(len(values) * percent / 100))
    return sorted(values)[rank - 1]


def cost_of(section: str, cpu_s: Mapping[str, float], orders: int) -> Reading:
    """CPU ms an order: all of ours together, Python, broker and database, then each process, the dearest first."""
    each = {name: 1000 * seconds / orders for name, seconds in cpu_s.items()}
    python = sum(each.get(name, 0.0) for name in MADE_BY)
    broker, database = each.get(BROKER, 0.0), each.get(DATABASE, 0.0)
    unit = "CPU ms an order"
    found = {Name(section, ALL, unit): python + broker + database, Name(section, "Python", unit): python}
    for name in sorted(each, key=lambda name: -each[name]):
        if each[name] >= 0.005:
            found[Name(section, f"- {name}", unit)] = each[name]
    return found


@dataclass(frozen=True)
class Found:
    """One figure over all rounds, in their order."""

    name: Name
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def goal(self) -> Goal | None:
        return GOALS.get((self.name.section, self.name.title)) or (
            Goal(1.1) if self.name.section == GROWTH and self.name.unit == GROWN else None
        )


def collected(readings: Iterable[Reading]) -> list[Found]:
    """Every figure of these readings, in the order in which they came first."""
    values: dict[Name, list[float]] = {}
    for reading in readings:
        for name, value in reading.items():
            values.setdefault(name, []).append(value)
    return [Found(name, tuple(each)) for name, each in values.items()]


def paired(ours: Sequence[Reading], other: Sequence[Reading], name: Name) -> list[float]:
    """Ours by the other's, round by round, where both have the figure and the other's is not 0."""
    pairs = [(mine[name], its[name]) for mine, its in zip(ours, other, strict=False) if name in mine and name in its]
    return [one / two for one, two in pairs if two]
