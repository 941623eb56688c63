"""The activations, the inventory of what elements give out, and the chassis' tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

from chassis.migration import create_chassis_tables, drop_chassis_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIMESTAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_chassis_tables(op)
    _activations()
    _resources()


def _activations() -> None:
    op.create_table(
        "activations",
        sa.Column("order_id", pg.UUID(as_uuid=True), primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("customer", pg.JSONB),
        sa.Column("address", pg.JSONB),
        sa.Column("items", pg.JSONB, nullable=False),
        sa.Column("lines", pg.JSONB, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("visit_attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", TIMESTAMP),
        sa.Column("gives_up", sa.Boolean, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("failed_element", sa.Text),
        sa.Column("stuck_since", TIMESTAMP),
        sa.Column("tried", pg.JSONB, nullable=False),
        sa.Column("traceparent", sa.Text),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("updated_at", TIMESTAMP, nullable=False),
        sa.Column("snapshot", pg.JSONB),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until", TIMESTAMP),
    )
    due = "next_attempt_at is not null and state"
    working = f"{due} in ('provisioning', 'reverting_cancelled', 'reverting_rejected')"
    _partial("activations_to_provision", "activations", "next_attempt_at", where=working)
    _partial("activations_to_visit", "activations", "next_attempt_at", where=f"{due} = 'provisioned'")
    _partial("activations_stuck", "activations", "order_id", where="stuck_since is not null")
    _partial("activations_leased", "activations", "lease_owner", where="lease_owner is not null")


def _resources() -> None:
    op.create_table(
        "resources",
        sa.Column("pool", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("element", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("order_id", pg.UUID(as_uuid=True)),
        sa.Column("line", sa.Integer),
        sa.Column("blocked", sa.Text),
    )
    _partial("resources_free", "resources", "pool", "position", where="order_id is null and blocked is null")
    _partial("resources_held", "resources", "order_id", where="order_id is not null")
    _partial("resources_load", "resources", "pool", where="order_id is not null")
    _partial("resources_blocked", "resources", "pool", where="blocked is not null")


def _partial(name: str, table: str, *columns: str, where: str) -> None:
    op.create_index(name, table, list(columns), postgresql_where=sa.text(where))


def downgrade() -> None:
    op.drop_table("resources")
    op.drop_table("activations")
    drop_chassis_tables(op)
