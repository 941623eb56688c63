"""The database's primary dies under load, a standby takes its place, and the old one comes back behind it.

`tools.standby.Replicated` plays the operator CloudNativePG on as many servers as the production manifest has.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import eventlet
import requests

from tests.harness.client import Client
from tests.harness.crew import OUTCOME, Crew
from tests.harness.drill_checker import judge
from tests.harness.drill_load import Load
from tests.harness.drill_stage import Stage, measured
from tests.harness.settings import FAST
from tools import haproxy, packages, rabbit
from tools.drill_report import Result
from tools.manifests import replication
from tools.nodes import Nodes
from tools.paths import SERVICES
from tools.standby import Replicated
from tools.system import System
from tools.waiting import wait_until

NAME = "standby"
# Longer than a service waits for an answer, and than a liveness probe bears with three failures.
ALONE_S = 45.0


def run(stage: Stage) -> list[Result]:
    """One failover; in the long form one more, a planned one back, and the loss of every standby."""
    with replicated_system(stage) as (system, cluster):
        own = Stage(system, seed=stage.seed, long=stage.long, orders=stage.orders, say=stage.say)
        with own.balanced() as own.balancer:
            results = [_failovers(own, cluster)]
            if stage.long:
                results.append(_without_standbys(own, cluster))
        return results


@contextmanager
def replicated_system(stage: Stage) -> Iterator[tuple[System, Replicated]]:
    """A system of its own, with simulated elements, whose databases have standbys; removed at the end, logs stay."""
    folder = stage.system.folder / "standby"
    shutil.rmtree(folder, ignore_errors=True)
    packages.ensure(rabbit.SERVER, haproxy.SERVER)
    with ExitStack() as stack:
        nodes = Nodes(folder, use_environment=False)
        stack.callback(nodes.remove)
        nodes.start()
        assert nodes.postgres is not None
        cluster = Replicated(nodes.postgres, folder, replication())
        stack.callback(cluster.remove)
        cluster.start()
        settings = FAST | {"ELEMENTS_DRIVER": "sim", "TRUSTED_PROXIES": "1"} | cluster.environment()
        system = System(folder, nodes=nodes, overrides=settings, say=stage.say)
        stack.callback(system.down)
        system.up()
        yield system, cluster


def _failovers(stage: Stage, cluster: Replicated) -> Result:
    system, begun, notes = stage.system, time.monotonic(), []
    turns: list[tuple[str, Callable[[Stage, Replicated], None]]] = [("kill -9", _die)]
    if stage.long:
        turns += [("hang, then kill -9", _hang_and_die), ("planned", _hand_over)]
    assert stage.balancer is not None
    load = Load(system, url=stage.balancer.url, seed=stage.seed, hands=6)
    with load:
        for how, turn in turns:
            _more(load, stage.amount(4, 40))
            since, old = datetime.now(UTC) - timedelta(seconds=5), cluster.primary
            stage.say(f"{old}: {how}")
            turn(stage, cluster)
            _more(load, stage.amount(4, 40))
            notes.append(f"{how}: {old} → {cluster.primary}, nothing was written for {_silence(system, since):.1f} s")
            if not cluster.servers[old].process.alive:
                cluster.rejoin(old)
    return measured(stage, f"{NAME}: failover", len(turns), load, begun, notes)


def _die(stage: Stage, cluster: Replicated) -> None:
    cluster.servers[cluster.primary].kill()
    cluster.fail_over()


def _hang_and_die(stage: Stage, cluster: Replicated) -> None:
    """Nothing tells the services for a while: no connection is closed, and none answers."""
    server = cluster.servers[cluster.primary]
    with server.frozen():
        eventlet.sleep(float(FAST["DB_ANSWER_TIMEOUT_S"]) + 5)
        server.kill()
    cluster.fail_over()


def _hand_over(stage: Stage, cluster: Replicated) -> None:
    cluster.switch_over()


def _more(load: Load, number: int) -> None:
    goal = load.closed + number
    wait_until(lambda: load.over or load.closed >= goal, "orders go on", timeout_s=300)


def _silence(system: System, since: datetime) -> float:
    """The longest time, in seconds, in which nothing was written into the order book.

    By the times of its messages in and out, which are the database's.
    """
    query = """
        with moments as (select created_at as at from outbox union all select received_at from inbox)
        select extract(epoch from max(at - before)) as s from
            (select at, lag(at) over (order by at) as before from moments where at > :since) as gaps
    """
    return float(system.db("order", query, since=since)[0]["s"])


def _without_standbys(stage: Stage, cluster: Replicated) -> Result:
    """Commits wait for as long as there is no standby; orders are taken all the same, and nobody hangs for ever."""
    system, begun, problems = stage.system, time.monotonic(), []
    assert stage.balancer is not None
    url, password = stage.balancer.url, system.env["STAFF_PASSWORD"]
    crew = Crew(system, 4, lambda: Client(url, staff_password=password))
    before = crew.place(stage.amount(4, 20))
    crew.finish(before)
    standbys = cluster.standbys
    stage.say(f"no standby is left: {', '.join(standbys)}")
    for name in standbys:
        cluster.servers[name].kill()
    alone = _Watch(system, crew, before[0])
    placed = crew.place(stage.amount(4, 40))
    if others := [status for status in crew.statuses[len(before) :] if status != 202]:
        problems.append(f"without a standby nothing can be promised but by the journal; answered: {others}")
    alone.look_for(ALONE_S)
    waiting, connections = _sessions(cluster)
    returned = time.monotonic()
    for name in standbys:
        cluster.servers[name].start()
    cluster.wait_followed()
    crew.finish(placed)
    notes = [
        f"{len(placed)} orders were taken by the journals", f"{waiting} commits waited, on {connections} connections",
        f"all orders had ended {time.monotonic() - returned:.1f} s after the standbys began to start",
    ]  # fmt: skip
    verdict = judge(system, {order_id: OUTCOME[fate] for order_id, fate in crew.placed.items()})
    return Result(
        drill=f"{NAME}: all standbys lost", faults=len(standbys), orders=len(crew.placed), lost=len(verdict.lost),
        doubled=len(verdict.doubled), stuck=len(verdict.stuck), seconds=time.monotonic() - begun, seed=stage.seed,
        problems=problems + alone.problems + verdict.problems, notes=notes,
    )  # fmt: skip


class _Watch:
    """Whether processes live, and an order can be read, while nothing can be written."""

    def __init__(self, system: System, crew: Crew, order_id: str) -> None:
        self._system, self._order_id = system, order_id
        self._reader = Client(system.url, staff_password=system.env["STAFF_PASSWORD"])
        self._reader.remember(order_id, crew.token(order_id))
        self.problems: list[str] = []

    def look_for(self, seconds: float) -> None:
        """Look once a second, for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.problems:
            for name in SERVICES:
                said = requests.get(f"{self._system.service_url(name)}/livez", timeout=5)
                if said.status_code != 200:
                    self.problems.append(f"{name} would be restarted, which helps nobody: {said.text}")
            read = self._reader.request("GET", f"/api/orders/{self._order_id}", as_=self._order_id)
            if read.status_code != 200:
                self.problems.append(f"an order cannot be read while nothing can be written: {read.status_code}")
            eventlet.sleep(1)


def _sessions(cluster: Replicated) -> tuple[int, int]:
    """How many sessions of services wait for a standby, and how many there are."""
    query = ("select count(*) filter (where wait_event = 'SyncRep'), count(*) from pg_stat_activity"
             " where datname like 'oss_%'")  # fmt: skip
    [(waiting, connections)] = cluster.ask(cluster.primary, query)
    return int(waiting), int(connections)
