"""`make drill`: outages, faults and rollouts with real processes; what came of them goes into docs/drills.md.

    python -m tools.drill [--only NAME ...] [--seed N] [--orders N] [--short] [--keep]

A drill is a function in `tests/harness` that takes a `Stage` and returns one `Result` or several; DRILLS names all of
them. `tests/drills` runs the short form of each. A new drill is a line here, its module, and a test.
"""

from __future__ import annotations

# First of all: the drills' clients and probes wait side by side in greenlets.
import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    import eventlet

    eventlet.monkey_patch()

import argparse
import importlib
import os
import platform
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools import namespace, packages
from tools.drill_child import run_in_own_network
from tools.drill_report import Result, failed, kept, report, summary, table
from tools.nodes import Nodes
from tools.packages import PackagesMissing
from tools.paths import ROOT
from tools.system import System

PAGE = ROOT / "docs" / "drills.md"
SEED = 20261126


@dataclass(frozen=True)
class Drill:
    """`run` is `module:function`. `own_system`: it starts nodes and a system of its own and needs none that runs.

    `own_network`: it runs as a child process in a network namespace of its own (so with a system of its own); what it
    needs from the system's packages is in its module's SERVERS.
    """

    name: str
    run: str
    own_system: bool = False
    own_network: bool = False

    def __post_init__(self) -> None:
        if self.own_network and not self.own_system:
            raise ValueError(f"{self.name}: a drill cannot take a running system into a network of its own")

    @property
    def module(self) -> str:
        """Where its function is."""
        return self.run.partition(":")[0]

    @property
    def title(self) -> str:
        """Its name in the table, where its module has one (`NAME`)."""
        return str(getattr(importlib.import_module(self.module), "NAME", self.name))

    def function(self) -> Callable[[Any], Result | Sequence[Result]]:
        """The drill itself, imported only when it is wanted."""
        name = self.run.partition(":")[2]
        found: Callable[[Any], Result | Sequence[Result]] = getattr(importlib.import_module(self.module), name)
        return found


DRILLS = (
    Drill("rolling", "tests.harness.drill_rolling:run"),
    Drill("healing", "tests.harness.drill_healing:run"),
    Drill("scaling", "tests.harness.drill_scaling:run"),
    Drill("clocks", "tests.harness.drill_clocks:run"),
    Drill("disk", "tests.harness.drill_disk:run"),
    Drill("broker", "tests.harness.drill_broker:run"),
    Drill("cluster", "tests.harness.drill_cluster:run", own_system=True, own_network=True),
    Drill("database", "tests.harness.drill_database:run"),
    Drill("standby", "tests.harness.drill_standby:run", own_system=True),
    Drill("random", "tests.harness.drill_random:run"),
    Drill("backup", "tests.harness.drill_backup:run"),
    Drill("network", "tests.harness.drill_network:run", own_system=True, own_network=True),
)


def chosen(names: Sequence[str]) -> list[Drill]:
    """These drills, or all; raises ValueError naming one that is not there."""
    known = {drill.name: drill for drill in DRILLS}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no such drill: {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names] or list(DRILLS)


def run(drill: Drill, stage: Any) -> list[Result]:
    """The drill's results; an error that is none of its findings becomes a failed one."""
    try:
        if drill.own_network and not namespace.is_private():
            return run_in_own_network(drill.name, drill.module, stage)
        found = drill.function()(stage)
    except Exception as error:
        traceback.print_exception(error)
        return [failed(drill.title, error, stage.seed)]
    return [found] if isinstance(found, Result) else list(found)


def run_here(name: str, folder: Path, *, seed: int, long: bool, orders: int | None) -> list[Result]:
    """One drill with a system of its own, in this process: what `tools.drill_child` does in a private network."""
    [drill] = chosen([name])
    stage_type = importlib.import_module("tests.harness.drill_stage").Stage
    with running_system(folder, needed=False) as system:
        return run(drill, stage_type(system, seed=seed, long=long, orders=orders, say=_say))


def setting() -> str:
    """On what it was measured, without a word on which machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with {os.cpu_count()} processors and {memory:.0f} GB of memory, "
        f"{platform.system()}, Python {platform.python_version()}; broker, database, network elements, services and "
        "clients all on this one machine."
    )


@contextmanager
def running_system(folder: Path, *, needed: bool) -> Iterator[System]:
    """A system of the drills' own with short delays, started where it is `needed`; removed at the end, logs stay."""
    settings: dict[str, str] = importlib.import_module("tests.harness.settings").FAST
    nodes = Nodes(folder, durable=False, use_environment=False)
    system = System(folder, nodes=nodes, overrides=settings | {"TRUSTED_PROXIES": "1"}, say=_say)
    try:
        if needed:
            packages.ensure(*nodes.servers())
            nodes.start()
            system.up()
        yield system
    finally:
        if needed:
            system.down()
        nodes.remove()


def restore(system: System) -> None:
    """Everything runs again, whatever an earlier drill that broke off has left."""
    for part in system.nodes.parts:
        for child in part.children:
            if child.alive:
                child.thaw()
        part.start()
    system.thaw_all()
    system.start_all()


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="tools.drill", description=__doc__.split("\n", 1)[0])
    names = ", ".join(drill.name for drill in DRILLS)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help=f"of {names}; all where none is named")
    parser.add_argument("--seed", type=int, default=SEED, help="draws orders, fates and faults")
    parser.add_argument("--orders", type=int, help="how many, where a drill counts them")
    parser.add_argument("--short", action="store_true", help="the short form, as in make test")
    parser.add_argument("--keep", action="store_true", help="write what was measured into docs/drills.md")
    return parser.parse_args(argv)


def main() -> int:
    """Run the drills one after the other and print the table; 1 where a promise was broken."""
    args = arguments()
    try:
        drills = chosen(args.only)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    folder = ROOT / ".local" / "drill"
    shutil.rmtree(folder, ignore_errors=True)
    stage_type = importlib.import_module("tests.harness.drill_stage").Stage
    results: list[Result] = []
    try:
        with running_system(folder, needed=not all(drill.own_system for drill in drills)) as system:
            for drill in drills:
                _say(f"drill: {drill.name}")
                if not drill.own_system:
                    restore(system)
                stage = stage_type(system, seed=args.seed, long=not args.short, orders=args.orders, say=_say)
                found = run(drill, stage)
                results += found
                print(f"\n{table(results)}\n{report(found)}\n", flush=True)
    except PackagesMissing as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return _finish(results, keep=args.keep)


def _finish(results: list[Result], *, keep: bool) -> int:
    print(report(results))
    print("\n" + table(results))
    total = summary(results)
    counts = ", ".join(f"{total[name]:,} {name}" for name in ("faults", "orders", "lost", "doubled", "stuck"))
    print(f"\n{total['drills']} results, {total['failed']} of them failed: {counts}")
    if keep:
        PAGE.write_text(kept(PAGE.read_text(encoding="utf-8"), results, setting()), encoding="utf-8")
        print(f"kept in {PAGE.relative_to(ROOT)}")
    return 1 if total["failed"] else 0


def _say(text: str) -> None:
    print(f"» {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
