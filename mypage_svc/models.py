"""MyPage's tables: the events it has seen, and the pages folded from them, beside the chassis' own."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase

from chassis.models import chassis_tables

TIMESTAMP = sa.DateTime(timezone=True)
JSON = pg.JSONB(none_as_null=True)


class Base(DeclarativeBase):
    """MyPage's metadata."""


chassis_tables(Base.metadata)

events = sa.Table(
    "events",
    Base.metadata,
    sa.Column("event_id", pg.UUID(as_uuid=True), primary_key=True),
    sa.Column("order_id", pg.UUID(as_uuid=True), nullable=False),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("occurred_at", TIMESTAMP, nullable=False),
    sa.Column("payload", JSON, nullable=False),
    # When it was stored here. Not known of events from before this column.
    sa.Column("received_at", TIMESTAMP, server_default=sa.func.now()),
    sa.Index("events_by_order", "order_id"),
)

pages = sa.Table(
    "pages",
    Base.metadata,
    # Made at the gateway as UUIDv7, so "newest first" is the primary key backwards.
    sa.Column("order_id", pg.UUID(as_uuid=True), primary_key=True),
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
    sa.Index("pages_by_status", "status", "order_id"),
    sa.Index("pages_by_phone", "phone", "order_id"),
)
REVERSED_ID = sa.func.reverse(sa.func.replace(sa.cast(pages.c.order_id, sa.Text), "-", ""))

sa.Index(
    "pages_by_ont_serial", pages.c.ont_serial, pages.c.order_id, postgresql_where=pages.c.ont_serial.is_not(None)
)
# An order number is read out by its end.
sa.Index("pages_by_end", REVERSED_ID.label("reversed_id"), postgresql_ops={"reversed_id": "text_pattern_ops"})
# Counts and lateness of the orders under way, without reading their pages.
sa.Index(
    "pages_open", pages.c.status, pages.c.waiting_since, pages.c.order_id,
    postgresql_include=["placed_at"], postgresql_where=pages.c.waiting_since.is_not(None),
)
