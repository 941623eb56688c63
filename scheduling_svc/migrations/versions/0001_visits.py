"""Visits, technicians, bookings and call attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

from chassis.migration import create_chassis_tables, drop_chassis_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UUID = pg.UUID(as_uuid=True)
_TIME = sa.DateTime(timezone=True)
_LIVE = sa.text("released_at is null")


def upgrade() -> None:
    create_chassis_tables(op)
    _create_visits()
    op.create_table(
        "technicians",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("skills", pg.ARRAY(sa.Text), nullable=False),
        sa.Column("areas", pg.ARRAY(sa.Text), nullable=False),
        sa.Column("shifts", pg.JSONB, nullable=False),
    )
    _create_bookings()
    op.create_table(
        "call_attempts",
        sa.Column("id", _UUID, primary_key=True),
        sa.Column("order_id", _UUID, sa.ForeignKey("visits.order_id"), nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("call_back_at", _TIME),
        sa.Column("at", _TIME, nullable=False),
    )
    op.create_index("call_attempts_order", "call_attempts", ["order_id", "id"])


def _create_visits() -> None:
    op.create_table(
        "visits",
        sa.Column("order_id", _UUID, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("customer", pg.JSONB),
        sa.Column("address", pg.JSONB),
        sa.Column("items", pg.JSONB),
        sa.Column("requested_at", _TIME),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("missed_calls", sa.Integer, nullable=False),
        sa.Column("last_outcome", sa.Text),
        sa.Column("next_call_at", _TIME),
        sa.Column("flag_reason", sa.Text),
        sa.Column("window_start", _TIME),
        sa.Column("window_end", _TIME),
        sa.Column("technician_id", sa.Text),
        sa.Column("technician_name", sa.Text),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("cancel_reason", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
    )
    in_queue = sa.text("state in ('requested', 'flagged')")
    op.create_index("visits_queue", "visits", ["requested_at"], postgresql_where=in_queue)
    op.create_index("visits_state", "visits", ["state"])


def _create_bookings() -> None:
    op.create_table(
        "bookings",
        sa.Column("id", _UUID, primary_key=True),
        sa.Column("order_id", _UUID, sa.ForeignKey("visits.order_id"), nullable=False),
        sa.Column("technician_id", sa.Text, sa.ForeignKey("technicians.id"), nullable=False),
        sa.Column("window_start", _TIME, nullable=False),
        sa.Column("window_end", _TIME, nullable=False),
        sa.Column("booked_by", sa.Text, nullable=False),
        sa.Column("booked_at", _TIME, nullable=False),
        sa.Column("released_at", _TIME),
        sa.CheckConstraint("window_start < window_end", name="bookings_window"),
        pg.ExcludeConstraint(
            ("order_id", "="), where=_LIVE, using="btree", name="bookings_live_order",
            deferrable=True, initially="DEFERRED",
        ),
    )
    op.create_index(
        "bookings_live_slot", "bookings", ["technician_id", "window_start"], unique=True, postgresql_where=_LIVE
    )
    op.create_index("bookings_live_window", "bookings", ["window_start"], postgresql_where=_LIVE)


def downgrade() -> None:
    for table in ("call_attempts", "bookings", "technicians", "visits"):
        op.drop_table(table)
    drop_chassis_tables(op)
