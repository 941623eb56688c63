"""The most orders a second that a cluster sustains, what is full then, and what lifts that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tools.bench.figures import percentile
from tools.scaling.cluster import Cluster, Machine, Rules, loads, placed
from tools.scaling.meter import Seen
from tools.scaling.model import Cost
from tools.scaling.simulation import ALL_NODES, Simulation

SIZES = (1, 2, 3, 5, 10, 20, 50, 100)
ORDERS, SECONDS = (3000, 5000), (10, 1)
"""Orders of a run: at least the first of both, at most the second; ten seconds, or one where that is more orders."""
CLOSE = 0.07
VISIBLE_WITHIN_MS = 2000.0
"""A rate is sustained where no more orders wait at the end than at the beginning, and 99 of 100 are visible so soon."""
EASY = 0.7
"""Of the most that is sustained: at this rate times until visible are told."""
CERTAIN = 0.75
"""Something whose rounds are as large as they may be, and that is used so much, is what is full."""
ALWAYS_FULL = 10**6

LIFTS: Mapping[str, tuple[str, str]] = {
    "activation": ("shards", "several activations, each with its own elements and its own queue"),
    "relay": ("partitions", "a relay for each part of an outbox"),
    "db": ("servers", "a database server for each service"),
    "db ": ("split", "several database servers for a service, by order"),
    "hints": ("hints", "a gateway hears only of the orders that it shows"),
    "broker": ("brokers", "more broker nodes, a queue for each shard of consumers"),
}


@dataclass(frozen=True)
class Found:
    """What a cluster takes: orders/s, what is full then and how full, and times until visible at EASY of it."""

    cluster: Cluster
    rate: float
    full: str
    busy: Mapping[str, float]
    p50_ms: float
    p99_ms: float
    cpu_ms: Mapping[str, float]


def sustained(cluster: Cluster, costs: Mapping[str, Cost]) -> Found:
    """Bisection between what surely is sustained and what is not."""
    low, high = 0.0, cluster.rate * 2
    kept: Seen | None = None
    while high - low > CLOSE * high:
        rate = (low + high) / 2
        seen = run(cluster, costs, rate)
        if seen.keeps_up and percentile(seen.until_visible_ms, 99) <= VISIBLE_WITHIN_MS:
            low, kept = rate, seen
        else:
            high = rate
    assert kept is not None
    easy = run(cluster, costs, low * EASY).until_visible_ms
    return Found(cluster, low, fullest(cluster, costs, low, kept), kept.busy, percentile(easy, 50),
                 percentile(easy, 99), kept.cpu_ms)  # fmt: skip


def run(cluster: Cluster, costs: Mapping[str, Cost], rate: float) -> Seen:
    """Some seconds of orders."""
    most = max(ORDERS[1], SECONDS[1] * rate)
    return Simulation(cluster, costs).run(rate, round(min(max(SECONDS[0] * rate, ORDERS[0]), most)))


def fullest(cluster: Cluster, costs: Mapping[str, Cost], rate: float, seen: Seen) -> str:
    """What keeps it from taking more.

    A process that takes what waits is always busy, in small rounds: it is full only where it would be with the largest
    ones. If nothing is, then the CPU of all nodes, or else what was used most.
    """
    full = used_at_least(cluster, costs, rate)
    for name, busy in seen.busy.items():
        work = name.removeprefix("workers: ")
        if work in costs and work in seen.sizes:
            full[name] = busy * min(1.0, seen.sizes[work] / costs[work].shape.most)
    first = max(full, key=lambda name: full[name])
    if full[first] >= CERTAIN:
        return first
    if seen.busy[ALL_NODES] >= CERTAIN:
        return ALL_NODES
    servers = {name: busy for name, busy in seen.busy.items() if name.startswith(("node of db", "node of broker"))}
    busiest = max(servers, key=lambda name: servers[name])
    return busiest if servers[busiest] >= CERTAIN else max(seen.busy, key=lambda name: seen.busy[name])


def used_at_least(cluster: Cluster, costs: Mapping[str, Cost], rate: float) -> dict[str, float]:
    """What part of each resource this rate takes, also where every round is as large as it may be."""
    found = {ALL_NODES: 0.0}
    cores = cluster.machine.cores
    for kind, ms in loads(costs, cluster.rules, ALWAYS_FULL, cluster.counts["gateway"]).items():
        used = rate * ms / 1000 / cluster.counts[kind]
        found[ALL_NODES] += used * cluster.counts[kind] / cores / cluster.machine.nodes
        server = kind.startswith("db") or kind == "broker"
        found[f"node of {kind}" if server else f"{kind}'s process"] = used / cores if server else used
    led = cluster.counts["broker"] if cluster.rules.brokers else 1
    for queue, messages in (("activation", 1), ("order", 1), ("mypage", 2)):
        found[f"queue {queue}.events"] = rate * messages / cluster.machine.queue_rate / led
    return found


def lift_of(full: str, rules: Rules) -> tuple[Rules, str] | None:
    """The rules without this limit, and what that means; None where only more nodes help."""
    kind = ""
    if "relay" in full:
        kind = "relay"
    elif full.startswith("node of db"):
        kind = "db " if rules.servers else "db"
    elif "hints" in full or (full.startswith("gateway") and not rules.hints):
        kind = "hints"
    elif "broker" in full or full.startswith("queue"):
        kind = "broker"
    elif any(part in full for part in ("activation", "provision", "visits")):
        kind = "activation"
    if kind not in LIFTS:
        return None
    name, meaning = LIFTS[kind]
    return (replace(rules, **{name: True}), meaning) if not getattr(rules, name) else None


def ladder(machine: Machine, costs: Mapping[str, Cost]) -> Iterator[tuple[Rules, str, Found]]:
    """One limit lifted after the other, on the largest cluster: the rules, what was lifted last, and what it takes."""
    rules, meaning = Rules(), "as it is"
    while True:
        found = sustained(placed(costs, machine, rules), costs)
        yield rules, meaning, found
        lifted = lift_of(found.full, rules) or lift_of(f"node of {found.cluster.limit}", rules)
        if lifted is None:
            return
        rules, meaning = lifted


def machine_of(nodes: int, cores: int, commit: float, queue_rate: float, elements: int) -> Machine:
    """A cluster's: what is replicated needs three nodes."""
    return Machine(nodes, cores, commit, HOP_MS, queue_rate, elements, ELEMENT_COMMIT_MS, replicated=nodes >= 3)


HOP_MS = 0.25
"""Between two nodes of one data centre: assumed."""
ELEMENT_COMMIT_MS = 30.0
"""Of an access node with some hundred ports in use, on a busy machine: decision 0011."""
