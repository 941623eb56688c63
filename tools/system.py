"""The whole system as real processes: private nodes, network elements and six services.

One class serves `make run`, `make up`, the tests and the drills, so that what is tested is what runs.
The commands come from the Procfile, every setting from the environment that is built in `tools.environment`.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa
from honcho.environ import parse_procfile

from tools import packages
from tools.environment import HTTP, environment_of, http_ports, system_environment
from tools.keys import write_env
from tools.network import REAL, SIM, Network
from tools.nodes import Nodes
from tools.paths import ROOT, SERVICES
from tools.ports import free_port
from tools.prepare import prepare
from tools.process import Child, Part, has_ended
from tools.waiting import NotInTime, wait_until

ELEMENTS = "elements"


def service_of(name: str) -> str:
    """The service that a process belongs to: `order-2` is a further process of `order`."""
    service, _, number = name.rpartition("-")
    return service if number.isdecimal() else name


def _argv(command: str) -> list[str]:
    """A Procfile command with this interpreter in place of `python` and of Nameko's console script."""
    words = shlex.split(command)
    programs = {"python": [sys.executable], "nameko": [sys.executable, "-m", "nameko"]}
    return [*programs.get(words[0], [words[0]]), *words[1:]]


class System:
    """Start, stop, kill and watch the system whose files lie in `folder`.

    `overrides` are settings for this system (short delays in tests); `say` is told of each step.
    Its network elements are real servers; with ELEMENTS_DRIVER=sim in `overrides` or the environment, the simulator
    plays them, and `network` is None. `on_the_way` may change the environment that a process is started with: a drill
    puts something between it and its neighbours.
    """

    def __init__(
        self,
        folder: Path,
        *,
        overrides: Mapping[str, str] | None = None,
        nodes: Nodes | None = None,
        fixed_ports: bool = False,
        say: Callable[[str], None] = lambda text: None,
        on_the_way: Callable[[str, Mapping[str, str]], dict[str, str]] = lambda process, env: dict(env),
    ) -> None:
        self.folder = folder.resolve()
        self.nodes = nodes or Nodes(self.folder)
        self._own_nodes = nodes is None
        self._overrides = dict(overrides or {})
        driver = self._overrides.get("ELEMENTS_DRIVER") or os.environ.get("ELEMENTS_DRIVER") or REAL
        self.network: Network | None = None
        if driver != SIM:
            self.network = Network(self.folder, radius_uri=self.nodes.radius_uri)
        self._say = say
        self._on_the_way = on_the_way
        self._ports = http_ports(fixed=fixed_ports)
        self.env: dict[str, str] = {}
        self.processes: dict[str, Child] = {}
        self._commands: dict[str, str] = {}

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self.service_url("gateway")

    @property
    def amqp_uri(self) -> str:
        """The broker, as the user that may do everything there: for tests and drills only."""
        return self.env["AMQP_URI"]

    def service_url(self, name: str) -> str:
        """The HTTP address of one service (health and metrics; for the gateway everything)."""
        return f"http://127.0.0.1:{self.port(name)}"

    def port(self, name: str) -> int:
        """The HTTP port of one process."""
        return self._ports[name]

    @property
    def element_port(self) -> int:
        """The TCP port of the element simulator, where it plays the elements; for `element_sim.client.SimClient`."""
        return int(self.env["ELEMENT_SIM_PORT"])

    def up(self) -> None:
        """Start everything: nodes, elements, migrations, seed, processes; returns when every service is ready.

        Raises PackagesMissing before anything has been started.
        """
        network = () if self.network is None else self.network.servers()
        packages.ensure(*(self.nodes.servers() if self._own_nodes else ()), *network)
        if self._own_nodes:
            self._say("starting PostgreSQL and RabbitMQ")
            self.nodes.start()
        if self.network is not None:
            self._say("starting two access nodes, the BNG and the TV middleware")
            self.network.start()
        self.env = system_environment(self.folder, self.nodes, self.network, self._ports, self._overrides)
        write_env(self.folder / "system.env", self.env)
        self.processes = self._make_processes()
        prepare(self._full_env(), self._say)
        self._say("starting six services" + (" and the element simulator" if self.network is None else ""))
        self.start_all()

    def down(self) -> None:
        """Stop everything that was started here, services before nodes; the order of one clean end."""
        self._say("stopping the services")
        self.stop_all()
        if self.network is not None:
            self._say("stopping the network elements")
            self.network.stop()
        if self._own_nodes:
            self._say("stopping RabbitMQ and PostgreSQL")
            self.nodes.stop()
        (self.folder / "system.env").unlink(missing_ok=True)

    def start_all(self) -> None:
        """Start every element and process that does not run, then wait until all are ready."""
        if self.network is not None:
            self.network.start()
        for child in self.processes.values():
            child.start()
        for name in self.processes:
            self.wait_ready(name)

    def stop_all(self) -> None:
        """Ask every process to stop at once, wait, and kill what does not stop in 30 s."""
        for child in self.processes.values():
            child.ask_to_stop()
        for child in self.processes.values():
            if not child.stop(30):
                self._say(f"{child.name} did not stop in time and was killed")

    def ended(self) -> list[Part]:
        """What ended by itself: nodes, then elements, then processes. Each can be started again."""
        elements = [] if self.network is None else list(self.network.elements.values())
        parts: list[Part] = [*(self.nodes.parts if self._own_nodes else ()), *elements, *self.processes.values()]
        return [part for part in parts if has_ended(part)]

    def start(self, name: str, *, wait: bool = True) -> None:
        """Start one process by its name in the Procfile; with `wait` it is ready on return."""
        self.processes[name].start()
        if wait:
            self.wait_ready(name)

    def stop(self, name: str) -> None:
        """Stop one process as an operator would (SIGTERM)."""
        self.processes[name].stop()

    def kill(self, name: str) -> None:
        """`kill -9` one process."""
        self.processes[name].kill()

    def replicas(self, service: str) -> list[str]:
        """The names of a service's processes: its own name, then `<service>-2` and so on."""
        return [name for name in self.processes if service_of(name) == service]

    def add_replica(self, service: str, *, wait: bool = True) -> str:
        """Start one more process of a service, with a port of its own and, a gateway, a journal of its own.

        Returns its name, by which it is stopped, killed or frozen like any other; with `wait` it is ready.
        """
        name = next(name for number in count(2) if (name := f"{service}-{number}") not in self.processes)
        self._ports[name] = free_port()
        self.processes[name] = self._child(name)
        self.start(name, wait=wait)
        return name

    def remove_replica(self, name: str) -> None:
        """Stop a process that `add_replica` started (SIGTERM), and forget it. A gateway's journal stays."""
        if service_of(name) == name:
            raise ValueError(f"{name} is no further replica: stop it instead")
        self.processes.pop(name).stop()

    def replace(self, name: str) -> None:
        """Replace one process by a new one, which is ready before the old one is asked to stop.

        A gateway's successor opens the same journal: there the old one stops first. Raises NotInTime where the new
        one does not become ready; the old one stays then.
        """
        old, port = self.processes[name], self._ports[name]
        if service_of(name) == "gateway":
            old.stop()
            self.start(name)
            return
        self._ports[name] = free_port()
        self.processes[name] = new = self._child(name)
        new.env = old.env | {self._port_variable(name): str(self._ports[name])}
        try:
            self.start(name)
        except NotInTime:
            self.processes[name], self._ports[name] = old, port
            new.kill()
            raise
        old.stop()

    def freeze(self, name: str) -> None:
        """SIGSTOP one process: it hangs, its connections stay."""
        self.processes[name].freeze()

    def thaw(self, name: str) -> None:
        """SIGCONT one process."""
        self.processes[name].thaw()

    def thaw_all(self) -> None:
        """SIGCONT whatever runs."""
        elements = () if self.network is None else self.network.elements.values()
        for part in (*elements, *self.processes.values()):
            for child in part.children:
                if child.alive:
                    child.thaw()

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """One process stopped for the length of a block."""
        self.stop(name)
        try:
            yield
        finally:
            self.start(name)

    def is_ready(self, name: str) -> bool:
        """What the process says of itself at `/readyz`; the simulator is ready when its port answers."""
        if name == ELEMENTS:
            return _answers(self.element_port)
        return bool(requests.get(f"{self.service_url(name)}/readyz", timeout=5).status_code == 200)

    def wait_ready(self, name: str, timeout_s: float = 90.0) -> None:
        """Wait until a process is ready. Raises NotInTime with the end of its log."""
        child = self.processes[name]

        def ready() -> bool:
            if not child.alive:
                raise NotInTime(f"{name} ended with {child.exit_code}")
            return self.is_ready(name)

        try:
            wait_until(ready, f"{name} is ready", timeout_s=timeout_s, answered=(OSError,))
        except NotInTime as error:
            raise NotInTime(f"{error}\n--- end of {child.log}\n{child.tail()}") from error

    def db(self, name: str, query: str, **values: Any) -> list[dict[str, Any]]:
        """Run one SQL statement on a service's database and return its rows as dicts. For tests and drills only."""
        engine = sa.create_engine(self.env[f"{name.upper()}_DB_URI"], poolclass=sa.NullPool)
        with engine.begin() as connection:
            result = connection.execute(sa.text(query), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    def _full_env(self) -> dict[str, str]:
        return dict(os.environ) | self.env

    def _make_processes(self) -> dict[str, Child]:
        self._commands = dict(parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes)
        unknown = set(self._commands) ^ {ELEMENTS, *SERVICES}
        if unknown:
            raise RuntimeError(f"the Procfile and tools.paths.SERVICES disagree on {', '.join(sorted(unknown))}")
        return {name: self._child(name) for name in self._commands if name != ELEMENTS or self.network is None}

    def _child(self, name: str) -> Child:
        """A process that has not been started: the service's command with the port that `name` was given."""
        service = service_of(name)
        env = environment_of(service, self._full_env())
        if service != name:
            env[self._port_variable(name)] = str(self._ports[name])
            env["JOURNAL_PATH"] = str(self.folder / f"journal-{name}.sqlite3")
        log = self.folder / "logs" / f"{name}.log"
        return Child(name, _argv(self._commands[service]), env=self._on_the_way(name, env), log=log, cwd=ROOT)

    @staticmethod
    def _port_variable(name: str) -> str:
        return HTTP[service_of(name)][0]


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
