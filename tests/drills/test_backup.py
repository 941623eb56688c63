"""Backups of one moment, and a restored service that knows what it decided since.

A lost data folder, and activation's lost database, are in the short form that `test_drills.py` runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import uuid4

import eventlet
import pytest

from tests.harness import drill_backup
from tests.harness.drill_stage import Stage
from tools.backup_cut import Snapshot, connect, cut
from tools.drill_report import report, table
from tools.system import System
from tools.waiting import wait_until

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]


def test_what_one_database_has_heard_by_the_moment_of_the_backup_the_other_has_said(
    database: Callable[[str], str]
) -> None:
    uris = {"order": database("order"), "activation": database("activation")}
    talk = eventlet.spawn(_talk, uris)
    try:
        for _ in range(12):
            with cut(uris) as snapshots:
                said = _ids(snapshots["order"], "outbox")
                heard = _ids(snapshots["activation"], "inbox")
            assert heard <= said
            assert len(said - heard) <= 1, "they go on talking in between"
            with closing(connect(uris["order"])) as conn:
                wait_until(lambda conn=conn, said=said: _said(conn) > len(said), "writers wait for a moment only")
    finally:
        talk.kill()


def _talk(uris: dict[str, str]) -> None:
    """One says something and commits, the other hears it and commits, again and again."""
    with closing(connect(uris["order"])) as one, closing(connect(uris["activation"])) as other:
        while True:
            message = str(uuid4())
            one.cursor().execute("insert into outbox (message_id, exchange, routing_key, body, created_at)"
                                 " values (%s, 'x', 'y', '', now())", (message,))  # fmt: skip
            one.commit()
            other.cursor().execute("insert into inbox (message_id, received_at) values (%s, now())", (message,))
            other.commit()


def _said(conn: Any) -> int:
    """How many messages there are now."""
    with conn, conn.cursor() as cursor:
        cursor.execute("select count(*) from outbox")
        return int(cursor.fetchone()[0])


def _ids(snapshot: Snapshot, table: str) -> set[Any]:
    with closing(connect(snapshot.uri)) as conn:
        cursor = conn.cursor()
        cursor.execute(f"set transaction isolation level repeatable read; set transaction snapshot '{snapshot.name}'")
        cursor.execute(f"select message_id from {table}")
        return {row[0] for row in cursor.fetchall()}


def test_no_job_is_decided_twice_where_the_database_of_field_work_comes_back_older_than_the_others(
    system: System
) -> None:
    result = drill_backup.one(Stage(system, say=print), "fieldwork")

    print(table([result]))
    print(report([result]))
    assert result.ok, report([result])
    assert result.orders > 0
