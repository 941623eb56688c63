"""Inflicts what `tools.faults` draws on a running system, and undoes it again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import eventlet
import psutil
import requests
import sqlalchemy as sa
from eventlet.semaphore import Semaphore

from tests.harness.bng import sql
from tests.harness.network import bng_of, elements_of
from tools.faults import Fault
from tools.process import Child
from tools.system import System, service_of
from tools.waiting import NotInTime, wait_until

REFUSED_PRODUCT = "internet-500"
_WITHDRAWN = f"{REFUSED_PRODUCT}-withdrawn"


@dataclass
class Inflictor:
    """Each fault in a greenlet of its own, so that they overlap; those on one target wait for each other."""

    system: System
    say: Callable[[str], None]
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _turns: dict[str, Semaphore] = field(default_factory=lambda: defaultdict(lambda: Semaphore(1)))
    _under_way: list[Any] = field(default_factory=list)

    def inflict(self, fault: Fault) -> None:
        """Begin with this fault; returns at once."""
        self._under_way.append(eventlet.spawn(self._run, fault))

    def wait(self) -> None:
        """Wait until every fault is undone."""
        for each in self._under_way:
            each.wait()

    def _run(self, fault: Fault) -> None:
        with self._turns[fault.target]:
            self.say(str(fault))
            try:
                self._strike(fault)
            except (NotInTime, OSError, sa.exc.SQLAlchemyError) as error:
                self.failed.append(f"{fault}: {type(error).__name__}: {str(error).splitlines()[0]}")
            else:
                self.done.append(str(fault))

    def _strike(self, fault: Fault) -> None:
        if fault.target == "broker":
            self._node(fault, self.system.nodes.broker.process, self.system.nodes.broker.start)
        elif fault.target == "database":
            postgres = self.system.nodes.postgres
            assert postgres is not None
            if fault.kind == "freeze":
                with postgres.frozen():
                    eventlet.sleep(fault.lasts_s)
                return
            self._node(fault, postgres.process, postgres.start)
        elif fault.target == "everything":
            cut_broker(self.system) if fault.kind == "cut_broker" else cut_database(self.system)
        elif fault.target in self.system.processes:
            self._process(fault)
        else:
            self._element(fault)

    def _process(self, fault: Fault) -> None:
        name, system = fault.target, self.system
        if fault.kind == "cut_broker":
            cut_broker(system, name)
        elif fault.kind == "cut_database":
            cut_database(system, service_of(name))
        elif fault.kind == "freeze":
            system.freeze(name)
            eventlet.sleep(fault.lasts_s)
            system.thaw(name)
        elif fault.kind == "replace" and service_of(name) != "activation":
            self._started(lambda: system.replace(name))
        else:
            # activation is never there twice: it is replaced by stopping it first.
            system.kill(name) if fault.kind == "kill" else system.stop(name)
            eventlet.sleep(fault.lasts_s)
            self._started(lambda: system.start(name))

    def _element(self, fault: Fault) -> None:
        element = elements_of(self.system)[fault.target]
        with ExitStack() as stack:
            if fault.kind == "refuse":
                _rename_profile(self.system, REFUSED_PRODUCT, _WITHDRAWN)
                stack.callback(_rename_profile, self.system, _WITHDRAWN, REFUSED_PRODUCT)
            elif fault.kind == "freeze":
                element.freeze()
                stack.callback(element.thaw)
            else:
                element.kill()
                stack.callback(lambda: self._started(element.start))
            eventlet.sleep(fault.lasts_s)

    def _node(self, fault: Fault, process: Child, start: Callable[[], None]) -> None:
        if fault.kind == "freeze":
            process.freeze()
            eventlet.sleep(fault.lasts_s)
            process.thaw()
            return
        process.kill() if fault.kind == "kill" else process.stop()
        eventlet.sleep(fault.lasts_s)
        self._started(start)

    @staticmethod
    def _started(start: Callable[[], None]) -> None:
        """Start; what does not come up while something else is down is tried again."""
        wait_until(lambda: start() or True, "it starts", timeout_s=180, interval_s=0.5, answered=(NotInTime, OSError))


def cut_broker(system: System, name: str | None = None) -> int:
    """Cut the connections to the broker of one process, or of all; where it is down, when it is back.

    Returns how many it was. Those that were made in the last seconds the broker does not tell of, unless there are no
    others.
    """
    api = f"{system.nodes.broker.management_uri}/api/connections"
    child = None if name is None else system.processes[name]

    def told() -> list[str] | bool:
        # The management interface tells of a connection some seconds after it was made, first without its particulars.
        ports = None if child is None else _local_ports(child)
        names = [
            str(found["name"]) for found in requests.get(api, timeout=30).json()
            if "name" in found and (ports is None or found.get("peer_port") in ports)
        ]
        return names or (child is not None and not child.alive)

    found = when_there(told)
    names = found if isinstance(found, list) else []
    for each in names:
        when_there(lambda each=each: [requests.delete(f"{api}/{quote(each, safe='')}", timeout=30)])
    return len(names)


def cut_database(system: System, service: str | None = None) -> None:
    """Cut the connections to the database of one service, or of all; where it is down, when it is back."""
    engine = sa.create_engine(system.nodes.database_uri("postgres"), poolclass=sa.NullPool)
    query = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname like :name"

    def cut() -> bool:
        with engine.connect() as connection:
            connection.execute(sa.text(query), {"name": f"oss_{service or '%'}"})
        return True

    when_there(cut)


def _rename_profile(system: System, old: str, new: str) -> None:
    """A product whose profile has another name is refused by the BNG."""
    rename = "update radgroupreply set groupname = :new where groupname = :old"
    when_there(lambda: sql(bng_of(system).uri, rename, old=old, new=new) or True)


def when_there(action: Callable[[], Any]) -> Any:
    """Do this to a node that may be down just now: as soon as it is there. `action` returns something true."""
    answered = (OSError, ValueError, sa.exc.SQLAlchemyError)
    return wait_until(action, "the node is there", timeout_s=120, interval_s=0.5, answered=answered)


def _local_ports(child: Child) -> set[int]:
    if not child.alive:
        return set()
    connections: Iterable[Any] = psutil.Process(child.pid).net_connections("tcp")
    return {connection.laddr.port for connection in connections}
