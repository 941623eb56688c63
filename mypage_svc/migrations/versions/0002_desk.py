"""What the operations desk asks for: orders by ONT serial, by the end of their number, by how long they have waited."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from chassis.dialect import TIMESTAMP, is_sqlite

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    on_sqlite = is_sqlite(op.get_bind())
    op.add_column("events", sa.Column("received_at", TIMESTAMP))
    # Set apart from the column, so that old events do not pretend to have come at the time of this migration.
    with op.batch_alter_table("events") as events:
        events.alter_column("received_at", server_default=sa.func.now())
    op.add_column("pages", sa.Column("ont_serial", sa.Text))
    op.add_column("pages", sa.Column("waiting_since", TIMESTAMP))
    op.execute("update pages set ont_serial = results->>'ont_serial' where results is not null")
    moment = "strftime('%Y-%m-%d %H:%M:%f000', {})" if on_sqlite else "({})::timestamptz"
    window_end = moment.format("visit->>'window_end'")
    op.execute(
        "update pages set waiting_since = case when status = 'scheduled'"
        f" then coalesce({window_end}, updated_at) else updated_at end"
        " where status in ('placed', 'fallout', 'activated', 'scheduled', 'cancelling', 'rejecting')"
    )
    has_serial, is_open = sa.text("ont_serial is not null"), sa.text("waiting_since is not null")
    op.create_index(
        "pages_by_ont_serial", "pages", ["ont_serial", "order_id"],
        postgresql_where=has_serial, sqlite_where=has_serial,
    )
    if not on_sqlite:
        op.execute("create index pages_by_end on pages (reverse(replace(order_id::text, '-', '')) text_pattern_ops)")
    op.create_index(
        "pages_open", "pages", ["status", "waiting_since", "order_id"],
        postgresql_include=["placed_at"], postgresql_where=is_open, sqlite_where=is_open,
    )


def downgrade() -> None:
    for index in ("pages_open", "pages_by_end", "pages_by_ont_serial"):
        op.drop_index(index, "pages", if_exists=True)
    op.drop_column("pages", "waiting_since")
    op.drop_column("pages", "ont_serial")
    op.drop_column("events", "received_at")
