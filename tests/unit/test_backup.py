"""Promises of a backup as files: whole or not there, checked before it is used, the newest kept."""

from __future__ import annotations

import argparse
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from contracts.ids import new_id
from gateway_svc.journal import Entry, Journal
from tools import backup_files, restore, restore_replay
from tools.backup import Place
from tools.backup_cut import copy_sqlite
from tools.backup_files import FORMAT, Backup, BackupUnfit
from tools.paths import SERVICES
from tools.run import AlreadyRunning, only_one
from tools.unfinished import RestoreUnfinished, begun, check_finished, unfinished

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
URI = {f"{service.upper()}_DB_URI": f"postgresql+psycopg2:///oss_{service}" for service in SERVICES}


def a_backup(into: Path, at: datetime = NOON, revision: str = "0001", **changes: Any) -> Backup:
    """A backup whose dumps are a few bytes."""
    with backup_files.draft(into, at) as folder:
        databases = {}
        for service in SERVICES:
            (folder / f"{service}.dump").write_text(service)
            databases[service] = backup_files.described(folder / f"{service}.dump", revision=revision)
        (folder / "journal.sqlite3").write_bytes(b"older")
        (folder / "secrets.env").write_text("TOKEN_KEY=1\n")
        backup_files.write_manifest(folder, {
            "format": FORMAT, "cut_at": at.isoformat(), "databases": databases,
            "journals": {"journal.sqlite3": backup_files.described(folder / "journal.sqlite3")},
            "secrets": backup_files.described(folder / "secrets.env"),
        } | changes)  # fmt: skip
    return backup_files.found(into)[-1]


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    made = a_backup(tmp_path / "backups")
    assert made.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in made.folder.iterdir()} == {0o600}


def test_what_could_not_be_completed_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no space"), backup_files.draft(tmp_path, NOON) as folder:
        (folder / "order.dump").write_text("half")
        raise OSError("no space left")
    assert [path.name for path in tmp_path.iterdir()] == [backup_files.LOCK]


def test_what_a_killed_backup_left_is_removed_by_the_next_and_is_none_meanwhile(tmp_path: Path) -> None:
    left = tmp_path / ".draft-20261126T110000.000000Z"
    left.mkdir()
    (left / "manifest.json").write_text(json.dumps({"format": FORMAT}))
    assert backup_files.found(tmp_path) == []
    a_backup(tmp_path)
    assert not left.exists()


def test_a_second_backup_at_the_same_time_is_refused_and_does_the_first_no_harm(tmp_path: Path) -> None:
    with backup_files.draft(tmp_path, NOON) as folder:
        (folder / "order.dump").write_text("half")
        with (
            pytest.raises(BackupUnfit, match=f"a backup is being made in {tmp_path}"),
            backup_files.draft(tmp_path, NOON + timedelta(minutes=1)),
        ):
            raise AssertionError("two at once")
        assert (folder / "order.dump").read_text() == "half"
        backup_files.write_manifest(folder, {"format": FORMAT})
    assert [backup.name for backup in backup_files.found(tmp_path)] == ["20261126T120000.000000Z"]
    assert a_backup(tmp_path, NOON + timedelta(minutes=2)).folder.is_dir(), "afterwards there is room for the next"


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    names = [a_backup(tmp_path, NOON + timedelta(hours=hour)).name for hour in range(4)]
    assert backup_files.prune(tmp_path, 2) == names[:2]
    assert [backup.name for backup in backup_files.found(tmp_path)] == names[2:]
    with pytest.raises(BackupUnfit, match="KEEP must be at least 1, it is 0"):
        backup_files.prune(tmp_path, 0)


def test_damage_is_found_before_anything_is_replaced(tmp_path: Path) -> None:
    made = a_backup(tmp_path)
    (made.folder / "order.dump").write_text("ordre")
    (made.folder / "mypage.dump").unlink()
    with pytest.raises(BackupUnfit, match=r"order\.dump is not as it was written; .*mypage\.dump is missing"):
        restore.check(Place(tmp_path, URI), made, SERVICES)


def test_a_backup_of_a_later_release_is_refused_and_one_of_ours_is_not(tmp_path: Path) -> None:
    restore.check(Place(tmp_path, URI), a_backup(tmp_path), SERVICES)
    later = a_backup(tmp_path, NOON + timedelta(hours=1), revision="9999")
    with pytest.raises(BackupUnfit, match="order: the backup's tables are of revision 9999, which this release does"):
        restore.check(Place(tmp_path, URI), later, SERVICES)


