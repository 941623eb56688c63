"""Events and pages, and the chassis' tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from chassis.dialect import JSON_OR_NULL as JSON
from chassis.dialect import TIMESTAMP
from chassis.migration import create_chassis_tables, drop_chassis_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_chassis_tables(op)
    op.create_table(
        "events",
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("occurred_at", TIMESTAMP, nullable=False),
        sa.Column("payload", JSON, nullable=False),
    )
    op.create_index("events_by_order", "events", ["order_id"])
    op.create_table(
        "pages",
        sa.Column("order_id", sa.Uuid, primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("customer", JSON),
        sa.Column("address", JSON),
        sa.Column("items", JSON, nullable=False),
        sa.Column("visit", JSON),
        sa.Column("results", JSON),
        sa.Column("rejection", JSON),
        sa.Column("cancel_refused", sa.Boolean, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("placed_at", TIMESTAMP),
        sa.Column("updated_at", TIMESTAMP, nullable=False),
        sa.Column("timeline", JSON, nullable=False),
        sa.Column("phone", sa.Text),
    )
    op.create_index("pages_by_status", "pages", ["status", "order_id"])
    op.create_index("pages_by_phone", "pages", ["phone", "order_id"])


def downgrade() -> None:
    op.drop_table("pages")
    op.drop_table("events")
    drop_chassis_tables(op)
