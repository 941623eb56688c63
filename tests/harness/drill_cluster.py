"""A broker of three nodes loses each in turn, and one is cut off from the two others, while orders go on.

The nodes run with the production overlay's settings, each on a host of its own (a network namespace), behind HAProxy
as behind a Kubernetes Service. No node may be missed for long: a service that was connected to it finds another by
itself, and what was on it and not replicated is there again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import eventlet

from tests.harness.drill_load import Load
from tests.harness.drill_stage import Stage, measured
from tests.harness.settings import FAST
from tools import haproxy, hosts, packages, rabbit
from tools.drill_report import Result
from tools.hosts import Host
from tools.keys import load_secrets
from tools.migrate import migrate_all
from tools.namespace import NFTABLES
from tools.nodes import Nodes
from tools.rabbit_cluster import NODES, Cluster
from tools.system import System
from tools.waiting import NotInTime, wait_until

NAME = "broker cluster"
SERVERS = (rabbit.SERVER, haproxy.SERVER, NFTABLES)
WITHIN_S = 30.0
"""In which all goes on without a node: longer than an election, shorter than it takes the node to come back."""
SILENT_WITHIN_S = 90.0
"""The same where packets vanish: Erlang takes a node for dead after net_ticktime, 60 s, and up to a quarter more."""


@dataclass
class Scene:
    """The cluster, the system that uses it, and what was seen."""

    stage: Stage
    hosts: dict[str, Host]
    cluster: Cluster
    system: System
    load: Load
    faults: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def goes_on(self, what: str, within_s: float = WITHIN_S) -> None:
        """All services are ready, and an order that comes now is done; how long that took is noted."""
        begun = time.monotonic()
        try:
            wait_until(self._all_ready, lambda: f"ready: {self._unready()}", timeout_s=within_s, interval_s=0.2)
            ready_s = time.monotonic() - begun
            self._one_more(within_s)
        except NotInTime as error:
            self.problems.append(f"{what}: {error}")
            self.stage.say(self.problems[-1])
            return
        done_s = time.monotonic() - begun
        self.notes.append(f"{what}: ready after {ready_s:.1f} s, an order done after {done_s:.1f} s")
        self.stage.say(self.notes[-1])

    def comes_back(self, name: str) -> None:
        """The cluster is whole again."""
        begun = time.monotonic()
        self.cluster.wait_until_whole()
        self.notes.append(f"{name} back after {time.monotonic() - begun:.1f} s")

    def comes_back_or_is_restarted(self, name: str) -> None:
        """The cluster is whole again; where the node only stands there, an operator does as the runbook says.

        Met with RabbitMQ 3.10: starting again after a pause it stumbles over what is left of its old connections
        (rabbit_net:dist_info), its log ends with BOOT FAILED, and nothing starts it once more.
        """
        try:
            self.comes_back(name)
        except NotInTime:
            node = self.cluster.nodes[name]
            if not node.process.alive or node.takes_connections():
                raise
            self.notes.append(f"{name} did not come back by itself and was restarted")
            node.process.kill()
            node.start()
            self.comes_back(name)

    def _one_more(self, within_s: float) -> None:
        closed = self.load.closed
        wait_until(lambda: self.load.closed > closed, "an order is closed", timeout_s=within_s)

    def _all_ready(self) -> bool:
        return not self._unready()

    def _unready(self) -> list[str]:
        return [name for name in self.system.processes if not self.system.is_ready(name)]


def run(stage: Stage) -> Result:
    """Each node is killed (in the short form one), then one is cut off from the others, then all come to rest."""
    begun = time.monotonic()
    with scene(stage) as it:
        stage.say(f"up after {time.monotonic() - begun:.0f} s; leaders: {leaders(it.cluster)}")
        with it.load:
            wait_until(lambda: it.load.closed >= 3, "orders go on")
            for name in NODES if stage.long else NODES[:1]:
                lose(it, name)
            cut_off(it, NODES[1], silently=False)
            if stage.long:
                cut_off(it, NODES[2], silently=True)
        it.cluster.wait_until_whole()
        result = measured(replace(stage, system=it.system), NAME, it.faults, it.load, begun, it.notes)
    result.problems += it.problems
    return result


def lose(it: Scene, name: str) -> None:
    """`kill -9` of one node; all goes on without it; it comes back."""
    node = it.cluster.nodes[name]
    it.stage.say(f"kill -9 of {name}")
    it.faults += 1
    node.process.kill()
    it.goes_on(f"without {name}")
    node.start()
    it.comes_back(name)


def cut_off(it: Scene, name: str, *, silently: bool) -> None:
    """One node loses its way to the two others, not to its clients: it sends them away, and comes back when healed."""
    host = it.hosts[name]
    how = "silently" if silently else "with resets"
    within_s = SILENT_WITHIN_S if silently else WITHIN_S
    it.stage.say(f"{name} is cut off from the others, {how}")
    it.faults += 1
    begun, closed = time.monotonic(), it.load.closed
    host.cut_off([other for other in it.hosts.values() if other is not host], silently=silently)
    try:
        wait_until(lambda: it.cluster.sees_no_majority(name), f"{name} sends its clients away", timeout_s=within_s)
        paused_s, meanwhile = time.monotonic() - begun, it.load.closed - closed
        it.notes.append(f"{name} cut off {how}: paused after {paused_s:.1f} s, {meanwhile} orders closed meanwhile")
        it.goes_on(f"with {name} cut off")
    finally:
        host.join_again()
    it.comes_back_or_is_restarted(name) if silently else it.comes_back(name)


def leaders(cluster: Cluster) -> dict[str, int]:
    """How many queues each node leads. Of a new queue the management interface tells that some seconds later."""
    found = [queue.get("node") for queue in cluster.queues()]
    return {name: found.count(node.place.node) for name, node in cluster.nodes.items()}


@contextmanager
def scene(stage: Stage) -> Iterator[Scene]:
    """Hosts, cluster, databases and services, all in the private network that this process is in."""
    folder = stage.system.folder / "cluster"
    folder.mkdir(parents=True, exist_ok=True)
    packages.ensure(*SERVERS)
    with hosts.hosts(folder, NODES) as joined:
        cluster = Cluster(folder, joined, password=load_secrets(folder)["BROKER_PASSWORD"])
        nodes = Nodes(folder, durable=False, use_environment=False, amqp_uri=cluster.uri)
        settings = FAST | {"ELEMENTS_DRIVER": "sim", "AMQP_MANAGEMENT_URI": cluster.management_uri}
        system = System(folder, nodes=nodes, overrides=settings, say=stage.say)
        try:
            stage.say("starting three brokers and PostgreSQL")
            starting = eventlet.spawn(cluster.start)
            nodes.start()
            # Meanwhile, since brokers take their time; what is migrated already takes none.
            migrate_all(nodes.environment())
            starting.wait()
            system.up()
            load = Load(system, url=system.url, seed=stage.seed, hands=4, limit=stage.orders)
            yield Scene(stage, dict(joined), cluster, system, load)
        finally:
            system.down()
            nodes.remove()
            cluster.stop()
