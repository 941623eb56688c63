"""`make bench-elements`: how long activation of an order for internet and TV takes on idle elements, and its cost.

One order after another, in rounds: on the real network elements, then on the simulator, and so on, in one system.
Time is from `order_placed` in the order book to `activation_completed` confirmed by the broker; CPU time is that of
the whole process tree, so also of PostgreSQL's and sshd's children.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from tools.bench.cost import cpu_s
from tools.client import Client, an_order
from tools.network import REAL, SIM
from tools.packages import PackagesMissing
from tools.paths import ROOT
from tools.process import Child
from tools.system import System
from tools.waiting import NotInTime, wait_until

# Nobody is to be refused for being quick, and services that stop are to be back at once.
SETTINGS = {"ORDER_RATE_PER_S": "1000", "ORDER_RATE_BURST": "5000", "ELEMENTS_DRIVER": REAL}
TARGET_MS = 250.0
WARM_UP = 3


@dataclass
class Measured:
    """What all rounds on one kind of elements came to: times in ms, CPU in ms an order by process."""

    times_ms: list[float] = field(default_factory=list)
    cpu_s: Counter[str] = field(default_factory=Counter)

    @property
    def median_ms(self) -> float:
        return statistics.median(self.times_ms)

    @property
    def p95_ms(self) -> float:
        return statistics.quantiles(self.times_ms, n=20)[-1]

    def cpu_ms(self, name: str) -> float:
        """CPU time of one process in ms an order."""
        return 1000 * self.cpu_s[name] / len(self.times_ms)


class Bench:
    """A system of its own under `folder`, with both kinds of elements at hand."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._client = Client(system.url, staff_password=system.env["STAFF_PASSWORD"])
        self._books = {
            name: sa.create_engine(system.env[f"{name.upper()}_DB_URI"], isolation_level="AUTOCOMMIT")
            for name in ("order", "activation")
        }
        self._simulator = Child(
            "element simulator", [sys.executable, "-m", "element_sim"], env=system.processes["activation"].env,
            log=system.folder / "logs" / "elements.log", cwd=ROOT,
        )  # fmt: skip

    def run(self, rounds: int, orders: int) -> dict[str, Measured]:
        """Alternate between both kinds, `orders` orders in each round."""
        found = {REAL: Measured(), SIM: Measured()}
        self._simulator.start()
        try:
            for at in range(rounds * 2):
                driver = (REAL, SIM)[at % 2]
                print(f"» round {at // 2 + 1} of {rounds}, {driver}", flush=True)
                self._round(driver, orders, found[driver])
        finally:
            self._simulator.stop()
        return found

    def _round(self, driver: str, orders: int, measured: Measured) -> None:
        self._system.stop("activation")
        self._system.processes["activation"].env["ELEMENTS_DRIVER"] = driver
        self._system.start("activation")
        for _ in range(WARM_UP):
            self._order()
        before = self._cpu_s()
        measured.times_ms += [self._order() for _ in range(orders)]
        measured.cpu_s.update({name: after - before[name] for name, after in self._cpu_s().items()})

    def _order(self) -> float:
        """Place one order and wait until it is activated; ms from event to event."""
        order_id = str(self._client.place(an_order())["order_id"])
        done = wait_until(lambda: self._sent("activation", "activation_completed", order_id), order_id, interval_s=0.01)
        placed = self._sent("order", "order_placed", order_id, column="created_at")
        return (done - placed) * 1000

    def _sent(self, service: str, event: str, order_id: str, column: str = "sent_at") -> float:
        """When, in seconds since 1970; 0 where it was not yet."""
        query = f"select extract(epoch from {column}) from outbox where order_id = :id and routing_key = :event"
        with self._books[service].connect() as conn:
            return float(conn.execute(sa.text(query), {"id": order_id, "event": event}).scalar() or 0)

    def _cpu_s(self) -> dict[str, float]:
        return {child.name: cpu_s(child.pid) for child in self._children()}

    def _children(self) -> Iterator[Child]:
        assert self._system.network is not None
        for part in (*self._system.nodes.parts, *self._system.network.elements.values()):
            yield from part.children
        yield from self._system.processes.values()
        yield self._simulator


def table(found: Mapping[str, Measured]) -> str:
    """The result for a person to read."""
    real, sim = found[REAL], found[SIM]
    names = sorted(real.cpu_s | sim.cpu_s, key=lambda name: -real.cpu_s[name])
    rows = [
        ("orders", len(real.times_ms), len(sim.times_ms)),
        ("median, ms", real.median_ms, sim.median_ms),
        ("95th percentile, ms", real.p95_ms, sim.p95_ms),
        ("CPU, ms an order", *(sum(map(each.cpu_ms, names)) for each in (real, sim))),
        *((f"  {name}", real.cpu_ms(name), sim.cpu_ms(name)) for name in names),
    ]
    lines = [f"{'internet + TV, one after another':<34}{'real elements':>15}{'simulator':>12}"]
    lines += [f"{name:<34}{one:>15.4g}{other:>12.4g}" for name, one, other in rows]
    verdict = "met" if real.median_ms < TARGET_MS else "missed"
    return "\n".join([*lines, f"target: a median below {TARGET_MS:g} ms on real elements: {verdict}"])


def main() -> int:
    """Measure and print; errors a person can act on are said without a traceback."""
    parser = argparse.ArgumentParser(prog="tools.bench.elements", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="rounds on each kind of elements")
    parser.add_argument("--orders", type=int, default=20, help="orders in a round")
    args = parser.parse_args()
    folder: Path = ROOT / ".local" / "bench-elements"
    shutil.rmtree(folder, ignore_errors=True)
    system = System(folder, overrides=SETTINGS, say=lambda text: print(f"» {text}", flush=True))
    try:
        system.up()
        found = Bench(system).run(args.rounds, args.orders)
    except (PackagesMissing, NotInTime) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        system.down()
        system.nodes.remove()
    print("\n" + table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
