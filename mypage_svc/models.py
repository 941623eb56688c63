"""MyPage's tables: the events it has seen, and the pages folded from them, beside the chassis' own."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase

from chassis.dialect import JSON_OR_NULL as JSON
from chassis.dialect import TIMESTAMP
from chassis.models import chassis_tables


class Base(DeclarativeBase):
    """MyPage's metadata."""


chassis_tables(Base.metadata)

events = sa.Table(
    "events",
    Base.metadata,
    sa.Column("event_id", sa.Uuid, primary_key=True),
    sa.Column("order_id", sa.Uuid, nullable=False),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("occurred_at", TIMESTAMP, nullable=False),
    sa.Column("payload", JSON, nullable=False),
    # When it was stored here. Not known of events from before this column.
    sa.Column("received_at", TIMESTAMP, server_default=sa.func.now()),
    # The version of the payload (contracts.versions). Not known of events from before this column: those are of 1.
    sa.Column("schema_version", sa.Integer),
    sa.Index("events_by_order", "order_id"),
)

pages = sa.Table(
    "pages",
    Base.metadata,
    # Made at the gateway as UUIDv7, so "newest first" is the primary key backwards.
    sa.Column("order_id", sa.Uuid, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("customer", JSON),
    sa.Column("address", JSON),
    sa.Column("items", JSON, nullable=False),
    sa.Column("visit", JSON),
    sa.Column("results", JSON),
    sa.Column("rejection", JSON),
    sa.Column("cancel_refused", sa.Boolean, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("placed_at", TIMESTAMP),
    sa.Column("updated_at", TIMESTAMP, nullable=False),
    sa.Column("timeline", JSON, nullable=False),
    sa.Column("phone", sa.Text),
    sa.Column("ont_serial", sa.Text),
    sa.Column("waiting_since", TIMESTAMP),
    # When its events went (`pruning.py`): from then on the page stays as it is.
    sa.Column("settled_at", TIMESTAMP),
    sa.Index("pages_by_status", "status", "order_id"),
    sa.Index("pages_by_phone", "phone", "order_id"),
)
REVERSED_ID = sa.func.reverse(sa.func.replace(sa.cast(pages.c.order_id, sa.Text), "-", ""))

_HAS_SERIAL = pages.c.ont_serial.is_not(None)
sa.Index(
    "pages_by_ont_serial", pages.c.ont_serial, pages.c.order_id,
    postgresql_where=_HAS_SERIAL, sqlite_where=_HAS_SERIAL,
)
# An order number is read out by its end. On PostgreSQL only: SQLite looks at every page, of which it has few.
sa.Index(
    "pages_by_end", REVERSED_ID.label("reversed_id"), postgresql_ops={"reversed_id": "text_pattern_ops"}
).ddl_if(dialect="postgresql")
_OPEN = pages.c.waiting_since.is_not(None)
# Counts and lateness of the orders under way, without reading their pages.
sa.Index(
    "pages_open", pages.c.status, pages.c.waiting_since, pages.c.order_id,
    postgresql_include=["placed_at"], postgresql_where=_OPEN, sqlite_where=_OPEN,
)
