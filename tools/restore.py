"""`make restore`: databases and lost journals from a backup, and whatever must be done again so that all agree.

    python -m tools.restore [--backup NAME] [--database order] [--journals] [--yes]

The system must not run. When it is started afterwards, it goes on from a consistent state. It may be run again as
often as it takes; a system whose restore has not come to its end does not start.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from tools import backup_cut, backup_files, packages, restore_broker, restore_replay
from tools.backup import Place
from tools.backup_files import SECRETS, Backup, BackupUnfit
from tools.environment import HTTP, system_environment
from tools.migrate import ADMIN_DATABASE, config, migrate
from tools.packages import PackagesMissing
from tools.paths import ROOT, SERVICES, state_dir
from tools.ports import free_port, is_free
from tools.process import Child
from tools.run import AlreadyRunning, only_one
from tools.system import ELEMENTS, System
from tools.unfinished import begun, unfinished
from tools.waiting import NotInTime, wait_until

MARGIN = timedelta(hours=1)
"""How much earlier than the backup somebody else's clock may say that something happened after it."""


def check(place: Place, backup: Backup, services: Sequence[str]) -> None:
    """Whether this backup fits this release and is whole. Raises BackupUnfit saying what does not fit."""
    backup_files.check(backup)
    for service in services:
        file, known = backup.database(service), backup.manifest["databases"][service]
        if backup_cut.is_file(place.uri(service)) != (file.suffix == ".sqlite3"):
            raise BackupUnfit(f"{service}: {file.name} does not fit the database of {service}_svc as it is configured")
        try:
            ScriptDirectory.from_config(config(service, place.uri(service))).get_revision(known["revision"])
        except CommandError as error:
            raise BackupUnfit(
                f"{service}: the backup's tables are of revision {known['revision']}, which this release does not know:"
                " restore it with the release that made it, or a later one"
            ) from error


def files(place: Place, backup: Backup, *, journals: bool) -> list[Path]:
    """Bring back the secrets and the journals that are lost; with `journals` also those that are there.

    A journal that is there is newer than its copy. Returns what was brought back.
    """
    place.folder.mkdir(parents=True, exist_ok=True)
    back = []
    for name in [*backup.manifest["journals"], *([SECRETS] if backup.manifest["secrets"] else [])]:
        target = place.folder / name
        if target.exists() and not (journals and name != SECRETS):
            continue
        for part in ("-wal", "-shm"):
            target.with_name(name + part).unlink(missing_ok=True)
        draft = target.with_name(name + ".new")
        shutil.copyfile(backup.folder / name, draft)
        draft.chmod(0o600)
        draft.replace(target)
        back.append(target)
    return back


def restore(place: Place, backup: Backup, services: Sequence[str], *, say: Callable[[str], Any] = print) -> None:
    """Replace these services' databases and do again what follows from it.

    Databases, broker and network elements must run, and no service. Raises BackupUnfit, RuntimeError.
    """
    uris = {service: place.uri(service) for service in SERVICES}
    since = datetime.fromisoformat(backup.manifest["cut_at"]) - MARGIN
    if missing := restore_replay.missing_since(services, uris, since):
        raise BackupUnfit(
            f"backup {backup.name} is too old to restore {', '.join(services)} alone: {'; '.join(missing)}. Nothing was"
            " replaced; take a newer backup, or restore everything"
        )
    for service in services:
        _database(backup, service, uris[service])
        migrate(service, uris[service])
        say(f"restored the database of {service}")
    broker = restore_broker.base_config(place.env)
    exchange = str(broker["EVENTS_EXCHANGE"])
    if set(services) == set(SERVICES):
        say(f"removed {restore_broker.purge(broker)} messages of the time since from the broker")
    elif "mypage" not in services:
        waiting = list(restore_broker.waiting("mypage", broker))
        for service in services:
            restore_replay.recall(service, uris, since, waiting, place.journals(), exchange, say)
    if "order" in services:
        say(f"{restore_replay.send_again(place.journals(), uris['order'], since)} journalled requests are sent again")
    senders = {service: uris[service] for service in SERVICES if service != "gateway"}
    for service, uri in senders.items():
        if (before := restore_replay.forgets_before(service, uri)) is not None:
            say(f"{service} has been pruned of what it handled before {before.isoformat()}: none of that is sent again")
    for service, count in restore_replay.resend(senders, exchange).items():
        say(f"{count} messages of {service} are sent again")
    if "activation" in services:
        _reconcile(place, say)


def _database(backup: Backup, service: str, uri: str) -> None:
    """Restore beside the one that is there, and only then put it in its place."""
    dump = backup.database(service)
    if backup_cut.is_file(uri):
        target = Path(str(sa.make_url(uri).database))
        for part in ("-wal", "-shm"):
            target.with_name(target.name + part).unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        backup_cut.copy_sqlite(dump, target)
        return
    url = sa.make_url(uri)
    name, draft = str(url.database), f"{url.database}_restoring"
    with _admin(uri) as run:
        run(f'drop database if exists "{draft}" with (force)')
        run(f'create database "{draft}" template template0')
    backup_cut.run("pg_restore", url.set(database=draft).render_as_string(hide_password=False),
                   "--exit-on-error", "--no-owner", "--no-privileges", "--single-transaction", str(dump))  # fmt: skip
    with _admin(uri) as run:
        run(f'drop database if exists "{name}" with (force)')
        run(f'alter database "{draft}" rename to "{name}"')


