"""A private RabbitMQ, on free ports of 127.0.0.1 or as a member of a cluster: all it has lies under one folder.

The server's own start script is called, not the packaged wrapper, which insists on the system's user.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from kombu.exceptions import OperationalError

from chassis import broker
from tools.certificates import Certificates
from tools.keys import write_private
from tools.packages import Server, ensure
from tools.ports import free_port
from tools.process import Child
from tools.waiting import NotInTime, wait_until

VHOST = "oss"
MEMORY_LIMIT = "1GB"
_PLACES = (
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
    "/usr/lib/rabbitmq/sbin/rabbitmq-server",
    "/usr/lib64/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
    "/opt/rabbitmq*/sbin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
)


def find_server() -> Path | None:
    """The server's own start script, or None. RABBITMQ_SERVER names another one."""
    if named := os.environ.get("RABBITMQ_SERVER"):
        return Path(named)
    found = [path for place in _PLACES for path in Path("/").glob(place.lstrip("/"))]
    return max(found, default=None)


SERVER = Server(
    "RabbitMQ",
    ("rabbitmq-server",),
    lambda: find_server() is not None,
    "RabbitMQ elsewhere: Fedora: sudo dnf install rabbitmq-server; macOS: brew install rabbitmq; or name its start "
    "script in RABBITMQ_SERVER, or a broker that runs already in AMQP_URI.",
)


def ensure_server() -> Path:
    """The start script, after installing RabbitMQ where that is possible. Raises PackagesMissing."""
    ensure(SERVER)
    server = find_server()
    assert server is not None
    return server

_NOT_BUSY = "+sbwt none +sbwtdcpu none +sbwtdio none"
"""No busy waiting of idle schedulers: the services need the processors."""
_WRITTEN_AT_ONCE = "-ra wal_write_strategy o_sync"
"""What quorum queues note is on disk when it is written, instead of being written and then synchronized, in two turns
of several threads."""


@dataclass(frozen=True)
class Place:
    """Where a broker runs. `within`: what stands before its commands, as `nsenter ...`; `host`: the address it takes
    there; `settings` and `advanced`: further lines of `rabbitmq.conf`, and the whole of `advanced.config`.

    Members of a cluster ask each other's epmd at one port, `epmd_port`.
    """

    name: str = "rabbitmq"
    host: str = "127.0.0.1"
    domain: str = "localhost"
    within: tuple[str, ...] = ()
    epmd_port: int | None = None
    settings: str = ""
    advanced: str = ""

    @property
    def node(self) -> str:
        """The broker's name in Erlang."""
        return f"oss@{self.domain}"


HERE = Place()


