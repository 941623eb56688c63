"""Call claims: who is on the phone with which customer. A claim ends by itself, so that a closed laptop blocks nobody.

Every function works inside the caller's transaction. A claim is live while `until` lies ahead; the row of one that
has run out means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from chassis.db import Tx
from contracts.errors import Conflict
from scheduling_svc import models
from scheduling_svc.call_queue import take_next
from scheduling_svc.urgency import UrgencyPolicy

SUBSCRIBER = "subscriber:"
"""How a subscriber's name begins; whose own visit it is needs no claim."""

_claims = models.call_claims


class Claim(NamedTuple):
    """`by` is on the phone with the customer until `until`, or until the call is recorded."""

    by: str
    until: datetime


def live(conn: sa.Connection, order_ids: Iterable[UUID], now: datetime) -> dict[UUID, Claim]:
    """The live claims on these orders."""
    query = sa.select(_claims).where(_claims.c.order_id.in_(list(order_ids)), _claims.c.until > now)
    return {row.order_id: Claim(row.by, row.until) for row in conn.execute(query)}


def claim(tx: Tx, order_id: UUID, by: str, lasts: timedelta) -> bool:
    """Claim the visit; return whether it was the caller's already. Raises Conflict where another's claim stands.

    The caller holds the order, but not those who ask for the next one: the statement in `_take` decides.
    """
    before = live(tx.conn, [order_id], tx.now).get(order_id)
    if _take(tx, order_id, by, lasts) is None:
        raise _held(live(tx.conn, [order_id], tx.now)[order_id])
    return before is not None and before.by == by


def claim_next(tx: Tx, by: str, lasts: timedelta, policy: UrgencyPolicy) -> UUID | None:
    """Claim the first visit in the call order that is due and unclaimed; None where there is none."""
    while (order_id := take_next(tx.conn, by, policy, tx.now)) is not None:
        # Somebody may have claimed it between our look at the queue and our lock on the visit: then look again.
        if _take(tx, order_id, by, lasts) is not None:
            return order_id
    return None


def check(tx: Tx, order_id: UUID, by: str) -> None:
    """Raise Conflict where another's live claim stands and `by` is staff.

    Call it after the visit was changed: the row is locked then, and `claim_next` passes it by.
    """
    standing = live(tx.conn, [order_id], tx.now).get(order_id)
    if standing is not None and standing.by != by and not by.startswith(SUBSCRIBER):
        raise _held(standing)


def release(tx: Tx, order_id: UUID, by: str) -> None:
    """End the caller's claim; there need not be one, and another's stays."""
    tx.conn.execute(_claims.delete().where(_claims.c.order_id == order_id, _claims.c.by == by))


def drop(tx: Tx, order_ids: Iterable[UUID]) -> None:
    """End every claim on visits that are closed."""
    ids = list(order_ids)
    if ids:
        tx.conn.execute(_claims.delete().where(_claims.c.order_id.in_(ids)))


def _take(tx: Tx, order_id: UUID, by: str, lasts: timedelta) -> Claim | None:
    """One statement decides who was first; None where another's live claim stands."""
    row = {"order_id": order_id, "by": by, "until": tx.now + lasts}
    insert = pg.insert(_claims).values(row)
    free = (_claims.c.until <= tx.now) | (_claims.c.by == by)
    upsert = insert.on_conflict_do_update(
        index_elements=["order_id"], set_={"by": insert.excluded.by, "until": insert.excluded.until}, where=free
    ).returning(_claims.c.by, _claims.c.until)
    taken = tx.conn.execute(upsert).first()
    return None if taken is None else Claim(taken.by, taken.until)


def _held(standing: Claim) -> Conflict:
    return Conflict(f"{standing.by} is calling this customer, until {standing.until:%Y-%m-%dT%H:%M:%SZ} at the latest")
