"""What was found, as text and as a picture: the generated part of docs/scaling.md, and docs/scaling.svg."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from tools.bench.figures import MADE_BY
from tools.bench.plot import COLOURS
from tools.bench.report import number
from tools.scaling.cluster import FULL, SERVICES, Rules, loads
from tools.scaling.costs import Costs
from tools.scaling.meter import Seen
from tools.scaling.model import Cost
from tools.scaling.search import ALWAYS_FULL, EASY, ELEMENT_COMMIT_MS, VISIBLE_WITHIN_MS, Found
from tools.scaling.simulation import ALL_NODES

BEGIN, END = "<!-- scaling: begin -->", "<!-- scaling: end -->"
WIDTH, HEIGHT, EDGE = 760, 420, 60
RATES = (50, 100, 200, 400, 700)
WORDS = {ALL_NODES: "CPU of all nodes", "node of db": "the database server", "node of broker": "a broker node"}
HOP_OF = {"placing": "order (places)", "activation": "activation", "order": "order (events)", "mypage": "mypage",
          "fieldwork": "fieldwork"}  # fmt: skip


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown; the first column is text, the others are numbers or short text."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def measured(costs: Costs) -> list[str]:
    """Orders/s of each hop alone with 1, 2 and 3 processes, and what there can be only one of."""
    rows = []
    for hop, name in HOP_OF.items():
        service = name.split()[0]
        rates = [number(costs.get(f"drain.{hop}.{many}")) for many in (1, 2, 3)]
        spent = [costs.get(f"full.{hop}.cpu.{service}"), sum(costs.get(f"full.{hop}.db.{each}") for each in MADE_BY),
                 costs.get(f"full.{hop}.broker")]  # fmt: skip
        rows.append([name, *rates, *map(number, spent)])
    whole = [number(costs.get(f"load.rate.{many}")) for many in (1, 2, 3)]
    spent = [sum(costs.get(f"load.{kind}.{each}") for each in SERVICES) for kind in ("cpu", "db")]
    rows.append(["the whole system", *whole, *map(number, [*spent, costs.get("load.broker")])])
    head = ("backlog of", "orders/s, 1 process", "2", "3", "CPU ms an order", "PostgreSQL", "RabbitMQ")
    alone = [
        ["one gateway, that nobody answers (its journal)", f"{number(costs['drain.intake.1'])} orders/s"],
        ["one gateway's forwarder, with one order service", f"{number(costs['drain.placing.1'])} orders/s"],
        ["one activation", f"{number(costs['drain.activation.1'])} orders/s"],
        ["one relay", f"{number(costs['relay.rate'])} events/s"],
        ["one quorum queue on one node", f"{number(costs['queue.rate'])} messages/s"],
        ["a commit on this disk", f"{number(costs['commit'])} ms"],
    ]
    return [*table(head, rows), *table(("of which there is one", "at most"), alone)]


def compared(costs: Costs, cost_of: Mapping[str, Cost], seen: Seen, orders: int) -> list[str]:
    """The simulated batch beside the measured one: orders/s, CPU ms an order, sizes of batches."""
    pairs = [("until visible, orders/s", costs["load.rate.1"], orders / seen.seconds)]
    for name in SERVICES:
        pairs.append((f"{name}, CPU ms an order", costs.get(f"load.cpu.{name}"), seen.cpu_ms.get(name, 0.0)))
    database = sum(costs.get(f"load.db.{name}") for name in SERVICES)
    pairs.append(("PostgreSQL, CPU ms an order", database, seen.cpu_ms.get("db", 0.0)))
    pairs.append(("RabbitMQ, CPU ms an order", costs.get("load.broker"), seen.cpu_ms.get("broker", 0.0)))
    total = ("all of ours, CPU ms an order", sum(pair[1] for pair in pairs[1:]), sum(pair[2] for pair in pairs[1:]))
    pairs.insert(1, total)
    rounds = (("activation", "start activation"), ("order", "note activation"), ("mypage", "fold pages"))
    pairs += [(f"events {service} takes together", costs.get(f"load.batch.{service}"), seen.sizes.get(name, 0.0))
              for service, name in rounds]  # fmt: skip
    rows = [[name, number(one), number(two), f"{100 * (two / one - 1):+.0f} %" if one else "-"]
            for name, one, two in pairs]  # fmt: skip
    return table(("a batch of 2,000, 32 connections", "measured", "simulated", "difference"), rows)


def named(full: str) -> str:
    """A bottleneck in words."""
    if full in WORDS:
        return WORDS[full]
    if full.startswith("node of db"):
        return f"{full.removeprefix('node of db ')}'s database server"
    if full.startswith("workers: ") and full.endswith(" relay"):
        return f"{full.split()[1]}'s relay"
    return full.replace("'s process", "").replace("workers: ", "who is to ")


def grown(as_it_is: Sequence[Found], lifted: Sequence[Found]) -> list[str]:
    """Both curves, size by size."""
    rows = []
    for one, other in zip(as_it_is, lifted, strict=True):
        row = [str(one.cluster.machine.nodes)]
        for found in (one, other):
            row += [number(found.rate), f"{number(found.p50_ms)} / {number(found.p99_ms)}", named(found.full)]
        rows.append([*row, " ".join(str(other.cluster.counts[name]) for name in SERVICES)])
    head = ("nodes", "as it is, orders/s", "p50 / p99 ms", "full", "lifted, orders/s", "p50 / p99 ms", "full",
            "processes")  # fmt: skip
    note = (
        f"Sustained: nothing piles up, and 99 of 100 orders are visible within {VISIBLE_WITHIN_MS / 1000:g} s. p50 "
        f"and p99 until visible are those at {100 * EASY:.0f} % of that rate. Processes are those of the lifted "
        f"cluster, of {', '.join(SERVICES)}."
    )
    return [*table(head, rows), note, ""]


def climbed(steps: Iterable[tuple[Rules, str, Found]]) -> list[str]:
    """What is lifted first, second and so on, on the largest cluster."""
    rows = [[meaning, number(found.rate), named(found.full)] for _, meaning, found in steps]
    return table(("100 nodes", "orders/s", "full"), rows)


def sizing(costs: Mapping[str, Cost]) -> list[str]:
    """Processes, cores and elements for some rates, by sums with costs in rounds of a few orders."""
    load, floor = loads(costs, Rules()), loads(costs, Rules(), ALWAYS_FULL)
    rows = []
    for rate in RATES:
        row = [str(rate)]
        row += [str(max(1, math.ceil(rate * load[name] / 1000 / FULL))) for name in SERVICES if name != "activation"]
        row.append(f"{100 * rate * floor['activation'] / 1000:.0f} %")
        row += [f"{rate * load[kind] / 1000:.1f}" for kind in ("db", "broker")]
        row.append(str(math.ceil(rate * ELEMENT_COMMIT_MS / 1000 / 0.5)))
        rows.append(row)
    head = ("orders/s", "gateway", "order", "scheduling", "mypage", "the one activation is used", "PostgreSQL, cores",
            "RabbitMQ, cores", "access nodes")  # fmt: skip
    return table(head, rows)


def within(page: str, block: str) -> str:
    """The page with its generated part replaced. Raises ValueError where the marks are missing."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"there is no {BEGIN} ... {END} in the page")
    return f"{before}{BEGIN}\n{block.strip()}\n{END}{after}"


