"""Data is lost for good and comes back from a backup: the whole data folder of PostgreSQL, or one service's database.

Orders of every fate run while the backup is made, more are placed and closed after it, and some while the databases
are gone. In the end each order that was ever answered with 201 or 202 has one outcome, in all parts.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence

import eventlet
import sqlalchemy as sa

from tests.harness.client import Client
from tests.harness.crew import FATES, OUTCOME, Crew
from tests.harness.drill_checker import judge
from tests.harness.drill_stage import Stage
from tests.harness.network import bng_of
from tests.harness.room import make_room
from tools.backup import Place, backup
from tools.backup_files import Backup
from tools.drill_report import Result
from tools.migrate import ADMIN_DATABASE
from tools.paths import SERVICES
from tools.restore import check, restore
from tools.system import System

ALONE = ("order", "activation", "scheduling", "fieldwork")
CLOSED = ("completed", "rejected", "cancelled")


class Resuming(Crew):
    """A crew that goes on with an order from wherever it is, as people do who are asked again."""

    def _finish(self, client: Client, order_id: str) -> None:
        fate = self.placed[order_id]
        wanted = OUTCOME[fate]
        if fate == "cancel_at_once":
            self._cancel(client, order_id)
            self._wait(client, order_id, (wanted,))
            return
        status = self._wait(client, order_id, ("activated", "scheduled", *CLOSED))["status"]
        if status == "activated":
            self._appoint(client, order_id)
        if status in ("activated", "scheduled"):
            if fate == "cancel_scheduled":
                self._cancel(client, order_id)
            else:
                self._work(client, order_id, fate)
        self._wait(client, order_id, (wanted,))


def run(stage: Stage) -> list[Result]:
    """Everything lost; then, one after the other, each database that other services know more than."""
    # In the short form the one of which most depends: its elements, and visits that stand in another service.
    alone = ALONE if stage.long else ("activation",)
    return [everything(stage), *(one(stage, service) for service in alone)]


def everything(stage: Stage) -> Result:
    """PostgreSQL is killed and its whole data folder deleted."""
    system, postgres, begun = stage.system, stage.nodes.postgres, time.monotonic()
    assert postgres is not None
    crew, saved = _saved_in_the_middle(stage)
    postgres.process.kill()
    shutil.rmtree(postgres.data)
    crew.place(4, FATES)  # nobody but the gateway's journal can take them
    system.stop_all()
    postgres.start()
    bng = bng_of(system)  # it had its accounts there as well
    bng.stop()
    bng.start()
    return _brought_back(stage, "backup: data folder lost", crew, saved, SERVICES, begun)


def one(stage: Stage, service: str) -> Result:
    """The database of one service is gone, and comes back older than those of the others."""
    system, begun = stage.system, time.monotonic()
    crew, saved = _saved_in_the_middle(stage)
    system.stop_all()
    url = sa.make_url(system.env[f"{service.upper()}_DB_URI"])
    engine = sa.create_engine(url.set(database=ADMIN_DATABASE), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as conn:
        conn.execute(sa.text(f'drop database "{url.database}" with (force)'))
    return _brought_back(stage, f"backup: {service} lost", crew, saved, (service,), begun)


def place_of(system: System) -> Place:
    """The running system, as backup and restore see it."""
    return Place(system.folder, dict(os.environ) | system.env)


def _saved_in_the_middle(stage: Stage) -> tuple[Resuming, Backup]:
    """Orders, a backup while they run, and more that it knows nothing of."""
    system, number = stage.system, stage.amount(12, 60)
    make_room(system)
    crew = Resuming(system)
    early = crew.place(number, FATES)
    crew.finish(early[:number // 3])
    running = eventlet.spawn(crew.finish, early[number // 3:2 * number // 3])
    saved = backup(place_of(system), system.folder / "backups", keep=2, say=stage.say)
    running.wait()
    late = crew.place(number, FATES)
    crew.finish([*early[2 * number // 3:5 * number // 6], *late[:number // 2]])
    return crew, saved


def _brought_back(
    stage: Stage, name: str, crew: Resuming, saved: Backup, services: Sequence[str], begun: float
) -> Result:
    system, place = stage.system, place_of(stage.system)
    lost = time.monotonic()
    check(place, saved, services)
    restore(place, saved, services, say=stage.say)
    restored = time.monotonic()
    system.start_all()
    crew.finish(list(crew.placed))
    expected = {order_id: OUTCOME[fate] for order_id, fate in crew.placed.items()}
    verdict = judge(system, expected)
    verdict.doubled += told_twice(system, list(expected))
    return Result(
        drill=name, faults=1, orders=len(expected), lost=len(verdict.lost), doubled=len(verdict.doubled),
        stuck=len(verdict.stuck), seconds=time.monotonic() - begun, problems=verdict.problems,
        notes=[f"restored in {restored - lost:.0f} s"],
    )  # fmt: skip


def told_twice(system: System, ids: Sequence[str]) -> list[str]:
    """What a subscriber would see twice: only a visit may be agreed more than once."""
    query = (
        "select order_id, event_type, count(*) as n from events where order_id = any(cast(:ids as uuid[]))"
        " and event_type <> 'visit_scheduled' group by 1, 2 having count(*) > 1"
    )
    return [
        f"{row['order_id']}: MyPage tells {row['event_type']} {row['n']} times"
        for row in system.db("mypage", query, ids=list(ids))
    ]
