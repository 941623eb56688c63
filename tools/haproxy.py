"""HAProxy from the system's packages: in front of several gateways, or of brokers or database servers.

For gateways: health checks, drain, and safe repetition only.

A request is repeated at another gateway where no connection could be made, so that nobody can have taken it. A GET is
repeated also after a lost or missing answer. A POST is not: its client repeats it, with its Idempotency-Key.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.packages import Server
from tools.ports import free_port
from tools.process import Child
from tools.waiting import NotInTime, wait_until


def find_server() -> str | None:
    """The program, or None. Debian keeps it out of a plain user's path."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")


SERVER = Server(
    "HAProxy",
    ("haproxy",),
    lambda: find_server() is not None,
    "HAProxy elsewhere: Fedora: sudo dnf install haproxy; macOS: brew install haproxy.",
)

_CONFIG = """\
global
    maxconn 2000
    stats socket ipv4@127.0.0.1:{control} level admin

defaults
    mode http
    timeout connect 1s
    timeout client 75s
    # An open stream says something every 10 s (PAGE_KEEP_ALIVE_S).
    timeout server 30s
    timeout queue 10s
    # One request a connection to a gateway: none can meet a connection that is just being closed.
    option http-server-close
    option forwardfor
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response response-timeout

frontend http
    bind 127.0.0.1:{port}
    default_backend targets

backend targets
    balance roundrobin
    http-request disable-l7-retry unless METH_GET
    option httpchk GET /readyz
    http-check expect status 200
    timeout check {timeout_ms}ms
    default-server check inter {interval_ms}ms fall {fall} rise 1
{servers}
"""

# A Kubernetes Service: a node that does not take connections gets no new ones. Those that there are it leaves alone.
_TCP_CONFIG = """\
global
    maxconn 2000
    stats socket ipv4@127.0.0.1:{control} level admin

defaults
    mode tcp
    timeout connect 2s
    # Longer than anything here is silent: heartbeats end what is dead.
    timeout client 1h
    timeout server 1h
    timeout check {timeout_ms}ms
    option redispatch 1
    retries {retries}

frontend tcp
    bind 127.0.0.1:{port}
    default_backend targets

backend targets
    balance roundrobin
    default-server check inter {interval_ms}ms fall {fall} rise 1
{servers}
"""


def configuration(
    port: int, control: int, targets: Mapping[str, int | str], *, interval_s: float, timeout_s: float, fall: int,
    tcp: bool = False, retries: int = 3,
) -> str:  # fmt: skip
    """The configuration file. `targets`: ports of gateways on 127.0.0.1, or addresses with ports, by name. The health
    check asks /readyz (with `tcp`: connects) every `interval_s`, and after `fall` failures in a row a target gets no
    more requests (connections).
    """
    addresses = {name: target if isinstance(target, str) else f"127.0.0.1:{target}" for name, target in targets.items()}
    servers = "\n".join(f"    server {name} {address}" for name, address in addresses.items())
    return (_TCP_CONFIG if tcp else _CONFIG).format(
        port=port, control=control, servers=servers, fall=fall, retries=retries,
        interval_ms=int(interval_s * 1000), timeout_ms=int(timeout_s * 1000),
    )  # fmt: skip


class _Program:
    """The program, with its runtime interface. `text` makes the configuration of two ports: its own, and control."""

    def __init__(self, name: str, folder: Path, text: Callable[[int, int], str]) -> None:
        self.port = free_port()
        self._control = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "haproxy.cfg"
        file.write_text(text(self.port, self._control))
        log = folder.parent / "logs" / f"{name}.log"
        command = [find_server() or "haproxy", "-db", "-f", str(file)]
        self.process = Child(name, command, env={"PATH": "/usr/sbin:/usr/bin:/bin"}, log=log, cwd=folder)

    def stop(self) -> None:
        self.process.kill()

    def command(self, text: str) -> str:
        """One command of HAProxy's runtime interface, and its answer."""
        with socket.create_connection(("127.0.0.1", self._control), timeout=10) as control:
            control.sendall(text.encode() + b"\n")
            return b"".join(iter(lambda: control.recv(65536), b"")).decode()

    def _started(self, condition: Callable[[], bool], what: str) -> None:
        def come_true() -> bool:
            if not self.process.alive:
                raise NotInTime(f"HAProxy ended with {self.process.exit_code}")
            return condition()

        self.process.start()
        try:
            wait_until(come_true, what, timeout_s=30)
        except NotInTime as error:
            raise NotInTime(f"{error}\n{self.process.tail()}") from error


