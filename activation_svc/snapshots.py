"""The snapshots in the activations' rows: what stood on the elements before an order's first write there.

The statement that renews a lease writes them first (`leases.hold`), or the transaction that takes the order in, where
they were read ahead (`keep`); the rest are the ways they change afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

import sqlalchemy as sa

from activation_svc.models import table
from activation_svc.plan import Plan, as_json
from chassis.connection import prepared
from chassis.db import Tx


def without(snapshot: Plan | None, leftovers: Plan) -> Plan:
    """The snapshot but for these entries of it."""
    return tuple(entry for entry in snapshot or () if entry not in leftovers)


def forget(conn: sa.Connection, order_ids: Collection[UUID]) -> None:
    """Nothing is kept of these orders any more, because all of it is put back."""
    conn.execute(sa.update(table).where(table.c.order_id.in_(order_ids)).values(snapshot=None))


def keep(tx: Tx, snapshots: Mapping[UUID, Plan]) -> None:
    """Store these with the rows of their orders, which this transaction has stored before."""
    for order_id, plan in snapshots.items():
        tx.later(_KEEP, as_json(plan), order_id)


def store(conn: sa.Connection, snapshots: Mapping[UUID, Plan]) -> None:
    """Record what stood on the elements before these orders wrote there."""
    if not snapshots:
        return
    conn.execute(_STORE, {
        "orders": list(map(str, snapshots)), "snapshots": [as_json(plan) for plan in snapshots.values()],
    })


_KEEP = prepared("update activations set snapshot = cast(%s::text as jsonb) where order_id = %s::uuid")
_STORE = sa.text(
    "update activations set snapshot = taken.snapshot"
    " from unnest(cast(:orders as uuid[]), cast(:snapshots as jsonb[])) as taken(order_id, snapshot)"
    " where activations.order_id = taken.order_id"
)