def test_a_dump_does_not_become_a_file_nor_a_file_a_database(tmp_path: Path) -> None:
    place = Place(tmp_path, URI | {"MYPAGE_DB_URI": f"sqlite:///{tmp_path / 'mypage.sqlite3'}"})
    with pytest.raises(BackupUnfit, match=r"mypage: mypage\.dump does not fit the database of mypage_svc"):
        restore.check(place, a_backup(tmp_path), ["mypage"])


def test_a_folder_that_is_no_backup_says_so(tmp_path: Path) -> None:
    with pytest.raises(BackupUnfit, match=r"there is no backup in .*make backup"):
        restore.chosen(tmp_path, None)
    made = a_backup(tmp_path)
    assert restore.chosen(tmp_path, None).name == made.name
    with pytest.raises(BackupUnfit, match=f"there is no backup yesterday; there are {made.name}"):
        restore.chosen(tmp_path, "yesterday")
    (made.folder / "manifest.json").write_text("{")
    with pytest.raises(BackupUnfit, match="is no complete backup"):
        restore.chosen(tmp_path, None)


def test_a_journal_that_survived_is_newer_than_its_copy_and_stays(tmp_path: Path) -> None:
    made, place = a_backup(tmp_path / "backups"), Place(tmp_path / "run", URI)
    back = restore.files(place, made, journals=False)
    assert sorted(path.name for path in back) == ["journal.sqlite3", "secrets.env"]
    journal = place.folder / "journal.sqlite3"
    journal.write_bytes(b"newer")
    assert restore.files(place, made, journals=False) == []
    assert journal.read_bytes() == b"newer"
    assert restore.files(place, made, journals=True) == [journal], "only where somebody asks for it"
    assert (journal.read_bytes(), journal.stat().st_mode & 0o777) == (b"older", 0o600)


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    """Start a restore into an empty folder and answer its question."""
    monkeypatch.setenv("OSS_BACKUP_DIR", str(tmp_path / "backups"))
    for name, value in URI.items():
        monkeypatch.setenv(name, value)

    def run(answer: str) -> tuple[int, list[str]]:
        said: list[str] = []
        args = argparse.Namespace(backup=None, database="order", journals=False, yes=False)
        return restore.run(tmp_path / "run", args, lambda question: answer, said.append), said

    return run


def test_it_says_what_it_replaces_and_does_nothing_without_a_yes(tmp_path: Path, ask: Any) -> None:
    made = a_backup(tmp_path / "backups")
    code, said = ask("y")
    assert code == 1
    assert said == [
        f"backup {made.name}, as everything was at {NOON.isoformat()}", "  replaces the database of order",
        "  journal.sqlite3: is lost and brought back", "  secrets.env: is lost and brought back",
        "nothing was changed",
    ]  # fmt: skip
    assert not (tmp_path / "run" / "secrets.env").exists()


def test_it_refuses_while_the_system_runs(tmp_path: Path, ask: Any) -> None:
    a_backup(tmp_path / "backups")
    with only_one(tmp_path / "run"), pytest.raises(AlreadyRunning):
        ask("yes")


def test_what_was_not_finished_does_not_start_and_is_finished_with_the_next(tmp_path: Path, ask: Any) -> None:
    a_backup(tmp_path / "backups")
    with pytest.raises(BackupUnfit), unfinished(tmp_path / "run", ["order", "activation"]):
        raise BackupUnfit("olt-1 does not answer")
    with pytest.raises(RestoreUnfinished, match=r"the restore of order, activation in .* has not come to its end"):
        check_finished(tmp_path / "run")
    _, said = ask("no")
    assert said[1:3] == ["  replaces the database of order", "  replaces the database of activation"]
    with unfinished(tmp_path / "run", begun(tmp_path / "run")):
        pass
    check_finished(tmp_path / "run")


def test_a_journal_is_copied_whole_while_it_is_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite3")
    first = an_entry()
    journal.append(first)
    copy_sqlite(journal.path, tmp_path / "copy.sqlite3")
    journal.append(an_entry())
    journal.close()
    with closing(sqlite3.connect(tmp_path / "copy.sqlite3")) as copy:
        assert copy.execute("select entry_id from entries").fetchall() == [(str(first.entry_id),)]
    assert [path.name for path in tmp_path.glob("copy*")] == ["copy.sqlite3"]


def an_entry() -> Entry:
    return Entry(new_id(), "order", new_id(), {}, NOON, idempotency_key=uuid4().hex)


def test_who_takes_and_who_gives_follows_from_the_state_machines() -> None:
    assert restore_replay.consumers()["fieldwork_completed"] == ["order", "activation", "scheduling", "mypage"]
    assert restore_replay.emitted("fieldwork") == {"fieldwork_completed", "fieldwork_rejected", "fieldwork_cancelled"}
    for service in restore_replay.RECALLING:
        assert set(restore_replay.module(service, "recall").OWN) == restore_replay.emitted(service)