@contextmanager
def _admin(uri: str) -> Iterator[Callable[[str], Any]]:
    url = sa.make_url(uri).set(database=ADMIN_DATABASE)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as conn:
        yield lambda statement: conn.execute(sa.text(statement))


def _reconcile(place: Place, say: Callable[[str], Any]) -> None:
    """In a process of its own: it needs eventlet's way of waiting, and the settings of the service."""
    done = subprocess.run([sys.executable, "-m", "activation_svc.reconcile"], env=dict(place.env), cwd=ROOT,
                          capture_output=True, text=True, timeout=1800)  # fmt: skip
    if done.returncode:
        raise BackupUnfit(
            f"the network elements are not yet as activation believes:\n{done.stdout}{done.stderr}"
            "mend that and run the restore again; the system does not start before"
        )
    for line in done.stdout.splitlines():
        say(line)


def plan(place: Place, backup: Backup, services: Sequence[str], *, journals: bool) -> list[str]:
    """What would be replaced, for a person to read."""
    lines = [f"backup {backup.name}, as everything was at {backup.manifest['cut_at']}"]
    lines += [f"  replaces the database of {service}" for service in services]
    for name in [*backup.manifest["journals"], *([SECRETS] if backup.manifest["secrets"] else [])]:
        there = (place.folder / name).exists()
        replaced = journals and name != SECRETS
        lines.append(f"  {name}: " + (("replaced by its older copy" if replaced else "is there and stays") if there
                                      else "is lost and brought back"))  # fmt: skip
    return lines


@contextmanager
def _stopped_system(folder: Path, say: Callable[[str], Any]) -> Iterator[Place]:
    """Databases, broker and network elements of the system in `folder`, for as long as the block lasts; no service."""
    system = System(folder)
    network = system.network
    packages.ensure(*system.nodes.servers(), *(() if network is None else network.servers()))
    ports = {name: free_port() for name in HTTP}
    simulator = Child(ELEMENTS, [sys.executable, "-m", "element_sim"], env={}, cwd=ROOT,
                      log=folder / "logs" / "elements.log")  # fmt: skip
    try:
        system.nodes.start()
        if network is not None:
            network.start()
        env = dict(os.environ) | system_environment(folder, system.nodes, network, ports, {})
        if network is None:
            simulator.env = env
            simulator.start()
            wait_until(lambda: not is_free(ports[ELEMENTS]), "the simulator listens")
        yield Place(folder, env)
    finally:
        simulator.stop()
        if network is not None:
            network.stop()
        system.nodes.stop()


def chosen(into: Path, name: str | None) -> Backup:
    """The backup of that name, or the newest. Raises BackupUnfit."""
    backups = backup_files.found(into)
    if not backups:
        raise BackupUnfit(f"there is no backup in {into}: make one with `make backup`")
    matching = [backup for backup in backups if name in (None, backup.name)]
    if not matching:
        raise BackupUnfit(f"there is no backup {name}; there are {', '.join(backup.name for backup in backups)}")
    return matching[-1]


def run(folder: Path, args: argparse.Namespace, ask: Callable[[str], str] = input,
        say: Callable[[str], Any] = print) -> int:  # fmt: skip
    """Check, show, ask and restore. Raises BackupUnfit, AlreadyRunning, NotInTime, PackagesMissing, RuntimeError."""
    with only_one(folder):
        backup = chosen(backup_files.backups_dir(), args.backup)
        # What an earlier restore has begun is finished with this one.
        wanted = {*begun(folder), *([args.database] if args.database else SERVICES)}
        services = [service for service in SERVICES if service in wanted]
        before = Place(folder, dict(os.environ) | {f"{name.upper()}_DB_URI": _uri(name) for name in SERVICES})
        check(before, backup, services)
        for line in plan(before, backup, services, journals=args.journals):
            say(line)
        if not args.yes and ask("Replace exactly this? Type yes: ").strip().lower() != "yes":
            say("nothing was changed")
            return 1
        with unfinished(folder, services):
            for path in files(before, backup, journals=args.journals):
                say(f"brought back {path.name}")
            with _stopped_system(folder, say) as place:
                restore(place, backup, services, say=say)
    say("restored: start the system with `make run` or `make up`, then look at it with `make audit`")
    return 0


def _uri(service: str) -> str:
    """Where the environment says that the database is; else the private one, whose port is not known before it runs."""
    return os.environ.get(f"{service.upper()}_DB_URI") or f"postgresql+psycopg2:///oss_{service}"


def main(argv: Sequence[str] | None = None) -> int:
    """Restore into the state folder; errors a person can act on are said without a traceback."""
    parser = argparse.ArgumentParser(prog="tools.restore", description=__doc__)
    parser.add_argument("--backup", help="its name; the newest where none is named")
    parser.add_argument("--database", choices=SERVICES, help="this service's only")
    parser.add_argument("--journals", action="store_true", help="journals too that are there, though they are newer")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    try:
        return run(state_dir(), parser.parse_args(argv))
    except (BackupUnfit, AlreadyRunning, NotInTime, PackagesMissing, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
