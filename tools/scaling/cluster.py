"""Nodes, and what runs on them: how many processes of each service, where they, the databases and the broker are.

One more of the busiest, as long as it may have several and there is room: a process has one core at most (Python), a
database or a broker node what its node has left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tools.scaling.model import TYPICAL, Cost

SERVICES = ("gateway", "order", "activation", "scheduling", "mypage")
DATABASES = ("order", "activation", "scheduling", "mypage")
QUEUES = {"order relay": ("activation", "mypage"), "activation relay": ("order", "mypage")}
"""Whose queues an event goes to."""
MOST_MESSAGES = 2
"""Messages an order in one queue: mypage's."""
FOLLOWER = 0.5
"""What a follower of a quorum queue or a standby of a database spends, as a part of what the leader does: assumed."""
SLACK = 0.6
"""What may have several is used at most so much of what the busiest is that may not: its wait would add to that."""
MOSTLY = 0.8
"""Of what a gateway does: where hearing of changes is that much, another gateway does not help."""
WORTH = 0.002
"""A further process must add so much to the rate: each costs something idle, and makes batches smaller."""
FULL = 0.9
"""Of a node's or process' time: beyond it, waiting grows out of proportion."""


@dataclass(frozen=True)
class Rules:
    """What a cluster may have. Each lift takes one limit of today's code or manifests away.

    shards:    activation may have several processes, each with its own elements and its own queue
    partitions: outboxes are published by as many relays as the service has processes, each for its part of the orders
    servers:   each service has a database server of its own
    split:     each of those may be several servers, by order
    brokers:   as many broker nodes as are needed, queues divided among them (one queue a shard of consumers)
    hints:     a gateway hears only of changes of the orders that it shows, not of all
    """

    shards: bool = False
    partitions: bool = False
    servers: bool = False
    split: bool = False
    brokers: bool = False
    hints: bool = False


@dataclass(frozen=True)
class Machine:
    """What nodes, disks and networks are like. Times in ms.

    commit: what a disk takes; hop: one way between two nodes; queue_rate: messages a second of one queue's leader;
    elements: access nodes, each with commits of `element_commit` one after the other; replicated: three nodes of the
    broker, a standby of each database. beside: CPU ms an order of what else runs on the first node.
    """

    nodes: int
    cores: int
    commit: float
    hop: float
    queue_rate: float
    elements: int = 0
    element_commit: float = 0.0
    replicated: bool = False
    beside: float = 0.0


@dataclass(frozen=True)
class Item:
    """Something that needs a place: `kind` and number, and its CPU ms an order; one core at most where `single`."""

    kind: str
    number: int
    load: float
    single: bool = True


@dataclass
class Cluster:
    """A placement: how many of each kind, and the node of each.

    rate: orders/s before anything is full, by sums. limit: what may not have several and kept the others from having
    more; nothing where the nodes are full.
    """

    machine: Machine
    rules: Rules
    counts: Counter[str]
    node_of: dict[tuple[str, int], int] = field(default_factory=dict)
    rate: float = 0.0
    limit: str = ""


def server_of(service: str, rules: Rules) -> str:
    """The kind of the database server that holds this service's database."""
    return f"db {service}" if rules.servers else "db"


def heard(costs: Mapping[str, Cost], rules: Rules, gateways: int) -> float:
    """CPU ms an order that gateways together spend on hearing of its changes."""
    return costs["hear"].process.each * (1 if rules.hints else gateways)


def loads(costs: Mapping[str, Cost], rules: Rules, items: int = TYPICAL, gateways: int = 1) -> dict[str, float]:
    """CPU ms an order of each kind, in rounds of so many items: processes by service, database servers, the broker.

    Followers and standbys are not counted.
    """
    total: dict[str, float] = dict.fromkeys(SERVICES, 0.0)
    for name, cost in costs.items():
        process, database, broker = cost.an_order(items)
        if name == "hear":
            process = heard(costs, rules, gateways)
        total[cost.shape.service] += process
        if cost.shape.service in DATABASES:
            server = server_of(cost.shape.service, rules)
            total[server] = total.get(server, 0.0) + database
        total["broker"] = total.get("broker", 0.0) + broker
    return total


