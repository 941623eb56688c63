"""Scheduling's tables."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase

from chassis.models import TIMESTAMP, chassis_tables
from scheduling_svc.domain import IN_QUEUE

LIVE_SLOT = "bookings_live_slot"
"""The unique index that keeps a technician's window from being booked twice."""


class Base(DeclarativeBase):
    """Scheduling's metadata."""


chassis_tables(Base.metadata)

_UUID = pg.UUID(as_uuid=True)
_JSON = pg.JSONB(none_as_null=True)

visits = sa.Table(
    "visits",
    Base.metadata,
    sa.Column("order_id", _UUID, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("customer", _JSON),
    sa.Column("address", _JSON),
    sa.Column("items", _JSON),
    sa.Column("requested_at", TIMESTAMP),
    sa.Column("calls", sa.Integer, nullable=False),
    sa.Column("missed_calls", sa.Integer, nullable=False),
    sa.Column("last_outcome", sa.Text),
    sa.Column("next_call_at", TIMESTAMP),
    sa.Column("flag_reason", sa.Text),
    sa.Column("window_start", TIMESTAMP),
    sa.Column("window_end", TIMESTAMP),
    sa.Column("technician_id", sa.Text),
    sa.Column("technician_name", sa.Text),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("cancel_reason", sa.Text, nullable=False),
    sa.Column("created_at", TIMESTAMP, nullable=False),
    sa.Column("updated_at", TIMESTAMP, nullable=False),
)
sa.Index("visits_queue", visits.c.requested_at, postgresql_where=visits.c.state.in_(IN_QUEUE))
sa.Index("visits_by_state", visits.c.state, visits.c.order_id)

technicians = sa.Table(
    "technicians",
    Base.metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("skills", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("areas", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("shifts", pg.JSONB, nullable=False),
)

bookings = sa.Table(
    "bookings",
    Base.metadata,
    sa.Column("id", _UUID, primary_key=True),
    sa.Column("order_id", _UUID, sa.ForeignKey("visits.order_id"), nullable=False),
    sa.Column("technician_id", sa.Text, sa.ForeignKey("technicians.id"), nullable=False),
    sa.Column("window_start", TIMESTAMP, nullable=False),
    sa.Column("window_end", TIMESTAMP, nullable=False),
    sa.Column("booked_by", sa.Text, nullable=False),
    sa.Column("booked_at", TIMESTAMP, nullable=False),
    sa.Column("released_at", TIMESTAMP),
    sa.CheckConstraint("window_start < window_end", name="bookings_window"),
    # One live booking an order. Deferred, because a reschedule books the new window before it frees the old.
    pg.ExcludeConstraint(
        ("order_id", "="), where=sa.text("released_at is null"), using="btree", name="bookings_live_order",
        deferrable=True, initially="DEFERRED",
    ),
)
sa.Index(
    LIVE_SLOT, bookings.c.technician_id, bookings.c.window_start, unique=True,
    postgresql_where=bookings.c.released_at.is_(None),
)
sa.Index("bookings_live_window", bookings.c.window_start, postgresql_where=bookings.c.released_at.is_(None))

call_claims = sa.Table(
    "call_claims",
    Base.metadata,
    sa.Column("order_id", _UUID, sa.ForeignKey("visits.order_id"), primary_key=True),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("until", TIMESTAMP, nullable=False),
)

call_attempts = sa.Table(
    "call_attempts",
    Base.metadata,
    sa.Column("id", _UUID, primary_key=True),
    sa.Column("order_id", _UUID, sa.ForeignKey("visits.order_id"), nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("call_back_at", TIMESTAMP),
    sa.Column("at", TIMESTAMP, nullable=False),
)
sa.Index("call_attempts_order", call_attempts.c.order_id, call_attempts.c.id)
