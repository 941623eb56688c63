"""The system under measurement: of this checkout, or of another revision in a git worktree.

Both are started the same way, as a child process with their checkout as working folder, so that either measures alike.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy as sa

from tools.paths import ROOT, SERVICES
from tools.process import tied_to_us
from tools.waiting import NotInTime

FOLDER = ROOT / ".local" / "bench"
MAX_STREAMS, MAX_CONNECTIONS = 1100, 1500
SETTINGS = {
    "ELEMENTS_DRIVER": "sim",
    # Nobody is to be refused for being quick; everything else is as in production.
    "ORDER_RATE_PER_S": "1000000",
    "ORDER_RATE_BURST": "1000000",
    "SSE_MAX_STREAMS": str(MAX_STREAMS),
    "SSE_MAX_STREAMS_OF_ONE": str(MAX_STREAMS),
    "HTTP_MAX_CONNECTIONS": str(MAX_CONNECTIONS),
}
STOP_S = 90


@dataclass(frozen=True)
class Checkout:
    """Code to be measured. `name` is what it is called in the tables."""

    name: str
    path: Path
    commit: str


def this_checkout() -> Checkout:
    """The code of this very folder, committed or not."""
    commit = _git("rev-parse", "--short", "HEAD")
    changed = "" if not _git("status", "--porcelain", "--untracked-files=no") else ", changed"
    return Checkout("this checkout", ROOT, commit + changed)


@contextmanager
def other_checkout(revision: str) -> Iterator[Checkout]:
    """A worktree of that revision for the length of a block. Raises ValueError where git knows no such one."""
    try:
        commit = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except subprocess.CalledProcessError:
        raise ValueError(f"git knows no revision {revision!r}") from None
    path = FOLDER / f"revision-{commit[:12]}"
    _drop(path)
    # Forced: `make clean` may have removed an earlier one without git's knowledge.
    _git("worktree", "add", "--quiet", "--force", "--detach", str(path), commit)
    try:
        yield Checkout(revision, path, commit[:7])
    finally:
        _drop(path)


def _drop(path: Path) -> None:
    if path.exists():
        subprocess.run(["git", "worktree", "remove", "--force", str(path)], cwd=ROOT, capture_output=True)
        shutil.rmtree(path, ignore_errors=True)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@dataclass
class Host:
    """A running system: where it is, its whole environment, and by name its processes' ids and HTTP addresses."""

    url: str
    env: dict[str, str]
    pids: dict[str, int]
    urls: dict[str, str]
    folder: Path
    _child: subprocess.Popen[str]
    _connections: dict[str, Any] = field(default_factory=dict)

    @property
    def services(self) -> tuple[str, ...]:
        """The services that run, each with a database of its own."""
        return tuple(name for name in SERVICES if f"{name.upper()}_DB_URI" in self.env)

    def tell(self, do: str, *names: str) -> None:
        """Stop, start, add or remove processes (`host_child.py` says how). Raises NotInTime where it went wrong."""
        if not names:
            return
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({"do": do, "names": names}) + "\n")
        self._child.stdin.flush()
        about = _about(self._child)
        if about is None or "error" in about:
            raise NotInTime(f"{do} {', '.join(names)}: {about['error'] if about else 'the system ended'}")
        self.pids, self.urls = about["pids"], about["urls"]

    def db(self, service: str) -> Any:
        """A connection to a service's database that commits each statement; kept."""
        if service not in self._connections:
            connection = psycopg2.connect(self.database_address(service))
            connection.autocommit = True
            self._connections[service] = connection
        return self._connections[service]

    def query(self, service: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of one statement on a service's database."""
        with self.db(service).cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def database_address(self, service: str, database: str | None = None) -> str:
        """Where a service's database is, or another one on the same server, as libpq understands it."""
        url = sa.make_url(self.env[f"{service.upper()}_DB_URI"]).set(drivername="postgresql")
        return (url.set(database=database) if database else url).render_as_string(hide_password=False)

    def settle(self) -> None:
        """Bring the databases into the same state before each section; only while no order is under way.

        All ports, VLANs and addresses can be given out again: two access nodes hold fewer lines than we order. Tables
        are vacuumed and analysed, as those of a system are that has run for more than some minutes.
        """
        self.query("activation", "update resources set order_id = null, line = null where order_id is not null")
        for service in SERVICES:
            self.query(service, "vacuum analyze")

    def close(self) -> None:
        """End our connections to its databases."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


@contextmanager
def running(checkout: Checkout, folder: Path) -> Iterator[Host]:
    """Start the system of this checkout with empty databases; stop and remove it at the end, logs stay.

    Raises NotInTime, with the end of its log, where it does not start.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder / "host.log"
    child = _start(checkout, folder, log)
    try:
        about = _about(child)
        if about is None:
            end = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
            raise NotInTime(f"the system of {checkout.name} did not start:\n{end}")
        host = Host(about["url"], about["env"], about["pids"], about["urls"], folder, child)
        try:
            yield host
        finally:
            host.close()
    finally:
        _stop(child)


def _start(checkout: Checkout, folder: Path, log: Path) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("host_child.py")
    command = [sys.executable, "-P", str(script), str(folder / "system"), json.dumps(SETTINGS)]
    env = {name: value for name, value in os.environ.items() if name not in ("AMQP_URI", "AMQP_MANAGEMENT_URI")}
    env |= {"PYTHONPATH": str(checkout.path), "PYTHONWARNINGS": "ignore"}
    with log.open("ab") as errors:
        return subprocess.Popen(
            tied_to_us(command, signal.SIGTERM), cwd=checkout.path, env=env, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
        )  # fmt: skip


def _about(child: subprocess.Popen[str]) -> dict[str, Any] | None:
    """What it says of itself once it is up; None where it ended. It may say other things first."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("{"):
            return dict(json.loads(line))
    return None


def _stop(child: subprocess.Popen[str]) -> None:
    """Let it stop by the end of its input, then by SIGTERM; whatever is left after that ends with it."""
    assert child.stdin is not None
    child.stdin.close()
    for ask in (child.poll, child.terminate, child.kill):
        ask()
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_S)
            return
