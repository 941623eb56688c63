"""`make bench`: measure this checkout, or it and another revision in turns, print the table, keep the figures.

    python -m tools.bench [--rounds N] [--only SECTION ...] [--compare REVISION] [--short] [--orders N] [--keep]

Every turn starts a system of its own with empty databases, so that neither side finds what the other has left.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools import rabbit
from tools.bench import limits, load, plot, wrk
from tools.bench.arrivals import arrivals
from tools.bench.figures import Reading
from tools.bench.growth import growth
from tools.bench.host import FOLDER, Checkout, Host, other_checkout, running, this_checkout
from tools.bench.load import SHORT, Size
from tools.bench.replicas import replicas
from tools.bench.report import Side, document, table
from tools.bench.streams import streams
from tools.packages import PackagesMissing, ensure
from tools.paths import ROOT
from tools.scaling.costs import from_bench
from tools.waiting import NotInTime

KEPT = ROOT / "docs" / "bench"
WARM_UP = 200
SECTIONS: dict[str, Callable[[Host, Size], Reading]] = {
    "idle": load.idle, "intake-1": load.intake_1, "intake-32": load.intake_32, "batch": load.batch,
    "arrivals": arrivals, "reads": load.reads, "streams": streams, "memory": load.memory, "growth": growth,
    "replicas": replicas,
}  # fmt: skip
LIMITS, MEMORY, GROWTH, REPLICAS = "limits", "memory", "growth", "replicas"
"""Limits come last and know what the batch cost. Memory is looked at in the last round only: it takes longest. Growth
fills the databases with a million orders, so it is done only where it is asked for, and best alone; so are
replicas, for `make scaling`."""


def turn(host: Host, names: Sequence[str], size: Size) -> tuple[Reading, list[str]]:
    """Measure these sections on a system that has just started; what was found, and what could not be measured."""
    found: Reading = {}
    failed: list[str] = []
    load.warm_up(host, min(WARM_UP, size.batch))
    for name in names:
        _say(f"  {name}")
        host.settle()
        try:
            found |= limits.limits(host, size, found) if name == LIMITS else SECTIONS[name](host, size)
        except NotInTime as error:
            failed.append(f"{name}: {error}")
            _say(f"  {name} could not be measured: {error}")
    return found, failed


def _turn_of(checkout: Checkout, folder: Path, names: Sequence[str], size: Size) -> tuple[Reading, list[str]]:
    """A turn with a system of its own. One that does not start, or loses orders, must not lose the other rounds."""
    try:
        with running(checkout, folder) as host:
            return turn(host, names, size)
    except NotInTime as error:
        return {}, [str(error)]


def measure(
    checkouts: Sequence[Checkout], rounds: int, names: Sequence[str], size: Size
) -> tuple[list[list[Reading]], list[str]]:
    """The readings of each checkout, round by round, and what could not be measured.

    Within a round each has its turn; who begins changes, so that what grows slowly meanwhile favours nobody.
    """
    readings: list[list[Reading]] = [[] for _ in checkouts]
    failed: list[str] = []
    for number in range(rounds):
        last = number == rounds - 1
        order = list(enumerate(checkouts))
        for at, checkout in reversed(order) if number % 2 else order:
            _say(f"round {number + 1} of {rounds}: {checkout.name}")
            found, trouble = _turn_of(checkout, FOLDER / f"run-{at}", [n for n in names if last or n != MEMORY], size)
            readings[at].append(found)
            failed += [f"{checkout.name}, round {number + 1}, {text}" for text in trouble]
    return readings, failed


def setting() -> str:
    """On what it was measured, without a word on which machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} processors and {memory:.0f} GB of memory, {platform.system()}, "
        f"Python {platform.python_version()}; broker, database, services and clients all on this one machine"
    )


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="tools.bench", description=__doc__.split("\n", 1)[0])
    known = (*SECTIONS, LIMITS)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side; below five, 30 %% mean nothing")
    parser.add_argument("--only", nargs="*", choices=known, metavar="SECTION",
                        default=[each for each in known if each not in (GROWTH, REPLICAS)],
                        help=f"of {', '.join(known)}; all but {GROWTH} and {REPLICAS} where none is named")  # fmt: skip
    parser.add_argument("--compare", metavar="REVISION", help="another revision, measured in turns with this checkout")
    parser.add_argument("--short", action="store_true", help="few orders, to see that it works")
    parser.add_argument("--orders", type=int, help="how many orders memory is looked at over (20000)")
    parser.add_argument("--keep", action="store_true", help="write what was measured into docs/bench")
    return parser.parse_args(argv)


def main() -> int:
    """Measure and print; 1 where something could not be measured."""
    args = arguments()
    size = SHORT if args.short else Size()
    if args.orders:
        size = replace(size, memory=args.orders)
    names = [name for name in (*SECTIONS, LIMITS) if name in args.only]
    began = datetime.now(UTC)
    try:
        ensure(wrk.SERVER, rabbit.SERVER, *((limits.COMPILER,) if LIMITS in names else ()))
        with ExitStack() as stack:
            checkouts = [this_checkout()]
            if args.compare:
                checkouts.append(stack.enter_context(other_checkout(args.compare)))
            readings, failed = measure(checkouts, args.rounds, names, size)
    except (PackagesMissing, NotInTime, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    sides = [Side(each.name, each.commit, found) for each, found in zip(checkouts, readings, strict=True)]
    other = sides[1] if len(sides) > 1 else None
    made = {"measured": began.strftime("%Y-%m-%d"), "setting": setting(), "short": args.short}
    print("\n" + table(sides[0], other))
    folder = KEPT if args.keep else FOLDER
    if names != [REPLICAS]:
        _keep(folder, document(sides[0], other, made), plot.svg(sides))
    if REPLICAS in names and not failed:
        about = made | {"commit": sides[0].commit, "rounds": args.rounds}
        (folder / "costs.json").write_text(from_bench(sides[0].found, about).text(), encoding="utf-8")
        print(f"\nwhat make scaling reads: {folder.relative_to(ROOT)}/costs.json")
    for text in failed:
        print(f"not measured: {text}", file=sys.stderr)
    return 1 if failed else 0


def _keep(folder: Path, found: dict[str, Any], picture: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "results.svg").write_text(picture, encoding="utf-8")
    print(f"\nall values: {folder.relative_to(ROOT)}/results.json, picture: results.svg beside it")


def _say(text: str) -> None:
    print(f"» {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
