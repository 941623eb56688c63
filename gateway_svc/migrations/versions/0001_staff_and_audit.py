"""Staff users, the audit log, and the chassis' tables."""

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
        "staff_users",
        sa.Column("username", sa.Text, primary_key=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("technician_id", sa.Text),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("created_at", timestamp, nullable=False),
        sa.CheckConstraint("role in ('dispatcher', 'technician', 'operator')", name="staff_users_role"),
        sa.CheckConstraint("(role = 'technician') = (technician_id is not null)", name="staff_users_technician"),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", pg.UUID(as_uuid=True), primary_key=True),
        sa.Column("at", timestamp, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("order_id", pg.UUID(as_uuid=True)),
        sa.Column("status", sa.Integer, nullable=False),
    )
    op.create_index("audit_log_order", "audit_log", ["order_id", "at"])


def downgrade() -> None:
    op.drop_table("audit_log")
    op.drop_table("staff_users")
    drop_chassis_tables(op)
