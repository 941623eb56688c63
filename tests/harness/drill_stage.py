"""What every drill works on: a running system, its gateways behind HAProxy, replicas as the manifests want them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.harness.drill_checker import entries_of, journal_of, judge
from tests.harness.drill_load import Load
from tools import packages
from tools.drill_report import Result
from tools.haproxy import SERVER, HAProxy
from tools.nodes import Nodes
from tools.system import System, service_of
from tools.waiting import wait_until


@dataclass
class Stage:
    """`long`: the whole drill, as in `make drill`; else its short form. `orders`: how many, where somebody says so.

    `balancer`: where two gateways are behind one already, for several drills.
    """

    system: System
    seed: int = 1
    long: bool = False
    orders: int | None = None
    say: Callable[[str], None] = field(default=lambda text: None)
    balancer: HAProxy | None = None

    @property
    def nodes(self) -> Nodes:
        """Broker and database."""
        return self.system.nodes

    @contextmanager
    def balanced(self) -> Iterator[HAProxy]:
        """Two gateways behind HAProxy, until the block ends."""
        if self.balancer is not None:
            yield self.balancer
            return
        with balanced(self.system) as balancer:
            yield balancer

    def amount(self, short: int, long: int) -> int:
        """How many orders: what the caller wants, else by the form."""
        return self.orders or (long if self.long else short)


def measured(stage: Stage, name: str, faults: int, load: Load, begun: float, notes: list[str]) -> Result:
    """The result of a drill whose load has ended: the end of every order is compared in all parts."""
    verdict = judge(stage.system, load.expected, keys=load.keys)
    verdict.stuck += [f"{order_id}: {why.splitlines()[0]}" for order_id, why in load.stuck.items()]
    return Result(
        drill=name, faults=faults, orders=len(load.expected), failed_requests=len(load.tally.failed),
        lost=len(verdict.lost), doubled=len(verdict.doubled), stuck=len(verdict.stuck),
        seconds=time.monotonic() - begun, seed=stage.seed,
        problems=verdict.problems + [f"refused: {text}" for text in load.refused],
        notes=[f"{load.tally.requests:,} requests", *notes],
    )  # fmt: skip


@contextmanager
def replicated(system: System, wanted: Mapping[str, int]) -> Iterator[None]:
    """So many processes of these services, until the block ends; what a drill adds beyond that goes as well."""
    try:
        for service, number in wanted.items():
            while len(system.replicas(service)) < number:
                system.add_replica(service, wait=False)
        for service in wanted:
            for name in system.replicas(service):
                system.wait_ready(name)
        yield
    finally:
        system.thaw_all()
        for service in wanted:
            wait_until_forwarded(system, service)
            for name in system.replicas(service)[1:]:
                system.remove_replica(name)


@contextmanager
def balanced(system: System, gateways: int = 2) -> Iterator[HAProxy]:
    """So many gateways behind HAProxy, until the block ends."""
    packages.ensure(SERVER)
    with replicated(system, {"gateway": gateways}):
        targets = {name: system.port(name) for name in system.replicas("gateway")}
        balancer = HAProxy(system.folder / "haproxy", targets)
        try:
            balancer.start()
            yield balancer
        finally:
            balancer.stop()


def wait_until_forwarded(system: System, service: str) -> None:
    """A gateway that goes for good leaves nothing behind in its journal."""
    if service != "gateway":
        return
    for name in system.replicas(service)[1:]:
        path = journal_of(system, name)
        if path.exists() and system.processes[name].alive:
            wait_until(
                lambda path=path: not [entry for entry in entries_of(path) if entry["state"] == "pending"],
                f"the journal of {name} is empty",
            )


def all_processes(system: System) -> list[str]:
    """Every process of a service, those of the gateway last."""
    return sorted(system.processes, key=lambda name: service_of(name) == "gateway")
