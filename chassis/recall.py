"""After a restore: the events of this service that the others have and its own outbox, which is older, has not.

An event left the service only after its transaction had committed, so what is told back is true. A service's
`recall.py` says what such an event means for its own row.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import TypeVar

import sqlalchemy as sa

from chassis import dialect, pruned
from chassis.db import OutgoingEvent, Tx

E = TypeVar("E", bound=OutgoingEvent)


def lost(tx: Tx, events: Iterable[E], types: Iterable[str]) -> list[E]:
    """Those of `events` that are of this service's `types` and that its outbox does not hold, oldest first.

    What is so old that the outbox has been pruned of it was not lost.
    """
    wanted = frozenset(types)
    mine = {event.event_id: event for event in events if event.event_type in wanted}
    outbox = tx.tables.outbox
    query = sa.select(outbox.c.message_id).where(dialect.among(tx.conn, outbox.c.message_id, list(mine)))
    known: set[uuid.UUID] = set(tx.conn.execute(query).scalars()) if mine else set()
    pruned_until = pruned.until(tx.conn).get(outbox.name)
    return [
        event for event_id, event in sorted(mine.items())
        if event_id not in known and (pruned_until is None or event.occurred_at >= pruned_until)
    ]


def keep(tx: Tx, events: Sequence[OutgoingEvent]) -> None:
    """Put them back into the outbox under their own ids: whoever knows them already skips them."""
    tx.emit(events)
