"""order_svc's tables: one row an order, and its further ids, beside the chassis' own."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase

from chassis.models import chassis_tables

TIMESTAMP = sa.DateTime(timezone=True)


class Base(DeclarativeBase):
    """order_svc's metadata."""


chassis_tables(Base.metadata)

table = sa.Table(
    "orders",
    Base.metadata,
    sa.Column("order_id", pg.UUID(as_uuid=True), primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("customer", pg.JSONB, nullable=False),
    sa.Column("address", pg.JSONB, nullable=False),
    sa.Column("items", pg.JSONB, nullable=False),
    sa.Column("accepted_at", TIMESTAMP, nullable=False),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("content_hash", sa.Text, nullable=False),
    sa.Column("cancel_reason", sa.Text, nullable=False),
    sa.Column("cancel_requested_by", sa.Text, nullable=False),
    sa.Column("cancel_refused", sa.Boolean, nullable=False),
    sa.Column("rejection_reason", sa.Text, nullable=False),
    sa.Column("created_at", TIMESTAMP, nullable=False),
    sa.Column("updated_at", TIMESTAMP, nullable=False),
    sa.Index(
        "orders_idempotency_key",
        "idempotency_key",
        unique=True,
        postgresql_where=sa.text("idempotency_key is not null"),
    ),
)

# Two gateways that are given the same request, each with a client's one Idempotency-Key, make an id each. The order
# stands under the id that came first; whoever was told the other one finds it here.
aliases = sa.Table(
    "order_aliases",
    Base.metadata,
    sa.Column("order_id", pg.UUID(as_uuid=True), primary_key=True),
    sa.Column("stands_as", pg.UUID(as_uuid=True), nullable=False),
    sa.Column("created_at", TIMESTAMP, nullable=False),
)
