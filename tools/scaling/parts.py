"""What the simulation is made of: processors, processes, disks, queues, and how long each was busy."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

import simpy

QUANTUM = 10.0
"""ms after which a process lets others of its node go on."""
Work = Generator[simpy.Event, Any, Any]


class Node:
    """Some cores; who waits for one gets it in turn. `busy`: core ms used."""

    def __init__(self, env: simpy.Environment, cores: int) -> None:
        self.env, self.cores = env, cores
        self.free = simpy.Resource(env, cores)
        self.busy = 0.0

    def run(self, ms: float) -> Work:
        """Compute for so long."""
        while ms > 0:
            with self.free.request() as turn:
                yield turn
                slice_ms = min(ms, QUANTUM)
                yield self.env.timeout(slice_ms)
                self.busy += slice_ms
                ms -= slice_ms


class Serial:
    """Something that does one thing at a time: a Python process, a queue's leader, an access node. `busy`: ms held."""

    def __init__(self, env: simpy.Environment, node: Node | None = None) -> None:
        self.env, self.node = env, node
        self.turn = simpy.Resource(env, 1)
        self.busy = 0.0

    def run(self, cpu_ms: float, at_least_ms: float = 0.0) -> Work:
        """Compute for so long, on its node; hold it for at least so long."""
        if cpu_ms <= 0 and at_least_ms <= 0:
            return
        with self.turn.request() as turn:
            yield turn
            began = self.env.now
            if self.node is not None:
                yield from self.node.run(cpu_ms)
            if (rest := at_least_ms - (self.env.now - began)) > 0:
                yield self.env.timeout(rest)
            self.busy += self.env.now - began


class Disk:
    """Commits that wait at the same moment share one write."""

    def __init__(self, env: simpy.Environment, ms: float) -> None:
        self.env, self.ms = env, ms
        self.busy = 0.0
        self._next: simpy.Event | None = None
        self._writing = False

    def commit(self) -> Work:
        """Wait until what was written before is on disk."""
        if self._next is None:
            self._next = self.env.event()
        mine = self._next
        if not self._writing:
            self.env.process(self._write())
        yield mine

    def _write(self) -> Work:
        self._writing = True
        while self._next is not None:
            done, self._next = self._next, None
            yield self.env.timeout(self.ms)
            self.busy += self.ms
            done.succeed()
        self._writing = False


class Queue:
    """What waits, first in first out; takers get as much as is there, up to what they want."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.waiting: deque[Any] = deque()
        self._takers: deque[simpy.Event] = deque()

    def put(self, items: list[Any]) -> None:
        """Add these, and wake who waits."""
        self.waiting.extend(items)
        if self._takers:
            self._takers.popleft().succeed()

    def take(self, most: int) -> Work:
        """Wait until there is something; returns at least one item."""
        while not self.waiting:
            woken = self.env.event()
            self._takers.append(woken)
            yield woken
        taken = [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]
        if self.waiting and self._takers:
            self._takers.popleft().succeed()
        return taken
