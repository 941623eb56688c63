"""`make backup`: every database of one moment, every gateway's journal, and the secrets, while orders run.

    python -m tools.backup [--keep 7]

Not for the network elements, which are the equipment's own, nor for the broker's queues: what was in them is sent
again from the outboxes (`tools/restore.py`).
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tools import backup_cut, backup_files
from tools.backup_files import FORMAT, KEEP, SECRETS, Backup, BackupUnfit, described
from tools.keys import read_env
from tools.nodes import Nodes
from tools.packages import PackagesMissing
from tools.paths import SERVICES, state_dir
from tools.run import AlreadyRunning, holder, only_one
from tools.waiting import NotInTime

JOURNALS = "journal*.sqlite3"


@dataclass(frozen=True)
class Place:
    """Where a system keeps what is backed up. `env`: the settings its processes run with, addresses among them."""

    folder: Path
    env: Mapping[str, str] = field(repr=False)

    def uri(self, service: str) -> str:
        """The address of a service's database, as SQLAlchemy has it."""
        return self.env[f"{service.upper()}_DB_URI"]

    def journals(self) -> list[Path]:
        """The journals of all gateways that ran here."""
        return sorted(self.folder.glob(JOURNALS))


def backup(place: Place, into: Path, *, keep: int = KEEP, say: Callable[[str], Any] = print) -> Backup:
    """Write a backup of `place` into a new folder in `into`, then remove all but the newest `keep`.

    Raises BackupUnfit; a backup that could not be completed leaves nothing behind.
    """
    started = datetime.now(UTC)
    with backup_files.draft(into, started) as folder:
        # A database that is a file is copied first: then it knows less than the others, and hears the rest again.
        files = {name: place.uri(name) for name in SERVICES if backup_cut.is_file(place.uri(name))}
        databases = {name: _copied(name, uri, folder) for name, uri in files.items()}
        with backup_cut.cut({name: place.uri(name) for name in SERVICES if name not in files}) as snapshots:
            cut_at = datetime.now(UTC)
            # Right after that moment, so that hardly an order is in the order book and in no journal.
            journals = {path.name: _journal(path, folder) for path in place.journals()}
            for service, snapshot in snapshots.items():
                databases[service] = _dumped(service, snapshot, folder)
            servers = {snapshot.version for snapshot in snapshots.values()}
        backup_files.write_manifest(folder, {
            "format": FORMAT, "started_at": started.isoformat(), "cut_at": cut_at.isoformat(),
            "finished_at": datetime.now(UTC).isoformat(), "databases": databases, "journals": journals,
            "secrets": _secrets(place.folder / SECRETS, folder),
            "versions": {"postgresql": sorted(servers), "python": platform.python_version()},
        })  # fmt: skip
        name = folder.name
    made = backup_files.found(into)[-1]
    size = sum(part["bytes"] for part in made.files().values())
    say(f"{made.folder}: {len(databases)} databases and {len(journals)} journals, {size / 2**20:.1f} MB")
    for old in backup_files.prune(into, keep):
        say(f"removed {old}, of which there are {keep} newer ones")
    assert name.endswith(made.name), "the newest backup is the one just made"
    return made


def _copied(service: str, uri: str, folder: Path) -> dict[str, Any]:
    file = folder / f"{service}.sqlite3"
    backup_cut.copy_sqlite(Path(str(sa.make_url(uri).database)), file)
    engine = sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)
    with engine.connect() as conn:
        return described(file, revision=conn.scalar(sa.text("select version_num from alembic_version")))


def _dumped(service: str, snapshot: backup_cut.Snapshot, folder: Path) -> dict[str, Any]:
    file = folder / f"{service}.dump"
    backup_cut.dump(snapshot, file)
    return described(file, revision=snapshot.revision, server=snapshot.version)


def _journal(path: Path, folder: Path) -> dict[str, Any]:
    backup_cut.copy_sqlite(path, folder / path.name)
    return described(folder / path.name)


def _secrets(path: Path, folder: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    shutil.copyfile(path, folder / SECRETS)
    return described(folder / SECRETS)


@contextmanager
def _running_or_stopped(folder: Path, say: Callable[[str], Any]) -> Iterator[Place]:
    """The system in `folder` as it runs; else its databases, started for as long as the block lasts."""
    if holder(folder) is not None:
        yield Place(folder, dict(os.environ) | read_env(folder / "system.env"))
        return
    with only_one(folder):
        nodes = Nodes(folder)
        say("nothing runs: starting the databases for the backup")
        parts = [node for node in (nodes.postgres,) if node is not None]
        try:
            for node in parts:
                node.start()
            uris = {name: os.environ.get(name) or nodes.database_uri(f"oss_{service}")
                    for service in SERVICES for name in [f"{service.upper()}_DB_URI"]}  # fmt: skip
            yield Place(folder, dict(os.environ) | uris)
        finally:
            for node in parts:
                node.stop()


def main() -> int:
    """Back up the system in the state folder; errors a person can act on are said without a traceback."""
    parser = argparse.ArgumentParser(prog="tools.backup", description=__doc__)
    parser.add_argument("--keep", type=int, default=KEEP, help="how many backups stay")
    args = parser.parse_args()
    folder = state_dir()
    if not (folder / SECRETS).exists():
        print(f"error: {folder} holds no system to back up", file=sys.stderr)
        return 1
    try:
        with _running_or_stopped(folder, print) as place:
            backup(place, backup_files.backups_dir(), keep=args.keep)
    except (BackupUnfit, AlreadyRunning, NotInTime, PackagesMissing) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
