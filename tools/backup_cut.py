"""One moment of all databases at once, while orders run, and what each of them held at that moment as a dump.

Whatever a service has heard by that moment, its sender remembers having sent: events cross from one database to
another through outbox and inbox alone, and nobody writes to any of these tables while the snapshots are taken.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy as sa

from chassis.dialect import SQLITE
from tools.backup_files import BackupUnfit
from tools.postgres import _binaries
from tools.waiting import NotInTime, wait_until

LOCK_TIMEOUT_S = 2
_GATES = {"mypage": "events, outbox"}
"""The tables through which a service takes and gives events; MyPage's events are its inbox."""


@dataclass(frozen=True)
class Snapshot:
    """One database at the common moment. `uri` as SQLAlchemy has it; `name` is for pg_dump."""

    uri: str
    name: str
    revision: str
    version: str


def is_file(uri: str) -> bool:
    """Whether a database is an SQLite file."""
    return sa.make_url(uri).get_backend_name() == SQLITE


@contextmanager
def cut(uris: Mapping[str, str]) -> Iterator[dict[str, Snapshot]]:
    """Snapshots of these PostgreSQL databases, by service, all of one moment; they last as long as the block.

    Writers of events wait meanwhile, for milliseconds. Raises BackupUnfit where that cannot be had in a minute.
    """
    with ExitStack() as stack:
        readers = {service: stack.enter_context(closing(connect(uri))) for service, uri in uris.items()}
        try:
            taken = wait_until(
                lambda: _taken(uris, readers), "all databases can be held for a moment",
                answered=(psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected),
            )  # fmt: skip
        except NotInTime as error:
            raise BackupUnfit(str(error)) from error
        yield taken


def _taken(uris: Mapping[str, str], readers: Mapping[str, Any]) -> dict[str, Snapshot]:
    with ExitStack() as stack:
        for service, uri in uris.items():
            holder = stack.enter_context(closing(connect(uri)))
            tables = _GATES.get(service, "inbox, outbox")
            holder.cursor().execute(f"set lock_timeout = '{LOCK_TIMEOUT_S}s'; lock table {tables} in share mode")
        return {service: _snapshot(uris[service], reader) for service, reader in readers.items()}


def _snapshot(uri: str, reader: Any) -> Snapshot:
    reader.rollback()
    reader.set_session(isolation_level="REPEATABLE READ", readonly=True)
    cursor = reader.cursor()
    cursor.execute("select pg_export_snapshot(), (select version_num from alembic_version), version()")
    name, revision, version = cursor.fetchone()
    return Snapshot(uri, name, revision, version.split()[1])


def connect(uri: str) -> Any:
    """A psycopg2 connection to the database of an SQLAlchemy URI."""
    return psycopg2.connect(_plain(uri), connect_timeout=10)


def dump(snapshot: Snapshot, file: Path) -> None:
    """Write what the snapshot holds as a dump in pg_dump's custom format. Raises BackupUnfit."""
    run("pg_dump", snapshot.uri, "--format=custom", "--compress=1", f"--snapshot={snapshot.name}", f"--file={file}")


def copy_sqlite(source: Path, target: Path) -> None:
    """A consistent copy of an SQLite file that may be in use; the target appears whole or not at all."""
    draft = target.with_name(target.name + ".new")
    draft.unlink(missing_ok=True)
    opened = sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)
    with closing(opened) as reader, closing(sqlite3.connect(draft)) as writer:
        reader.backup(writer)
        # One file, without a WAL beside it: only so is the file the whole copy.
        writer.execute("pragma journal_mode = delete")
    draft.chmod(0o600)
    draft.replace(target)


def run(program: str, uri: str, *arguments: str) -> None:
    """Run one of PostgreSQL's client programs on the database. Raises BackupUnfit with what it said."""
    url = sa.make_url(uri)
    # The password goes by the environment: a command line can be read by everybody on the machine.
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PGPASSWORD": str(url.password or ""), "PGCONNECT_TIMEOUT": "10"}
    plain = url._replace(drivername="postgresql", password=None).render_as_string()
    command = [str(_binaries() / program), f"--dbname={plain}", *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise BackupUnfit(f"{program} of {url.database} failed: {done.stderr.strip()}")


def _plain(uri: str) -> str:
    return sa.make_url(uri).set(drivername="postgresql").render_as_string(hide_password=False)