class TcpService(_Program):
    """One address for one of several servers (`targets`: ports of 127.0.0.1 by name), as somebody says which."""

    def __init__(self, name: str, folder: Path, targets: Mapping[str, int]) -> None:
        self._targets = dict(targets)
        # Nobody is asked how it is: a server that answers may be a standby. Who dies is not tried again.
        servers = {server: f"127.0.0.1:{port} no-check disabled" for server, port in targets.items()}

        def text(port: int, control: int) -> str:
            return configuration(port, control, servers, interval_s=1, timeout_s=1, fall=1, tcp=True, retries=0)

        super().__init__(name, folder, text)

    def start(self) -> None:
        """Start it; it leads nowhere yet."""
        self._started(lambda: bool(self.command("show info")), "HAProxy answers")

    def point_to(self, name: str | None) -> None:
        """Lead to this server, or nowhere, from now on; connections to the others are closed."""
        for other in self._targets.keys() - {name}:
            self.command(f"set server targets/{other} state maint")
            self.command(f"shutdown sessions server targets/{other}")
        if name is not None:
            self.command(f"set server targets/{name} state ready")


class HAProxy(_Program):
    """One private load balancer in front of `targets` (ports of gateways by name; with `tcp`, addresses of any)."""

    def __init__(
        self,
        folder: Path,
        targets: Mapping[str, int | str],
        *,
        interval_s: float = 0.5,
        timeout_s: float = 2.0,
        fall: int = 2,
        tcp: bool = False,
    ) -> None:
        self._targets = dict(targets)
        self._passed = "L4OK" if tcp else "L7OK"

        def text(port: int, control: int) -> str:
            return configuration(
                port, control, targets, interval_s=interval_s, timeout_s=timeout_s, fall=fall, tcp=tcp
            )

        super().__init__(folder.name, folder, text)

    @property
    def url(self) -> str:
        """Where clients send their requests."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; returns when it has found every target to be ready."""
        self._started(self._all_up, "HAProxy has found every target")

    def drain(self, name: str) -> None:
        """Send this gateway no more requests; those it has are finished."""
        self.command(f"set server targets/{name} state drain")

    def admit(self, name: str) -> None:
        """Send this gateway requests again, as soon as it is found to be ready."""
        self.command(f"set server targets/{name} state ready")

    def wait_admitted(self, name: str) -> None:
        """Wait until this gateway gets requests."""
        wait_until(lambda: self.state(name) == "UP", lambda: f"{name} gets requests; it is {self.state(name)}")

    def state(self, name: str) -> str:
        """What HAProxy holds a gateway to be: `UP`, `DOWN`, `DRAIN`, `MAINT`, sometimes with how far on the way."""
        return self._statistics(name)["status"]

    def sessions(self, name: str) -> int:
        """How many requests this gateway is working on, streams among them."""
        return int(self._statistics(name)["scur"])

    def _statistics(self, name: str) -> dict[str, str]:
        head, *rows = self.command("show stat").removeprefix("# ").splitlines()
        found = [dict(zip(head.split(","), row.split(","), strict=False)) for row in rows if row]
        return next(row for row in found if row["pxname"] == "targets" and row["svname"] == name)

    def _all_up(self) -> bool:
        return all(self._statistics(name)["check_status"] == self._passed for name in self._targets)
