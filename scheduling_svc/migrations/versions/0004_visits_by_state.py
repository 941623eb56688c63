"""Visits of a state page by page: the index that finds them also has them in order."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# What goes is an index of 0001. Its successor begins with the same column, so it serves the release before as well.
CONTRACTS = "0001"


def upgrade() -> None:
    op.create_index("visits_by_state", "visits", ["state", "order_id"])
    op.drop_index("visits_state", "visits")


def downgrade() -> None:
    op.create_index("visits_state", "visits", ["state"])
    op.drop_index("visits_by_state", "visits")
