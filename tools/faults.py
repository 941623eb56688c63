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


LINK_FAULTS: Mapping[str, float] = {"latency": 8.0, "loss": 10.0, "swallow": 30.0, "vanish": 30.0, "cut": 6.0}
"""What may happen to a link, and for how many seconds at the longest: late bytes; some packets lost; a black hole in
the middle (`swallow`: both ends are answered by it) or at the other end (`vanish`: no packet is answered); cut."""


@dataclass(frozen=True, slots=True)
class LinkFault:
    """One fault on the way between two parts, undone after `lasts_s` seconds."""

    kind: str
    link: str
    lasts_s: float

    def __str__(self) -> str:
        return f"{self.kind} {self.link} for {self.lasts_s:.1f} s"


def link_schedule(seed: int | str, links: Mapping[str, str], *, whole: bool) -> tuple[LinkFault, ...]:
    """Faults of links, one after the other. `links`: by name, the sort of each (`broker`, `database` ...).

    `whole`: every kind of fault on every link, in a drawn order. Else as few and as short ones as leave out no kind of
    fault and no sort of link.
    """
    lot = random.Random(f"links {seed}")
    if whole:
        pairs = [(kind, link) for link in links for kind in LINK_FAULTS]
        lot.shuffle(pairs)
        return tuple(LinkFault(kind, link, _lasting(lot, kind)) for kind, link in pairs)
    sorts = sorted(set(links.values()))
    kinds = lot.sample(list(LINK_FAULTS), len(LINK_FAULTS))
    victims = lot.sample(sorts, len(sorts))
    count = max(len(kinds), len(victims))
    return tuple(
        LinkFault(kind, lot.choice([link for link, is_a in links.items() if is_a == sort]),
                  min(_lasting(lot, kind), SHORT_S))
        for kind, sort in zip(_around(kinds, count), _around(victims, count), strict=True)
    )  # fmt: skip


SHORT_S = 3.0
"""No fault lasts longer in a short form."""


def _lasting(lot: random.Random, kind: str) -> float:
    return round(lot.uniform(0.4, 1.0) * LINK_FAULTS[kind], 2)


def _around(items: Sequence[str], count: int) -> list[str]:
    return [items[number % len(items)] for number in range(count)]
