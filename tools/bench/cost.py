"""What processes cost, by the operating system's own accounts: CPU time and memory of each with all it started."""

from __future__ import annotations

import resource
from collections.abc import Collection, Iterator, Mapping

import psutil

from tools.bench.figures import BROKER, DATABASE
from tools.system import service_of

SHOWN_AS = {"postgres": DATABASE, "rabbitmq": BROKER, "epmd": BROKER, "elements": "element simulator"}
"""What processes are called in the tables; the services are called what they are."""


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of a process and all it has started, also of those that have ended since."""
    total = 0.0
    for process in _family(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mb(pid: int) -> float:
    """Proportional set size in MB of a process and all it has started: what they share is counted once."""
    total = 0
    for process in _family(pid):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def all_cpu_s(pids: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds so far by what is shown; `pids` are those of `host.Host`."""
    return _added({name: cpu_s(pid) for name, pid in pids.items()})


def all_memory_mb(pids: Mapping[str, int]) -> dict[str, float]:
    """Memory now by what is shown."""
    return _added({name: memory_mb(pid) for name, pid in pids.items()})


def by_database_s(postgres: int, databases: Collection[str], but: Collection[int] = ()) -> dict[str, float]:
    """CPU seconds so far of the connections to each of these databases, by the titles that PostgreSQL's processes show.

    `but`: processes that are not counted, such as those of our own connections. What connections that have ended used
    is gone, so this compares two moments between which all stay; what is nobody's (the writer of the log) is left out.
    """
    total = dict.fromkeys(databases, 0.0)
    for process in psutil.Process(postgres).children(recursive=True):
        if process.pid in but:
            continue
        try:
            words, times = " ".join(process.cmdline()).split(), process.cpu_times()
        except psutil.Error:
            continue
        for name in databases:
            if name in words and "worker" not in words:
                total[name] += times.user + times.system
    return total


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was added between two looks, by process."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def ended_children_cpu_s() -> float:
    """CPU seconds of all children of this very process that have ended and were waited for: the load generators."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _added(values: Mapping[str, float]) -> dict[str, float]:
    total: dict[str, float] = {}
    for name, value in values.items():
        shown = SHOWN_AS.get(name) or service_of(name)
        total[shown] = total.get(shown, 0.0) + value
    return total


def _family(pid: int) -> Iterator[psutil.Process]:
    first = psutil.Process(pid)
    yield first
    yield from first.children(recursive=True)
