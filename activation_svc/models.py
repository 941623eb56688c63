"""Activation's tables: one row an order, and the inventory of what elements give out; beside them the chassis' own."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase

from chassis.models import chassis_tables

TIMESTAMP = sa.DateTime(timezone=True)
JSON = pg.JSONB(none_as_null=True)

PROVISION_STATES = ("provisioning", "reverting_cancelled", "reverting_rejected")
"""The states in which the network is to be worked on."""
VISIT_STATES = ("provisioned",)
"""The states in which scheduling is to be asked for a visit."""


class Base(DeclarativeBase):
    """Activation's metadata."""


chassis_tables(Base.metadata)

table = sa.Table(
    "activations",
    Base.metadata,
    sa.Column("order_id", pg.UUID(as_uuid=True), primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("customer", JSON),
    sa.Column("address", JSON),
    sa.Column("items", JSON, nullable=False),
    sa.Column("lines", JSON, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("visit_attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt_at", TIMESTAMP),
    sa.Column("gives_up", sa.Boolean, nullable=False),
    sa.Column("last_error", sa.Text),
    sa.Column("failed_element", sa.Text),
    sa.Column("stuck_since", TIMESTAMP),
    sa.Column("tried", JSON, nullable=False),
    sa.Column("traceparent", sa.Text),
    sa.Column("created_at", TIMESTAMP, nullable=False),
    sa.Column("updated_at", TIMESTAMP, nullable=False),
    # Not the saga's: what stood on the elements before the first write.
    sa.Column("snapshot", JSON),
    # Who works on the order, and until when.
    sa.Column("lease_owner", sa.Text),
    sa.Column("lease_until", TIMESTAMP),
)

_due = table.c.next_attempt_at.is_not(None)
sa.Index(
    "activations_to_provision", table.c.next_attempt_at,
    postgresql_where=sa.and_(_due, table.c.state.in_(PROVISION_STATES)),
)
sa.Index(
    "activations_to_visit", table.c.next_attempt_at,
    postgresql_where=sa.and_(_due, table.c.state.in_(VISIT_STATES)),
)
sa.Index("activations_stuck", table.c.order_id, postgresql_where=table.c.stuck_since.is_not(None))
sa.Index("activations_leased", table.c.lease_owner, postgresql_where=table.c.lease_owner.is_not(None))

resources = sa.Table(
    "resources",
    Base.metadata,
    # One row a resource and one holder a row: the key is what keeps a resource from being given out twice.
    # pool: kind and element, such as vlan:olt-1; position: its place in the pool.
    sa.Column("pool", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("element", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("order_id", pg.UUID(as_uuid=True)),
    sa.Column("line", sa.Integer),
    # Why it is given to nobody any more; or, where an order holds it, why that order does not use it.
    sa.Column("blocked", sa.Text),
)
_held = resources.c.order_id.is_not(None)
sa.Index(
    "resources_free", resources.c.pool, resources.c.position,
    postgresql_where=sa.and_(resources.c.order_id.is_(None), resources.c.blocked.is_(None)),
)
sa.Index("resources_held", resources.c.order_id, postgresql_where=_held)
sa.Index("resources_load", resources.c.pool, postgresql_where=_held)
sa.Index("resources_blocked", resources.c.pool, postgresql_where=resources.c.blocked.is_not(None))
