"""Fieldwork's tables: one row a job and one a photo, beside the chassis' own."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase

from chassis.models import chassis_tables

TIMESTAMP = sa.DateTime(timezone=True)
JSON = pg.JSONB(none_as_null=True)


class Base(DeclarativeBase):
    """Fieldwork's metadata."""


chassis_tables(Base.metadata)

table = sa.Table(
    "jobs",
    Base.metadata,
    sa.Column("order_id", pg.UUID(as_uuid=True), primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("window_start", TIMESTAMP),
    sa.Column("window_end", TIMESTAMP),
    sa.Column("technician_id", sa.Text),
    sa.Column("technician_name", sa.Text),
    sa.Column("customer", JSON),
    sa.Column("address", JSON),
    sa.Column("items", JSON),
    sa.Column("started_at", TIMESTAMP),
    sa.Column("closed_at", TIMESTAMP),
    sa.Column("results", JSON),
    sa.Column("reason_code", sa.Text),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("created_at", TIMESTAMP, nullable=False),
    sa.Column("updated_at", TIMESTAMP, nullable=False),
    sa.Index("jobs_by_technician", "technician_id", "window_start", "order_id"),
    sa.Index("jobs_by_window", "window_start", "order_id"),
)

photos = sa.Table(
    "job_photos",
    Base.metadata,
    sa.Column("order_id", pg.UUID(as_uuid=True), primary_key=True),
    sa.Column("photo_id", pg.UUID(as_uuid=True), primary_key=True),
    sa.Column("technician_id", sa.Text, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("bytes", sa.Integer, nullable=False),
    sa.Column("taken_at", TIMESTAMP, nullable=False),
)
"""What technicians photographed. The phone makes `photo_id`, so that sending twice keeps one."""
