"""How fast a backlog goes: it is built while its consumer is stopped, and let go when all who work on it are ready.

Only what lies between a tenth and nine tenths of it is counted, so that neither the start nor the end is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2

from tools.bench import cost
from tools.bench.figures import DATABASE, Name, Reading, of_each
from tools.bench.host import Host
from tools.waiting import NotInTime

LOOK_S = 0.03
PATIENCE_S = 60.0
PART = (0.1, 0.9)
"""Of a backlog: what lies between is counted."""
CPU_MS = "CPU ms an order"


@dataclass(frozen=True)
class Mark:
    """How much was done at a moment (`time.perf_counter`), and what every process had used by then."""

    done: int
    at: float
    cpu_s: Mapping[str, float]


def used_s(host: Host) -> dict[str, float]:
    """CPU seconds so far of all that runs, and of PostgreSQL's work for each service (`PostgreSQL of order`)."""
    names = {name: str(host.query(name, "select current_database()")[0][0]) for name in host.services}
    ours = [int(host.query(name, "select pg_backend_pid()")[0][0]) for name in host.services]
    found = cost.by_database_s(host.pids["postgres"], list(names.values()), ours)
    return cost.all_cpu_s(host.pids) | {f"{DATABASE} of {name}": found[database] for name, database in names.items()}


def costs(section: str, before: Mapping[str, float], after: Mapping[str, float], orders: float, what: str) -> Reading:
    """CPU ms an order of each that had a part in it; `what` stands before their names."""
    each = {name: 1000 * value / orders for name, value in cost.spent(before, after).items()}
    return {Name(section, f"{what}{name}", CPU_MS): value for name, value in each.items() if value >= 0.005}


@contextmanager
def closed(host: Host, service: str, table: str) -> Iterator[None]:
    """Nobody writes to this table during the block: who has taken messages by then waits, and all begin at once.

    Shorter than DB_ANSWER_TIMEOUT_S, or they give up and begin again.
    """
    connection = psycopg2.connect(host.database_address(service))
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"lock table {table} in exclusive mode")
        yield
        connection.rollback()
    finally:
        connection.close()


def drained(host: Host, done: Callable[[], int], orders: int, part: tuple[float, float]) -> tuple[Mark, Mark]:
    """Wait until so many orders are done; what was there at the first look at which so large a part was, of each two.

    Raises NotInTime where it goes no further for a minute.
    """
    marks: list[Mark] = []
    seen, grown = -1, time.perf_counter()
    while seen < orders:
        now_done, now = done(), time.perf_counter()
        if len(marks) < 2 and now_done >= orders * part[len(marks)]:
            marks.append(Mark(now_done, now, used_s(host)))
        if now_done > seen:
            seen, grown = now_done, now
        elif now - grown > PATIENCE_S:
            raise NotInTime(f"{seen} of {orders} orders are done, and no more for {PATIENCE_S:g} s")
        time.sleep(LOOK_S)
    if len(marks) < 2 or marks[0].done == marks[1].done:
        raise NotInTime(f"{orders} orders were done between two looks: too few to measure a rate")
    return marks[0], marks[1]


def drain(
    section: str, host: Host, processes: int, done: Callable[[], int], orders: int, part: tuple[float, float] = PART
) -> Reading:
    """Orders a second, and CPU ms an order of each process, with so many processes at work."""
    try:
        first, last = drained(host, done, orders, part)
    except NotInTime as error:
        raise NotInTime(f"{section}, {of_each(processes)}: {error}") from error
    number = last.done - first.done
    many = of_each(processes)
    return {
        Name(section, many, "orders/s"): number / (last.at - first.at),
        **costs(section, first.cpu_s, last.cpu_s, number, f"{many}, "),
    }


def commit_ms(host: Host) -> float:
    """How long this disk takes for what a commit waits for: the median of 200 small writes with fdatasync."""
    path, taken = host.folder / "commits", []
    with path.open("wb", buffering=0) as file:
        for _ in range(200):
            began = time.perf_counter()
            file.write(b"x" * 8192)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    path.unlink()
    return 1000 * sorted(taken)[100]
