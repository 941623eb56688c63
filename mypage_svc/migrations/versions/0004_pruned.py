"""What was pruned because of its age; and which pages are settled, because their events have gone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from chassis.dialect import TIMESTAMP
from chassis.migration import create_pruned_table, drop_pruned_table

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_pruned_table(op)
    op.add_column("pages", sa.Column("settled_at", TIMESTAMP))


def downgrade() -> None:
    op.drop_column("pages", "settled_at")
    drop_pruned_table(op)
