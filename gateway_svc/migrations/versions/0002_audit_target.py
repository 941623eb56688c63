"""What an operator did something to, where it is no order; and one person's records without reading all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_log", sa.Column("target", sa.Text, nullable=True))
    op.create_index("audit_log_username", "audit_log", ["username", "id"])


def downgrade() -> None:
    op.drop_index("audit_log_username", "audit_log")
    op.drop_column("audit_log", "target")
