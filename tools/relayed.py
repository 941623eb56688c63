"""The client of `tools.relay`, and the way by which the processes of a system are led through it.

    relay = Relay(folder)
    relay.start()
    system = System(..., on_the_way=Detours(relay))
    relay.disturb("order - broker", mode="swallow")
    relay.heal("order - broker")

Only the processes go that way: whoever looks at databases, broker or elements from outside (tests, drills, migrations)
goes straight.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tools.network import SIM
from tools.paths import ROOT
from tools.ports import free_port
from tools.process import Child
from tools.system import ELEMENTS, service_of
from tools.waiting import wait_until

BROKER, DATABASE, ELEMENT, CLIENTS = "broker", "database", "element", "clients"


class Relay:
    """One relay process and its links by name."""

    def __init__(self, folder: Path) -> None:
        self._control = free_port()
        self.process = Child(
            "relay",
            [sys.executable, "-m", "tools.relay", "--control", str(self._control)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            log=folder / "logs" / "relay.log",
            cwd=ROOT,
        )
        self.links: dict[str, int] = {}
        """The port of each link on 127.0.0.1."""

    def start(self) -> None:
        """Start it; returns when it takes orders."""
        self.process.start()
        wait_until(self._answers, "the relay takes orders")

    def stop(self) -> None:
        """End it with all its connections."""
        self.process.stop()

    def open(self, name: str, port: int, host: str = "127.0.0.1") -> int:
        """The port of a link that leads there. One that is there already stays; raises RuntimeError."""
        if name not in self.links:
            mine = free_port()
            self._order({"open": name, "port": mine, "target": [host, port]})
            self.links[name] = mine
        return self.links[name]

    def disturb(self, name: str, **trouble: Any) -> None:
        """From now on this (`tools.relay.Trouble`) and nothing else. Raises RuntimeError."""
        self._order({"set": name, **trouble})

    def heal(self, name: str) -> None:
        """All is well with this link again."""
        self.disturb(name)

    def told(self, name: str) -> dict[str, int]:
        """`connections` it has now, and `bytes` it has carried."""
        return self._order({"tell": name})

    def _order(self, order: Mapping[str, Any]) -> dict[str, int]:
        with socket.create_connection(("127.0.0.1", self._control), timeout=10) as control:
            control.sendall(json.dumps(order).encode() + b"\n")
            answer: dict[str, Any] = json.loads(control.makefile("rb").readline())
        if "error" in answer:
            raise RuntimeError(f"the relay refuses {dict(order)}: {answer['error']}")
        return answer

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self._control), timeout=5):
            return True


class Detours:
    """Changes the environment of a process so that each of its connections has a link of its own on the relay.

    `sorts`: what each link leads to (`broker`, `database`, `element`), by name.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.sorts: dict[str, str] = {}

    def __call__(self, process: str, env: Mapping[str, str]) -> dict[str, str]:
        """The environment with which this process is to be started."""
        service = service_of(process)
        if service == ELEMENTS:
            return dict(env)
        database = f"{service.upper()}_DB_URI"
        changed = {
            "AMQP_URI": self._uri(process, "broker", BROKER, env["AMQP_URI"]),
            database: self._uri(process, "database", DATABASE, env[database]),
        }
        return {**env, **changed, **(self._elements(process, env) if service == "activation" else {})}

    def _elements(self, process: str, env: Mapping[str, str]) -> dict[str, str]:
        if env["ELEMENTS_DRIVER"] == SIM:
            return {"ELEMENT_SIM_PORT": self._port(process, ELEMENTS, ELEMENT, env["ELEMENT_SIM_PORT"])}
        return {
            "OLT_1_PORT": self._port(process, "olt-1", ELEMENT, env["OLT_1_PORT"]),
            "OLT_2_PORT": self._port(process, "olt-2", ELEMENT, env["OLT_2_PORT"]),
            "BNG_1_DB_URI": self._uri(process, "bng-1", ELEMENT, env["BNG_1_DB_URI"]),
            "TV_1_URL": self._uri(process, "tv-1", ELEMENT, env["TV_1_URL"]),
        }

    def _uri(self, process: str, other: str, sort: str, uri: str) -> str:
        address = urlsplit(uri)
        place, _, port = address.netloc.rpartition(":")
        return address._replace(netloc=f"{place}:{self._port(process, other, sort, port)}").geturl()

    def _port(self, process: str, other: str, sort: str, port: str) -> str:
        name = f"{process} - {other}"
        self.sorts[name] = sort
        return str(self._relay.open(name, int(port)))
