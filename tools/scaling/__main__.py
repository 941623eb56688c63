"""`make scaling`: simulate clusters of 1 to 100 nodes from docs/bench/costs.json; prints, and writes docs/scaling.*."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tools.paths import ROOT
from tools.scaling import report
from tools.scaling.cluster import Cluster, Machine, Rules, fixed, placed
from tools.scaling.costs import Costs
from tools.scaling.meter import Seen
from tools.scaling.model import Cost, rounds
from tools.scaling.search import SIZES, Found, ladder, machine_of, sustained
from tools.scaling.simulation import Simulation

PAGE, PICTURE = ROOT / "docs" / "scaling.md", ROOT / "docs" / "scaling.svg"
COSTS = ROOT / "docs" / "bench" / "costs.json"
CORES, ELEMENTS = 4, 500
HERE_CORES, HERE_HOP_MS, BATCH, CLIENTS = 2, 0.05, 2000, 32
"""The machine that was measured, and its batch."""


def here(costs: Costs, cost_of: dict[str, Cost]) -> Seen:
    """The batch that `make bench` measures, on a machine like the one it was measured on, everything there once."""
    beside = costs.get("load.elements")
    machine = Machine(1, HERE_CORES, costs["commit"], HERE_HOP_MS, costs["queue.rate"], beside=beside)
    return Simulation(fixed(cost_of, machine, Rules(), Counter()), cost_of).batch(BATCH, CLIENTS)


def cluster_of(costs: Costs, nodes: int, cores: int, rules: Rules) -> Cluster:
    """A cluster of that size, filled."""
    machine = machine_of(nodes, cores, costs["commit"], costs["queue.rate"], ELEMENTS)
    return placed(rounds(costs), machine, rules)


def _found(path: Path, nodes: int, cores: int, rules: Rules) -> Found:
    """In a process of its own: costs are read there."""
    costs = Costs.read(path)
    return sustained(cluster_of(costs, nodes, cores, rules), rounds(costs))


def curves(path: Path, cores: int) -> tuple[list[tuple[Rules, str, Found]], list[Found], list[Found]]:
    """The ladder on the largest cluster; then what each size takes as it is, and with everything lifted."""
    costs = Costs.read(path)
    cost_of = rounds(costs)
    with ProcessPoolExecutor(max_workers=2) as pool:
        smaller = SIZES[:-1]
        first = [pool.submit(_found, path, nodes, cores, Rules()) for nodes in smaller]
        machine = machine_of(SIZES[-1], cores, costs["commit"], costs["queue.rate"], ELEMENTS)
        steps = list(ladder(machine, cost_of))
        second = [pool.submit(_found, path, nodes, cores, steps[-1][0]) for nodes in reversed(smaller)]
        as_it_is = [each.result() for each in first] + [steps[0][2]]
        lifted = [each.result() for each in reversed(second)] + [steps[-1][2]]
    return steps, as_it_is, lifted


def block(costs: Costs, path: Path, cores: int) -> tuple[str, str]:
    """The generated part of the page, and the picture."""
    cost_of = rounds(costs)
    steps, as_it_is, lifted = curves(path, cores)
    about = costs.about
    lines = [
        f"Measured on {about['measured']} at commit {about['commit']}: {about['setting']}; {about['rounds']} round(s).",
        "", *report.measured(costs), *report.compared(costs, cost_of, here(costs, cost_of), BATCH),
        f"Nodes of {cores} cores:", "", *report.grown(as_it_is, lifted), "![orders/s by nodes](scaling.svg)", "",
        *report.climbed(steps), *report.sizing(cost_of),
    ]  # fmt: skip
    return "\n".join(lines), report.picture(as_it_is, lifted)


def main() -> int:
    """Print it, and write it into the page."""
    parser = argparse.ArgumentParser(prog="tools.scaling", description=__doc__)
    parser.add_argument("--costs", type=Path, default=COSTS, help="measured figures (docs/bench/costs.json)")
    parser.add_argument("--cores", type=int, default=CORES, help="cores of a node")
    args = parser.parse_args()
    try:
        costs = Costs.read(args.costs)
    except OSError as error:
        print(f'error: {error}; make bench BENCH_ARGS="--only replicas --keep" writes it', file=sys.stderr)
        return 1
    text, picture = block(costs, args.costs, args.cores)
    print(text)
    PAGE.write_text(report.within(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    PICTURE.write_text(picture, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
