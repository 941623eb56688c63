"""In which version an event's payload was stored, so that later releases know how to read it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("schema_version", sa.Integer))


def downgrade() -> None:
    op.drop_column("events", "schema_version")
