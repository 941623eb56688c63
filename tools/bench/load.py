"""Orders and reads under load: closed loop by wrk, a batch until it is visible, memory over many orders, and idling."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tools.bench import cost
from tools.bench.figures import (
    BATCH,
    IDLE,
    INTAKE_1,
    INTAKE_32,
    MADE_BY,
    MEMORY,
    P50,
    P99,
    RATE,
    READS,
    VISIBLE,
    Name,
    Reading,
    cost_of,
)
from tools.bench.gateway import placed_orders
from tools.bench.host import Host
from tools.bench.watch import Watch
from tools.bench.wrk import Answers, Wrk

MANY = 32
LINES = 5000
"""Orders after which `Host.settle` is needed; two access nodes hold 7 800 lines."""


@dataclass(frozen=True)
class Size:
    """How much of each: seconds of a closed or open loop, orders of a batch, for memory, stored before; streams.

    backlog: orders that come to a gateway alone, and are then one service's backlog after the other's.
    """

    seconds: int = 10
    batch: int = 2000
    memory: int = 20_000
    streams: int = 1000
    limit_orders: int = 4000
    idle_s: int = 10
    stored: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    backlog: int = 1600


SHORT = Size(
    seconds=3, batch=100, memory=200, streams=50, limit_orders=400, idle_s=2, stored=(500, 2_000), backlog=300
)


def warm_up(host: Host, orders: int) -> None:
    """Let every process have done its work once: connections, statements, compiled plans."""
    put_through(host, orders, 8)


def idle(host: Host, size: Size) -> Reading:
    """What the system costs while nobody does anything."""
    before, began = cost.all_cpu_s(host.pids), time.perf_counter()
    time.sleep(size.idle_s)  # The length of time is what is measured here, not a condition.
    spent, seconds = cost.spent(before, cost.all_cpu_s(host.pids)), time.perf_counter() - began
    found = {Name(IDLE, "all", "CPU ms a second"): 1000 * sum(spent.values()) / seconds}
    for name in sorted(spent, key=lambda name: -spent[name]):
        found[Name(IDLE, f"- {name}", "CPU ms a second")] = 1000 * spent[name] / seconds
    return found


def intake_1(host: Host, size: Size) -> Reading:
    """One caller who sends the next order as soon as the last is answered; and what such an order costs to the end."""
    return _intake(host, size.seconds, 1, INTAKE_1)


def intake_32(host: Host, size: Size) -> Reading:
    """32 such callers."""
    return _intake(host, size.seconds, MANY, INTAKE_32)


def batch(host: Host, size: Size) -> Reading:
    """So many orders at once: how many a second become visible, and what one costs under load."""
    before, began = _cpu_s(host), time.perf_counter()
    orders, last = put_through(host, size.batch, MANY)
    found = {Name(BATCH, VISIBLE, "orders/s"): orders / (last - began)}
    return found | cost_of(BATCH, cost.spent(before, _cpu_s(host)), orders)


def reads(host: Host, size: Size) -> Reading:
    """Subscribers who look at their orders, 32 at a time."""
    file = host.folder / "reads"
    file.write_text("".join(f"{order.path} {order.token}\n" for order in placed_orders(host, 100)))
    Watch(host).all_visible()
    before = cost.all_cpu_s(host.pids)
    answers = Wrk("reads.lua", host.url, MANY, BENCH_READS=str(file)).for_seconds(size.seconds)
    spent = cost.spent(before, cost.all_cpu_s(host.pids))
    all_s = sum(seconds for name, seconds in spent.items() if name != "element simulator")
    return _answered(READS, answers, "reads/s") | {
        Name(READS, "all of ours", "CPU ms a read"): 1000 * all_s / answers.answered
    }


def memory(host: Host, size: Size) -> Reading:
    """What each process holds before, halfway through and after many orders."""
    steps = [cost.all_memory_mb(host.pids)]
    for share in (size.memory // 2, size.memory - size.memory // 2):
        while share > 0:
            host.settle()
            put_through(host, min(share, LINES), MANY)
            share -= LINES
        steps.append(cost.all_memory_mb(host.pids))
    before, half, after = steps
    ours = [sum(step[name] for name in MADE_BY) for step in steps]
    found = {Name(MEMORY, "our processes, growth in the second half", "%"): 100 * (ours[2] - ours[1]) / ours[1]}
    for name in sorted(after, key=lambda name: -after[name]):
        for what, step in (("before", before), ("halfway", half), (f"after {size.memory} orders", after)):
            found[Name(MEMORY, f"{name}, {what}", "MB")] = step[name]
    return found


def _intake(host: Host, seconds: int, connections: int, section: str) -> Reading:
    watch = Watch(host)
    before = _cpu_s(host)
    answers = Wrk("intake.lua", host.url, connections).for_seconds(seconds)
    orders, _ = watch.all_visible(answers.created + answers.accepted)
    found = _answered(section, answers, "orders/s")
    found[Name(section, "answered 202", "%")] = 100 * answers.accepted / answers.answered
    return found | cost_of(section, cost.spent(before, _cpu_s(host)), orders)


def _cpu_s(host: Host) -> dict[str, float]:
    """CPU seconds so far of everything that runs, and of the clients that have ended."""
    return cost.all_cpu_s(host.pids) | {"client": cost.ended_children_cpu_s()}


def _answered(section: str, answers: Answers, unit: str) -> Reading:
    return {
        Name(section, RATE, unit): answers.answered / answers.seconds,
        Name(section, P50, "ms"): answers.p50_ms,
        Name(section, P99, "ms"): answers.p99_ms,
    }


def put_through(host: Host, orders: int, connections: int) -> tuple[int, float]:
    """Place orders and wait until all are visible; how many there were in the end, and when the last was seen."""
    watch = Watch(host)
    seen: list[tuple[int, float]] = []
    wrk = Wrk("intake.lua", host.url, connections, BENCH_ORDERS=str(orders))
    wrk.until(lambda: seen.append(watch.all_visible(orders)))
    return seen[0]
