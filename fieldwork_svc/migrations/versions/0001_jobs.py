"""The jobs, and the chassis' tables."""

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
        "jobs",
        sa.Column("order_id", pg.UUID(as_uuid=True), primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("window_start", timestamp),
        sa.Column("window_end", timestamp),
        sa.Column("technician_id", sa.Text),
        sa.Column("technician_name", sa.Text),
        sa.Column("customer", pg.JSONB),
        sa.Column("address", pg.JSONB),
        sa.Column("items", pg.JSONB),
        sa.Column("started_at", timestamp),
        sa.Column("closed_at", timestamp),
        sa.Column("results", pg.JSONB),
        sa.Column("reason_code", sa.Text),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("created_at", timestamp, nullable=False),
        sa.Column("updated_at", timestamp, nullable=False),
    )
    op.create_index("jobs_by_technician", "jobs", ["technician_id", "window_start", "order_id"])
    op.create_index("jobs_by_window", "jobs", ["window_start", "order_id"])


def downgrade() -> None:
    op.drop_table("jobs")
    drop_chassis_tables(op)
