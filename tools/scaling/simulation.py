"""Orders arrive at a cluster, open loop, and go through every round until they are visible (`model.SHAPES`).

Times are ms. An order is its number; what it belongs to (a gateway, a shard, a part of a database) follows from that.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import simpy

from tools.scaling.cluster import QUEUES, SERVICES, Cluster, heard, server_of
from tools.scaling.meter import Meter, Seen
from tools.scaling.model import Cost
from tools.scaling.parts import Disk, Node, Queue, Serial, Work

WORKERS = 3
"""Workers of each of activation's loops."""
ALL_NODES = "all nodes"


class Simulation:
    """One cluster under one rate of orders. Everything random comes from `seed`."""

    def __init__(self, cluster: Cluster, costs: Mapping[str, Cost], seed: int = 1) -> None:
        self.env = env = simpy.Environment()
        self._cluster, self._costs, self._machine = cluster, costs, cluster.machine
        self._random, self._meter = random.Random(seed), Meter()
        self._nodes = [Node(env, self._machine.cores) for _ in range(self._machine.nodes)]
        self._processes = {key: Serial(env, self._nodes[node]) for key, node in cluster.node_of.items()}
        self._disks = {key: Disk(env, self._machine.commit) for key in cluster.node_of}
        self._led = cluster.counts["broker"] if cluster.rules.brokers else 1
        self._leaders = {
            (name, at): Serial(env, self._broker_node(first + at))
            for first, name in enumerate(("activation", "order", "mypage")) for at in range(self._led)
        }
        self._elements = [Serial(env) for _ in range(self._machine.elements)]
        self._queues: dict[tuple[str, int], Queue] = defaultdict(lambda: Queue(env))
        self._turn: Counter[str] = Counter()
        self._answers: dict[int, simpy.Event] = {}

    def run(self, rate: float, orders: int) -> Seen:
        """Let so many orders come at so many a second; the second half of the time is measured."""
        self._start()
        self.env.process(self._arrivals(rate, orders))
        end = 1000 * orders / rate
        self.env.run(until=end / 2)
        self._begin()
        self.env.run(until=end)
        return self._seen()

    def batch(self, orders: int, clients: int) -> Seen:
        """So many orders by clients who send the next one when the last is answered; all of it is measured."""
        self._start()
        self._begin()
        numbers = iter(range(orders))
        for _ in range(clients):
            self.env.process(self._client(numbers))
        while len(self._meter.took) < orders:
            self.env.step()
        return self._seen()

    def _arrivals(self, rate: float, orders: int) -> Work:
        for order in range(orders):
            self._meter.came_at[order] = self.env.now
            self.env.process(self._arrive(order))
            yield self.env.timeout(self._random.expovariate(rate / 1000))

    def _client(self, numbers: Iterator[int]) -> Work:
        for order in numbers:
            self._meter.came_at[order], answer = self.env.now, self.env.event()
            self._answers[order] = answer
            yield from self._arrive(order)
            yield answer

    # What a round asks of whom

    def _count(self, kind: str) -> int:
        return self._cluster.counts[kind]

    def _relays(self, service: str) -> int:
        return self._count(service) if self._cluster.rules.partitions else 1

    def _broker_node(self, at: int) -> Node:
        return self._nodes[self._cluster.node_of["broker", at % self._count("broker")]]

    def _compute(self, name: str, at: int, items: int, more_ms: float = 0.0) -> Work:
        """A round's CPU in its process."""
        cost = self._costs[name]
        ms = cost.process.of(items) + more_ms
        self._meter.spent(cost.shape.service, ms)
        yield from self._processes[cost.shape.service, at].run(ms)

    def _store(self, name: str, items: list[int]) -> Work:
        """A round's statements and its commit; the standby has it before the commit is answered."""
        cost, machine = self._costs[name], self._machine
        kind = server_of(cost.shape.service, self._cluster.rules)
        server = (kind, items[0] % self._count(kind))
        ms = cost.database.of(len(items))
        self._meter.spent("db", ms)
        yield from self._nodes[self._cluster.node_of[server]].run(ms)
        yield from self._disks[server].commit()
        if machine.replicated:
            yield self.env.timeout(2 * machine.hop + machine.commit)

    def _message(self, name: str, items: int, queues: tuple[str, ...] = ()) -> Work:
        """What a round costs the broker; messages to queues go through their leaders, one after the other in each."""
        ms = self._costs[name].broker.of(items)
        self._meter.spent("broker", ms)
        if queues:
            serial = items * 1000 / self._machine.queue_rate
            part = min(serial, ms / len(queues))
            leaders = [self._leaders[queue, self._random.randrange(self._led)] for queue in queues]
            yield simpy.AllOf(self.env, [self.env.process(leader.run(part, serial)) for leader in leaders])
            ms -= part * len(queues)
        yield from self._broker_node(self._random.randrange(self._count("broker"))).run(ms)
        yield self.env.timeout(2 * self._machine.hop)

    # Rounds

    def _loop(self, name: str, queue: Queue, work: Callable[[list[int]], Work]) -> Work:
        """Take what waits, do it, again."""
        most = self._costs[name].shape.most
        self._meter.loop(name)
        while True:
            items = yield from queue.take(most)
            began = self.env.now
            yield from work(items)
            self._meter.round(name, len(items), self.env.now - began)

    def _run(self, name: str, queue: tuple[str, int], work: Callable[[list[int]], Work]) -> None:
        self.env.process(self._loop(name, self._queues[queue], work))

    def _start(self) -> None:
        """Every loop of every process."""
        for at in range(self._count("gateway")):
            self._run("forward", ("journal", at), partial(self._forward, at))
        for service in ("order", "activation"):
            for at in range(self._relays(service)):
                self._run(f"{service} relay", (f"{service} relay", at), partial(self._relay, f"{service} relay", at))
        for at in range(self._count("activation")):
            self._run("start activation", ("activation", at), partial(self._begin_activation, at))
            for _ in range(WORKERS):
                self._run("provision", ("due", at), partial(self._provision, at))
                self._run("ask for visits", ("provisioned", at), partial(self._ask, at))
        for at in range(self._count("order")):
            self._run("note activation", ("order", 0), partial(self._note, at))
        for at in range(self._count("mypage")):
            self._run("fold pages", ("mypage", 0), partial(self._fold, at))

    def _simple(self, name: str, at: int, items: list[int]) -> Work:
        yield from self._compute(name, at, len(items))
        yield from self._store(name, items)

    def _called(self, name: str, items: list[int]) -> Work:
        """A round that is a call's: the processes of its service are called in turn."""
        service, began = self._costs[name].shape.service, self.env.now
        self._turn[service] += 1
        yield from self._simple(name, self._turn[service] % self._count(service), items)
        self._meter.round(name, len(items), self.env.now - began)

    def _arrive(self, order: int) -> Work:
        """Its gateway takes it; and, for every order that it takes, hears of the changes of all gateways' orders."""
        at = order % self._count("gateway")
        yield from self._compute("request", at, 1, heard(self._costs, self._cluster.rules, self._count("gateway")))
        yield from self._disks["gateway", at].commit()
        self._queues["journal", at].put([order])

    def _forward(self, at: int, items: list[int]) -> Work:
        yield from self._compute("forward", at, len(items))
        yield from self._message("place", len(items))
        yield from self._called("place", items)
        self._outbox("order", items)
        yield from self._disks["gateway", at].commit()
        for order in items:
            if (answer := self._answers.pop(order, None)) is not None:
                answer.succeed()

    def _outbox(self, service: str, items: list[int]) -> None:
        for at, mine in _parts(items, self._relays(service)).items():
            self._queues[f"{service} relay", at].put(mine)

    def _relay(self, name: str, at: int, items: list[int]) -> Work:
        """One at a time for its part: read, publish, wait for the confirms, mark as sent."""
        yield from self._compute(name, at, len(items))
        yield from self._message(name, len(items), QUEUES[name])
        yield from self._store(name, items)
        if name == "activation relay":
            self._queues["order", 0].put(items)
            self._queues["mypage", 0].put(items)
            return
        for shard, mine in _parts(items, self._count("activation")).items():
            self._queues["activation", shard].put(mine)
        self._queues["mypage", 0].put([-1 - item for item in items])

    def _begin_activation(self, at: int, items: list[int]) -> Work:
        yield from self._simple("start activation", at, items)
        self._queues["due", at].put(items)

    def _provision(self, at: int, items: list[int]) -> Work:
        yield from self._simple("provision", at, items)
        yield from self._nodes[0].run(self._machine.beside * len(items))
        if self._elements:
            met = {item % len(self._elements) for item in items}
            ms = self._machine.element_commit
            yield simpy.AllOf(self.env, [self.env.process(self._elements[each].run(0.0, ms)) for each in met])
        self._queues["provisioned", at].put(items)

    def _ask(self, at: int, items: list[int]) -> Work:
        yield from self._compute("ask for visits", at, len(items))
        yield from self._message("ask for visits", len(items))
        yield from self._called("request visit", items)
        yield from self._store("ask for visits", items)
        self._outbox("activation", items)

    def _note(self, at: int, items: list[int]) -> Work:
        yield from self._simple("note activation", at, items)
        self._meter.noted += len(items)

    def _fold(self, at: int, items: list[int]) -> Work:
        """The second event of an order makes it visible; of its first, the number is written as -1 - order."""
        yield from self._simple("fold pages", at, [max(item, -1 - item) for item in items])
        for order in items:
            if order >= 0:
                self._meter.took[order] = self.env.now - self._meter.came_at[order]

    # What is measured

    def _begin(self) -> None:
        self._meter.begin(self.env.now)
        for serial in (*self._processes.values(), *self._leaders.values(), *self._elements):
            serial.busy = 0.0
        for node in self._nodes:
            node.busy = 0.0

    def _seen(self) -> Seen:
        """Of each kind of thing the one that was used most."""
        busy: dict[str, float] = {}

        def note(kind: str, used: float) -> None:
            busy[kind] = max(busy.get(kind, 0.0), used)

        for (kind, _), process in self._processes.items():
            if kind in SERVICES:
                note(f"{kind}'s process", process.busy)
        for (name, _), leader in self._leaders.items():
            note(f"queue {name}.events", leader.busy)
        for at, node in enumerate(self._nodes):
            note(self._name_of(at), node.busy / node.cores)
        for element in self._elements:
            note("an access node", element.busy)
        busy[ALL_NODES] = sum(node.busy / node.cores for node in self._nodes) / len(self._nodes)
        return self._meter.seen(self.env.now, busy)

    def _name_of(self, node: int) -> str:
        """What a node is called: by the server on it, if any."""
        on = {kind for (kind, _), at in self._cluster.node_of.items() if at == node}
        server = next((kind for kind in sorted(on) if kind.startswith("db") and not kind.endswith("standby")), None)
        if server is not None:
            return f"node of {server}"
        return "node of broker" if "broker" in on else "node of processes"


def _parts(items: list[int], number: int) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for item in items:
        found[item % number].append(item)
    return found
