"""The order book, and the chassis' tables."""

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
        "orders",
        sa.Column("order_id", pg.UUID(as_uuid=True), primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("customer", pg.JSONB, nullable=False),
        sa.Column("address", pg.JSONB, nullable=False),
        sa.Column("items", pg.JSONB, nullable=False),
        sa.Column("accepted_at", timestamp, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("cancel_reason", sa.Text, nullable=False),
        sa.Column("cancel_requested_by", sa.Text, nullable=False),
        sa.Column("cancel_refused", sa.Boolean, nullable=False),
        sa.Column("rejection_reason", sa.Text, nullable=False),
        sa.Column("created_at", timestamp, nullable=False),
        sa.Column("updated_at", timestamp, nullable=False),
    )
    op.create_index(
        "orders_idempotency_key",
        "orders",
        ["idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key is not null"),
    )


def downgrade() -> None:
    op.drop_table("orders")
    drop_chassis_tables(op)
