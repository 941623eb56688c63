"""Events and pages, and the chassis' tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

from chassis.migration import create_chassis_tables, drop_chassis_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_chassis_tables(op)
    timestamp = sa.DateTime(timezone=True)
    op.create_table(
        "events",
        sa.Column("event_id", pg.UUID(as_uuid=True), primary_key=True),
        sa.Column("order_id", pg.UUID(as_uuid=True), nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("occurred_at", timestamp, nullable=False),
        sa.Column("payload", pg.JSONB, nullable=False),
    )
    op.create_index("events_by_order", "events", ["order_id"])
    op.create_table(
        "pages",
        sa.Column("order_id", pg.UUID(as_uuid=True), primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("customer", pg.JSONB),
        sa.Column("address", pg.JSONB),
        sa.Column("items", pg.JSONB, nullable=False),
        sa.Column("visit", pg.JSONB),
        sa.Column("results", pg.JSONB),
        sa.Column("rejection", pg.JSONB),
        sa.Column("cancel_refused", sa.Boolean, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("placed_at", timestamp),
        sa.Column("updated_at", timestamp, nullable=False),
        sa.Column("timeline", pg.JSONB, nullable=False),
        sa.Column("phone", sa.Text),
    )
    op.create_index("pages_by_status", "pages", ["status", "order_id"])
    op.create_index("pages_by_phone", "pages", ["phone", "order_id"])


def downgrade() -> None:
    op.drop_table("pages")
    op.drop_table("events")
    drop_chassis_tables(op)