def may_have_several(kind: str, rules: Rules) -> bool:
    """Whether one more of this kind is allowed and helps."""
    if kind == "activation":
        return rules.shards
    if kind == "broker":
        return rules.brokers
    return rules.split if kind.startswith("db") else kind in SERVICES


def fixed(costs: Mapping[str, Cost], machine: Machine, rules: Rules, more: Mapping[str, int]) -> Cluster:
    """One of everything, and so many `more` of some."""
    load = loads(costs, rules)
    return _spread(Cluster(machine, rules, Counter(dict.fromkeys(load, 1)) + Counter(more)), load)


def placed(costs: Mapping[str, Cost], machine: Machine, rules: Rules) -> Cluster:
    """One more of the busiest that may have several, until the others limit it by far, or the nodes are full."""
    load = loads(costs, rules)
    several = [kind for kind in load if may_have_several(kind, rules)]
    counts = Counter(dict.fromkeys(load, 1))
    if machine.replicated:
        counts["broker"] = 3
    best: Cluster | None = None
    while sum(counts.values()) <= 4 * machine.nodes * machine.cores:
        load = loads(costs, rules, gateways=counts["gateway"])
        tried = _spread(Cluster(machine, rules, Counter(counts)), load)
        more = sum(counts.values()) - sum(best.counts.values()) if best else 0
        if best is None or tried.rate > best.rate * (1 + WORTH) ** more:
            best = tried
        used = {kind: load[kind] / _cores(kind, machine) / counts[kind] for kind in load}
        busiest = max(several, key=lambda kind: used[kind])
        limits = {kind: used[kind] for kind in load if kind not in several}
        if not rules.hints:
            limits["hints"] = costs["hear"].process.each
        limit = max(limits, key=lambda kind: limits[kind], default="")
        heard_only = busiest == "gateway" and limits.get("hints", 0.0) > MOSTLY * used["gateway"]
        if heard_only or used[busiest] < SLACK * limits.get(limit, 0.0):
            return replace(tried if tried.rate >= best.rate else best, limit="hints" if heard_only else limit)
        counts[busiest] += 1
    assert best is not None
    return best


def _cores(kind: str, machine: Machine) -> float:
    return machine.cores if kind.startswith("db") or kind == "broker" else 1.0


def _items(cluster: Cluster, load: Mapping[str, float]) -> list[Item]:
    """Everything that needs a place."""
    items: list[Item] = []
    counts, copies = cluster.counts, cluster.machine.replicated
    for kind, ms in load.items():
        number, single = counts[kind], not kind.startswith("db") and kind != "broker"
        each = ms / number
        if kind == "broker" and copies:
            each *= 1 + 2 * FOLLOWER
        items += [Item(kind, at, each, single) for at in range(number)]
        if kind.startswith("db") and copies:
            items += [Item(f"{kind} standby", at, each * FOLLOWER, False) for at in range(number)]
    return items


def _spread(cluster: Cluster, load: Mapping[str, float]) -> Cluster:
    """The heaviest first, each where there is most room, and those of one kind apart."""
    machine = cluster.machine
    cluster = replace(cluster, node_of={})
    used = [0.0] * machine.nodes
    kinds: list[Counter[str]] = [Counter() for _ in used]
    items = sorted(_items(cluster, load), key=lambda item: (item.single, -item.load))
    for item in items:
        kind = item.kind.removesuffix(" standby")
        at = min(range(machine.nodes), key=lambda node: (used[node] + item.load * kinds[node][kind], used[node]))
        used[at] += item.load
        kinds[at][kind] += 1
        cluster.node_of[item.kind, item.number] = at
    leaders = cluster.counts["broker"] if cluster.rules.brokers else 1
    busiest_queue = machine.queue_rate * leaders / 1000 / MOST_MESSAGES
    cluster.rate = min([busiest_queue, *_limits(items, used, machine)]) * 1000 * FULL
    return cluster


def _limits(items: Iterable[Item], used: Iterable[float], machine: Machine) -> Iterable[float]:
    yield from (machine.cores / node for node in used if node > 0)
    yield from (1 / item.load for item in items if item.single and item.load > 0)