class Rabbit:
    """One private broker with the management plugin, a virtual host `oss` and one user `oss`."""

    def __init__(
        self, folder: Path, *, password: str, tls: Certificates | None = None, place: Place = HERE
    ) -> None:
        """With `tls` it is reached over TLS only, its management interface as well."""
        self.folder = folder
        self.place = place
        self.port = free_port()
        self.management_port = free_port()
        self._password = password
        self._tls = tls
        self._ports = {"epmd": place.epmd_port or free_port(), "dist": free_port()}
        logs = folder.parent / "logs"
        self.name = place.name
        epmd = "epmd" if place is HERE else f"{place.name}-epmd"
        # Started by us, so that it ends with us: the node would leave a daemon of its own behind.
        self._epmd = Child(
            epmd, [*place.within, "epmd", "-address", place.host, "-port", str(self._ports["epmd"])],
            env=self._env(), log=logs / f"{epmd}.log", cwd=folder,
        )  # fmt: skip
        self.process = Child(self.name, [], env=self._env(), log=logs / f"{self.name}.log", cwd=folder)

    def uri(self, vhost: str = VHOST) -> str:
        """The AMQP URI of a virtual host on this broker."""
        return f"amqp{'s' if self._tls else ''}://oss:{self._password}@{self.place.host}:{self.port}/{vhost}"

    @property
    def management_uri(self) -> str:
        return f"http{'s' if self._tls else ''}://oss:{self._password}@{self.place.host}:{self.management_port}"

    @property
    def ca_file(self) -> str:
        """Who signed its certificate; empty without TLS."""
        return str(self._tls.authority) if self._tls else ""

    @property
    def children(self) -> tuple[Child, ...]:
        """Its processes."""
        return (self._epmd, self.process)

    def start(self) -> None:
        """Start it; returns when it takes connections (60 s at most)."""
        self.process.argv = [*self.place.within, str(ensure_server())]
        self._write_files()
        if not self._epmd.alive:
            self._epmd.start()
        self.process.start()
        try:
            wait_until(self._answers, "RabbitMQ takes connections", interval_s=0.2)
        except NotInTime as error:
            raise NotInTime(f"{error}\n{self.process.tail()}") from error

    def stop(self) -> None:
        """Stop the node and its epmd."""
        self.process.stop()
        self._epmd.kill()

    def _env(self) -> dict[str, str]:
        here = self.folder
        return {
            "PATH": os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin",
            "LANG": "C.UTF-8",
            "HOME": str(here),
            "RABBITMQ_NODENAME": self.place.node,
            "RABBITMQ_USE_LONGNAME": str("." in self.place.domain).lower(),
            "RABBITMQ_MNESIA_BASE": str(here / "mnesia"),
            "RABBITMQ_LOG_BASE": str(here / "log"),
            "RABBITMQ_CONFIG_FILE": str(here / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(here / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(here / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(here / "env.conf"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(here / "generated"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(here / "pid"),
            "RABBITMQ_DIST_PORT": str(self._ports["dist"]),
            "ERL_EPMD_PORT": str(self._ports["epmd"]),
            "ERL_EPMD_ADDRESS": self.place.host,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{_NOT_BUSY} {_WRITTEN_AT_ONCE}",
            # Makes the script become the Erlang machine, so that the process we hold is the broker itself.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _write_files(self) -> None:
        for name in ("", "log", "generated", "conf.d"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "env.conf").write_text("")
        if self.place.advanced:
            (self.folder / "advanced.config").write_text(self.place.advanced)
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            write_private(cookie, os.urandom(16).hex())
        write_private(
            self.folder / "rabbitmq.conf",
            f"{self._listeners()}"
            f"default_vhost = {VHOST}\ndefault_user = oss\ndefault_pass = {self._password}\n"
            f"vm_memory_high_watermark.absolute = {MEMORY_LIMIT}\n"
            "disk_free_limit.absolute = 50MB\n"
            "raft.wal_max_size_bytes = 64000000\n" + self.place.settings,
        )

    def _listeners(self) -> str:
        if self._tls is None:
            return (
                f"listeners.tcp.1 = {self.place.host}:{self.port}\n"
                f"management.tcp.ip = {self.place.host}\nmanagement.tcp.port = {self.management_port}\n"
            )
        files = {"cacertfile": self._tls.authority, "certfile": self._tls.certificate, "keyfile": self._tls.key}
        parts = ("ssl_options", "management.ssl")
        settings = {f"{part}.{name}": path for part in parts for name, path in files.items()}
        return (
            f"listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:{self.port}\n"
            f"management.ssl.ip = 127.0.0.1\nmanagement.ssl.port = {self.management_port}\n"
            # The client is known by its password; it has no certificate of its own.
            "ssl_options.verify = verify_none\nssl_options.versions.1 = tlsv1.3\nssl_options.versions.2 = tlsv1.2\n"
            + "".join(f"{name} = {path}\n" for name, path in settings.items())
        )

    def limit_memory(self, limit: str) -> None:
        """How much it may have (`1GB`): with more, it takes nothing from whoever publishes, and says so."""
        command = [str(ensure_server().with_name("rabbitmqctl")), "set_vm_memory_high_watermark", "absolute", limit]
        subprocess.run(command, env=self.process.env, cwd=self.folder, check=True, capture_output=True, timeout=60)

    def takes_connections(self) -> bool:
        """Whether it does so just now: a node of a cluster that sees no majority runs and takes none."""
        try:
            with broker.connection(self.uri(), self.ca_file, connect_timeout=5) as connection:
                connection.connect()
        except (OSError, OperationalError):
            return False
        return True

    def _answers(self) -> bool:
        if not self.process.alive:
            raise NotInTime(f"RabbitMQ ended with {self.process.exit_code}")
        return self.takes_connections()
