"""Further ids of an order: a request that was repeated at another gateway was given a second one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "order_aliases",
        sa.Column("order_id", pg.UUID(as_uuid=True), primary_key=True),
        sa.Column("stands_as", pg.UUID(as_uuid=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("order_aliases")
