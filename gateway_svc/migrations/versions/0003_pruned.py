"""What was pruned from tables because of its age, so that whoever reads them can say what may be missing."""

from __future__ import annotations

from alembic import op

from chassis.migration import create_pruned_table, drop_pruned_table

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_pruned_table(op)


def downgrade() -> None:
    drop_pruned_table(op)
