"""The snapshots in the activations' rows: what stood on the elements before an order's first write there.

The statement that renews a lease writes them first (`leases.hold`), or the transaction that takes the order in, where
they were read ahead (`store`); the rest are the ways they change afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

import sqlalchemy as sa

from activation_svc.models import table
from activation_svc.plan import Plan, as_json
from chassis.connection import prepared
from chassis.dialect import array, later


def without(snapshot: Plan | None, leftovers: Plan) -> Plan:
    """The snapshot but for these entries of it."""
    return tuple(entry for entry in snapshot or () if entry not in leftovers)


def forget(conn: sa.Connection, order_ids: Collection[UUID]) -> None:
    """Nothing is kept of these orders any more, because all of it is put back."""
    conn.execute(sa.update(table).where(table.c.order_id.in_(order_ids)).values(snapshot=None))


def store(conn: sa.Connection, snapshots: Mapping[UUID, Plan]) -> None:
    """Record what stood on the elements before these orders wrote there. Their rows are, or have just been, stored."""
    if snapshots:
        orders = array(list(snapshots))
        later(conn, _STORE, orders, [as_json(plan) for plan in snapshots.values()], orders)


_STORE = prepared(
    "update activations set snapshot = taken.snapshot"
    " from unnest(%s::uuid[], cast(%s::text[] as jsonb[])) as taken(order_id, snapshot)"
    # Said twice, so that the rows are looked up whatever the size of the table when this was planned.
    " where activations.order_id = any(%s::uuid[]) and activations.order_id = taken.order_id"
)
