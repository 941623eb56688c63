"""What was pruned from a service's tables, so that whoever reads them can say what may be missing."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from chassis import dialect
from chassis.db import Tx
from chassis.models import chassis_tables

_PRUNED = chassis_tables(sa.MetaData()).pruned


def until(conn: sa.Connection) -> dict[str, datetime]:
    """By table: what was last touched before this moment may be gone. Tables from which nothing has gone are left out.

    An outbox message counts from when it was last sent, an inbox id from when it was handled.
    """
    found = conn.execute(sa.select(_PRUNED.c.name, _PRUNED.c.until).where(_PRUNED.c.until.is_not(None)))
    return {row.name: row.until for row in found}


def looked_at(conn: sa.Connection) -> dict[str, tuple[datetime, int]]:
    """By table: when it was last pruned to its end, and how many rows have gone so far."""
    return {row.name: (row.looked_at, row.rows) for row in conn.execute(sa.select(_PRUNED))}


def note(tx: Tx, name: str, rows: int, before: datetime | None) -> None:
    """Note that `rows` rows went from the table `name`, all from `before` this moment; None where none went."""
    statement = dialect.insert(tx.conn, _PRUNED).values(name=name, until=before, rows=rows, looked_at=tx.now)
    new = statement.excluded
    changed = {"rows": _PRUNED.c.rows + new.rows, "looked_at": new.looked_at}
    if before is not None:
        # Days that are kept may have been made more: what is gone stays gone.
        changed["until"] = sa.case((_PRUNED.c.until > new.until, _PRUNED.c.until), else_=new.until)
    tx.conn.execute(statement.on_conflict_do_update(index_elements=["name"], set_=changed))


def is_due(conn: sa.Connection, names: set[str], now: datetime, every: timedelta) -> bool:
    """Whether one of these tables was not pruned to its end within `every`."""
    known = looked_at(conn)
    return any(name not in known or known[name][0] <= now - every for name in names)
