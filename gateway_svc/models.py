"""The gateway's tables in PostgreSQL: staff users, and who did what. Orders are never needed from here."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase

from chassis.models import TIMESTAMP, chassis_tables


class Base(DeclarativeBase):
    """The gateway's metadata."""


chassis_tables(Base.metadata)

staff_users = sa.Table(
    "staff_users",
    Base.metadata,
    sa.Column("username", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("technician_id", sa.Text, nullable=True),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("created_at", TIMESTAMP, nullable=False),
    sa.CheckConstraint("role in ('dispatcher', 'technician', 'operator')", name="staff_users_role"),
    sa.CheckConstraint(
        "(role = 'technician') = (technician_id is not null)", name="staff_users_technician"
    ),
)

audit_log = sa.Table(
    "audit_log",
    Base.metadata,
    sa.Column("id", pg.UUID(as_uuid=True), primary_key=True),
    sa.Column("at", TIMESTAMP, nullable=False),
    sa.Column("username", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("order_id", pg.UUID(as_uuid=True), nullable=True),
    sa.Column("status", sa.Integer, nullable=False),
    # What else than an order it was done to: a parked message's id, say.
    sa.Column("target", sa.Text, nullable=True),
)
sa.Index("audit_log_order", audit_log.c.order_id, audit_log.c.at)
sa.Index("audit_log_username", audit_log.c.username, audit_log.c.id)