class _Scale:
    """Where nodes and orders/s are in the picture: both on scales of powers of ten."""

    def __init__(self, rates: Sequence[float]) -> None:
        self.bottom, self.top = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)))

    def at(self, nodes: float, rate: float) -> tuple[float, float]:
        x = EDGE + (WIDTH - 2 * EDGE) * math.log10(nodes) / 2
        share = (math.log10(rate) - self.bottom) / max(1, self.top - self.bottom)
        return x, HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * share


def picture(as_it_is: Sequence[Found], lifted: Sequence[Found]) -> str:
    """Orders/s by nodes, as it is and with every limit lifted."""
    scale = _Scale([found.rate for found in (*as_it_is, *lifted)])
    style = "font-family: sans-serif; font-size: 12px; background: #fff"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" style="{style}">']
    parts += _axes(scale, as_it_is)
    curves = {"as it is": (as_it_is, COLOURS[1]), "with every limit lifted": (lifted, COLOURS[0])}
    for name, (curve, colour) in curves.items():
        points = [scale.at(found.cluster.machine.nodes, found.rate) for found in curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), found in zip(points, curve, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
            parts.append(f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle">{number(found.rate)}</text>')
        x, y = points[-1]
        parts.append(f'<text x="{x:.1f}" y="{y - 22:.1f}" text-anchor="end" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _axes(scale: _Scale, curve: Sequence[Found]) -> list[str]:
    parts = []
    for power in range(scale.bottom, scale.top + 1):
        _, y = scale.at(1, 10**power)
        parts.append(f'<line x1="{EDGE}" x2="{WIDTH - EDGE}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d0d7de"/>'
                     f'<text x="{EDGE - 8}" y="{y + 4:.1f}" text-anchor="end">{10**power}</text>')  # fmt: skip
    for nodes in (found.cluster.machine.nodes for found in curve):
        x, y = scale.at(nodes, 10**scale.bottom)
        parts.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{nodes}</text>')
    below = f"nodes of {curve[0].cluster.machine.cores} cores"
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 18}" text-anchor="middle">{below}</text>')
    return [*parts, '<text x="10" y="24">orders/s until visible</text>']
