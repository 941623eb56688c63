"""A backup as a folder: its manifest, its checksums, written whole or not at all, the oldest removed.

`manifest.json` is written last, so a folder with one that fits its files is a complete backup.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.paths import ROOT

FORMAT = 1
MANIFEST = "manifest.json"
SECRETS = "secrets.env"
KEEP = 7
LOCK = ".lock"
_DRAFT = ".draft-"


class BackupUnfit(Exception):
    """A backup cannot be made or restored; the text says what does not fit."""


@dataclass(frozen=True)
class Backup:
    """A complete backup: its folder, and what its manifest says."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    def database(self, service: str) -> Path:
        """The dump of a service's database. Raises BackupUnfit where it holds none."""
        if service not in self.manifest["databases"]:
            raise BackupUnfit(f"{self.name} holds no database of {service}")
        return self.folder / str(self.manifest["databases"][service]["file"])

    def files(self) -> dict[str, dict[str, Any]]:
        """Every file by its name: `{"file", "bytes", "sha256"}`."""
        parts = [*self.manifest["databases"].values(), *self.manifest["journals"].values()]
        return {part["file"]: part for part in [*parts, *filter(None, [self.manifest["secrets"]])]}


def backups_dir() -> Path:
    """Where backups lie: OSS_BACKUP_DIR, or `.local/backups` in the repository."""
    return Path(os.environ.get("OSS_BACKUP_DIR") or ROOT / ".local" / "backups").resolve()


@contextmanager
def draft(into: Path, at: datetime) -> Iterator[Path]:
    """A folder to write a backup into, only for its owner; it gets its name when the block has ended well.

    Raises BackupUnfit where another backup is being made there.
    """
    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _only_one(into):
        # Nobody is writing into these any more: they are of backups that were killed.
        for old in into.glob(f"{_DRAFT}*"):
            shutil.rmtree(old, ignore_errors=True)
        name = at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        folder = into / f"{_DRAFT}{name}"
        folder.mkdir(mode=0o700)
        try:
            yield folder
            for path in [*folder.iterdir(), folder]:
                _sync(path)
            folder.rename(into / name)
            _sync(into)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _only_one(into: Path) -> Iterator[None]:
    """Hold the folder's lock, which the kernel frees whatever happens. Raises BackupUnfit."""
    with (into / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupUnfit(f"a backup is being made in {into}: try again when it has ended") from None
        yield


def described(path: Path, **more: Any) -> dict[str, Any]:
    """A file as the manifest knows it."""
    path.chmod(0o600)
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": checksum(path), **more}


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def found(into: Path) -> list[Backup]:
    """The complete backups in a folder, oldest first."""
    folders = sorted(path.parent for path in into.glob(f"*/{MANIFEST}"))
    return [read(folder) for folder in folders if not folder.name.startswith(_DRAFT)]


def read(folder: Path) -> Backup:
    """The backup in a folder. Raises BackupUnfit where there is none that this release can read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackupUnfit(f"{folder} is no complete backup: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BackupUnfit(f"{folder / MANIFEST} is not of format {FORMAT}: restore it with the release that wrote it")
    return Backup(folder, manifest)


def check(backup: Backup) -> None:
    """Compare every file with the manifest. Raises BackupUnfit naming each that differs."""
    wrong = []
    for name, part in backup.files().items():
        path = backup.folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif path.stat().st_size != part["bytes"] or checksum(path) != part["sha256"]:
            wrong.append(f"{name} is not as it was written")
    if wrong:
        raise BackupUnfit(f"{backup.name} is damaged: {'; '.join(wrong)}")


def prune(into: Path, keep: int) -> list[str]:
    """Remove all backups but the newest `keep`; returns the names of those removed."""
    if keep < 1:
        raise BackupUnfit(f"KEEP must be at least 1, it is {keep}")
    old = found(into)[:-keep]
    for backup in old:
        # Without its manifest it is no backup any more, also where the removal stops half way.
        (backup.folder / MANIFEST).unlink()
        shutil.rmtree(backup.folder)
    return [backup.name for backup in old]


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write it into a draft."""
    path = folder / MANIFEST
    path.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.chmod(0o600)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
