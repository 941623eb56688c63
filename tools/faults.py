"""Schedules of faults drawn by lot: which, on what, after how many orders, for how long. Pure.

The same seed draws the same schedule, so that a run that broke a promise can be had again. Nothing here inflicts
anything: `tests/harness/drill_faults.py` does.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SERVICE_FAULTS = ("kill", "freeze", "stop", "cut_broker", "cut_database", "replace")
BROKER_FAULTS = ("kill", "stop", "freeze")
DATABASE_FAULTS = ("kill", "stop", "freeze")
ELEMENT_FAULTS = ("kill", "freeze", "refuse")

# How often each kind of target is drawn. Nodes bring everything to a halt, so they are rarer.
WEIGHTS = {"service": 12, "element": 4, "broker": 2, "database": 2, "everything": 1}
LONGEST_S: Mapping[str, float] = {
    "kill": 2.0, "freeze": 6.0, "stop": 3.0, "cut_broker": 0.0, "cut_database": 0.0, "replace": 0.0, "refuse": 3.0,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `kind` on `target`, once `after` orders are closed, undone after `lasts_s` seconds.

    `target` is a process (`order`, `gateway-2`), `broker`, `database`, an element (`olt-1`), or `everything`, whose
    connections are all cut.
    """

    after: int
    kind: str
    target: str
    lasts_s: float

    def __str__(self) -> str:
        lasting = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"after {self.after}: {self.kind} {self.target}{lasting}"


def schedule(
    seed: int | str, count: int, orders: int, processes: Sequence[str], elements: Sequence[str]
) -> tuple[Fault, ...]:
    """`count` faults over the first nine tenths of `orders` orders, in their order.

    The first faults go once round the processes, so that a short run leaves none out; the rest is drawn.
    """
    lot = random.Random(f"faults {seed}")
    victims = lot.sample(list(processes), len(processes))
    faults = []
    for number in range(count):
        after = int(0.9 * orders * number / max(1, count))
        target = victims[number] if number < len(victims) else _target(lot, processes, elements)
        kind = lot.choice(_kinds(target, elements))
        faults.append(Fault(after, kind, target, round(lot.uniform(0.2, 1.0) * LONGEST_S[kind], 2)))
    return tuple(faults)


def _target(lot: random.Random, processes: Sequence[str], elements: Sequence[str]) -> str:
    [sort] = lot.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))
    if sort == "service":
        return lot.choice(list(processes))
    return lot.choice(list(elements)) if sort == "element" and elements else "everything" if sort == "element" else sort


def _kinds(target: str, elements: Sequence[str]) -> tuple[str, ...]:
    if target == "everything":
        return ("cut_broker", "cut_database")
    if target in elements:
        # Only where we know how to make an element say no.
        return ELEMENT_FAULTS if target.startswith("bng") else ELEMENT_FAULTS[:2]
    return {"broker": BROKER_FAULTS, "database": DATABASE_FAULTS}.get(target, SERVICE_FAULTS)
