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
    sa.Index("pages_by_status", "status", "order_id"),
    sa.Index("pages_by_phone", "phone", "order_id"),
)
