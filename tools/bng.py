"""A private BNG: Debian's FreeRADIUS on free ports of 127.0.0.1, its accounts and sessions in a PostgreSQL database.

Its configuration is `network_elements/bng/raddb`; schema, queries and dictionaries are the package's own. It also
answers Disconnect-Requests (RFC 5176) for the sessions in its accounting table, as the BNG itself would.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import sqlalchemy as sa

from contracts.catalogue import PRODUCTS
from tools.keys import write_private
from tools.migrate import ensure_database
from tools.packages import WITHOUT, PackagesMissing, Server, ensure
from tools.paths import ROOT
from tools.ports import free_port
from tools.process import Child, prefixed
from tools.waiting import NotInTime, wait_until

OURS = ROOT / "network_elements" / "bng"
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
_CONFIGURATION = Path("/etc/freeradius/3.0")
_DRIVER = Path("/usr/lib/freeradius/rlm_sql_postgresql.so")
_SQL = "mods-config/sql/main/postgresql"
# Seconds between interim accounting updates: a session that is silent for longer is lost.
_INTERIM_S = 600


def find_server() -> Path | None:
    """The `freeradius` binary, where the PostgreSQL driver and radclient are there too."""
    server = shutil.which("freeradius", path=_PATH)
    if server is None or not _DRIVER.exists() or shutil.which("radclient", path=_PATH) is None:
        return None
    return Path(server)


SERVER = Server(
    "FreeRADIUS",
    ("freeradius", "freeradius-postgresql", "freeradius-utils"),
    lambda: find_server() is not None,
    WITHOUT,
)


def ensure_server() -> Path:
    """The binary, after installing FreeRADIUS where that is possible. Raises PackagesMissing."""
    ensure(SERVER)
    server = find_server()
    assert server is not None
    return server


def profiles() -> dict[str, list[tuple[str, str, str]]]:
    """The service profiles: a group named like each internet product, as (attribute, op, value) of its reply.

    `=` adds what the account itself does not say, so an account may override its profile.
    """
    return {
        product.id: [
            ("Service-Type", "=", "Framed-User"),
            ("Filter-Id", "=", product.id),
            ("WISPr-Bandwidth-Max-Down", "=", str((product.down_mbps or 0) * 1_000_000)),
            ("WISPr-Bandwidth-Max-Up", "=", str((product.up_mbps or 0) * 1_000_000)),
            ("Acct-Interim-Interval", "=", str(_INTERIM_S)),
        ]
        for product in PRODUCTS.values() if product.kind == "internet"
    }


class Bng:
    """One private RADIUS server. `uri` names its database (SQLAlchemy), which is made where it is missing.

    Ports and secret stay the same for the life of this object, so it can be killed and started again.
    """

    def __init__(self, folder: Path, *, uri: str, name: str = "bng") -> None:
        self.name = name
        self.folder = folder.resolve()
        self.uri = uri
        self.auth_port, self.acct_port, self.disconnect_port = (free_udp_port() for _ in range(3))
        self.process = Child(name, [], env={}, log=self.folder.parent / "logs" / f"{name}.log", cwd=self.folder)

    @property
    def secret_file(self) -> Path:
        """The file with the shared secret, for its owner only (`radclient -S`)."""
        return self.folder / "secret"

    @property
    def secret(self) -> str:
        """The secret shared with whoever asks or disconnects; made once."""
        if not self.secret_file.exists():
            write_private(self.secret_file, secrets.token_hex(16) + "\n")
        return self.secret_file.read_text(encoding="ascii").strip()

    @property
    def children(self) -> tuple[Child, ...]:
        """Its process."""
        return (self.process,)

    def environment(self) -> dict[str, str]:
        """How activation reaches it, as config/elements.yaml asks."""
        values = {
            "DB_URI": self.uri, "DISCONNECT_HOST": "127.0.0.1", "DISCONNECT_PORT": str(self.disconnect_port),
            "SECRET": self.secret,
        }  # fmt: skip
        return prefixed(self.name, values)

    def start(self) -> None:
        """Start it, making database, schema and profiles where they are missing; returns when it answers."""
        server = ensure_server()
        self.folder.mkdir(parents=True, exist_ok=True)
        debian = package_files(self.folder)
        prepare_database(self.uri, debian / _SQL / "schema.sql")
        raddb = self.folder / "raddb"
        raddb.mkdir(mode=0o700, exist_ok=True)
        for file in (OURS / "raddb").iterdir():
            write_private(raddb / file.name, file.read_text(encoding="utf-8"))
        self.process.argv = [str(server), "-f", "-l", "stdout", "-d", str(raddb)]
        self.process.env = self._env(debian)
        self.process.start()
        try:
            wait_until(self.is_ready, "FreeRADIUS answers")
        except NotInTime as error:
            raise NotInTime(f"{error}\n{self.process.tail()}") from error

    def stop(self) -> None:
        """Stop it; accounts and sessions stay in the database."""
        self.process.stop()

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()

    def freeze(self) -> None:
        """It hangs: nothing answers. Its database does, it is not part of it."""
        self.process.freeze()

    def thaw(self) -> None:
        """It goes on, with what was asked meanwhile."""
        self.process.thaw()

    def is_ready(self) -> bool:
        """Whether it answers a Status-Server request (RFC 5997). Raises NotInTime where its process has ended."""
        if not self.process.alive:
            raise NotInTime(f"FreeRADIUS ended with {self.process.exit_code}")
        asked = self.radclient("status", self.auth_port, "Message-Authenticator = 0x00", timeout_s=0.3)
        return asked.returncode == 0

    def radclient(
        self,
        command: str,
        port: int,
        attributes: str,
        *,
        secret_file: Path | None = None,
        tries: int = 1,
        timeout_s: float = 1.0,
    ) -> subprocess.CompletedProcess[str]:
        """Send one request with FreeRADIUS's own client; exit code 0 is an accept, the answer is in `stdout`.

        `timeout_s` is for each of the `tries`.
        """
        program = shutil.which("radclient", path=_PATH) or "radclient"
        secret = ["-S", str(secret_file or self.secret_file)]
        return subprocess.run(
            [program, "-x", "-t", f"{timeout_s:g}", "-r", str(tries), *secret, f"127.0.0.1:{port}", command],
            input=attributes + "\n", capture_output=True, text=True,
        )  # fmt: skip

    def _env(self, debian: Path) -> dict[str, str]:
        url = sa.make_url(self.uri)
        return {
            "PATH": _PATH,
            "LANG": "C.UTF-8",
            "BNG_FOLDER": str(self.folder),
            "BNG_DEBIAN": str(debian),
            "BNG_SECRET": self.secret,
            "BNG_AUTH_PORT": str(self.auth_port),
            "BNG_ACCT_PORT": str(self.acct_port),
            "BNG_DISCONNECT_PORT": str(self.disconnect_port),
            "BNG_DB_HOST": str(url.host),
            "BNG_DB_PORT": str(url.port or 5432),
            "BNG_DB_USER": str(url.username),
            "BNG_DB_PASSWORD": str(url.password or ""),
            "BNG_DB_NAME": str(url.database),
        }


def package_files(folder: Path) -> Path:
    """The package's own configuration, in place, or unpacked under `folder` where only root may read it there.

    Raises PackagesMissing where it can be had neither way.
    """
    if os.access(_CONFIGURATION / _SQL / "schema.sql", os.R_OK):
        return _CONFIGURATION
    unpacked = folder / "package"
    if not unpacked.exists():
        with tempfile.TemporaryDirectory(dir=folder) as draft:
            try:
                subprocess.run(["apt-get", "-q", "download", "freeradius-config"], cwd=draft, check=True,
                               capture_output=True)  # fmt: skip
                package = next(Path(draft).glob("*.deb"))
                subprocess.run(["dpkg-deb", "-x", str(package), f"{draft}/root"], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise PackagesMissing(
                    f"{_CONFIGURATION} is not readable and freeradius-config cannot be downloaded ({error}): "
                    "join the group `freerad`, or run this as root"
                ) from error
            (Path(draft) / "root").rename(unpacked)
    return unpacked / _CONFIGURATION.relative_to("/")


def prepare_database(uri: str, schema: Path) -> None:
    """Make the database, FreeRADIUS's schema from the package's file, our addition, and the service profiles.

    May be repeated. Other groups stay; the groups of our products become what the catalogue says.
    """
    ensure_database(uri)
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    with engine.begin() as conn:
        conn.execute(sa.text("select pg_advisory_xact_lock(hashtext('bng schema'))"))
        if conn.execute(sa.text("select to_regclass('radcheck')")).scalar() is None:
            conn.exec_driver_sql(schema.read_text(encoding="utf-8").replace("%", "%%"))
        conn.exec_driver_sql((OURS / "activation.sql").read_text(encoding="utf-8"))
        for name, reply in profiles().items():
            _seed_profile(conn, name, reply)


def _seed_profile(conn: sa.Connection, name: str, reply: list[tuple[str, str, str]]) -> None:
    found = conn.execute(
        sa.text("select attribute, op, value from radgroupreply where groupname = :name order by id"), {"name": name}
    )
    if [tuple(row) for row in found] == reply:
        return
    conn.execute(sa.text("delete from radgroupreply where groupname = :name"), {"name": name})
    conn.execute(
        sa.text("insert into radgroupreply (groupname, attribute, op, value) values (:name, :attribute, :op, :value)"),
        [{"name": name, "attribute": attribute, "op": op, "value": value} for attribute, op, value in reply],
    )


def free_udp_port() -> int:
    """A free port as `free_port` gives it, on which nobody receives datagrams either."""
    while True:
        port = free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
