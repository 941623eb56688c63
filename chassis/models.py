"""The tables every service has beside its own: outbox, inbox, parked messages, and what was pruned from tables."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from chassis.dialect import JSON, SERIAL
from chassis.dialect import TIMESTAMP as TIMESTAMP


@dataclass(frozen=True)
class ChassisTables:
    """Handles to the chassis' tables in one service's metadata."""

    outbox: sa.Table
    inbox: sa.Table
    parked: sa.Table
    pruned: sa.Table


def chassis_tables(metadata: sa.MetaData) -> ChassisTables:
    """Add the chassis' tables to `metadata` (once) and return them."""
    if "outbox" in metadata.tables:
        return ChassisTables(*(metadata.tables[name] for name in ("outbox", "inbox", "parked_messages", "pruned")))
    return ChassisTables(_outbox(metadata), _inbox(metadata), _parked(metadata), _pruned(metadata))


def _outbox(metadata: sa.MetaData) -> sa.Table:
    table = sa.Table(
        "outbox",
        metadata,
        sa.Column("id", SERIAL, sa.Identity(), primary_key=True),
        sa.Column("message_id", sa.Uuid, nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=True),
        sa.Column("exchange", sa.Text, nullable=False),
        sa.Column("routing_key", sa.Text, nullable=False),
        sa.Column("headers", JSON, nullable=False, server_default="{}"),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("sent_at", TIMESTAMP, nullable=True),
    )
    unsent = table.c.sent_at.is_(None)
    sa.Index("outbox_unsent", table.c.id, postgresql_where=unsent, sqlite_where=unsent)
    sa.Index("outbox_order", table.c.order_id)
    return table


def _inbox(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "inbox",
        metadata,
        sa.Column("message_id", sa.Uuid, primary_key=True),
        sa.Column("received_at", TIMESTAMP, nullable=False),
    )


def _parked(metadata: sa.MetaData) -> sa.Table:
    table = sa.Table(
        "parked_messages",
        metadata,
        # Our own key: what is parked may carry no id of its own, or one that is parked already.
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("message_id", sa.Text, nullable=True),
        sa.Column("order_id", sa.Text, nullable=True),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("headers", JSON, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("parked_at", TIMESTAMP, nullable=False),
    )
    sa.Index("parked_messages_at", table.c.parked_at, table.c.id)
    return table


def _pruned(metadata: sa.MetaData) -> sa.Table:
    """A row for each table that is pruned (chassis.pruning)."""
    return sa.Table(
        "pruned",
        metadata,
        sa.Column("name", sa.Text, primary_key=True),
        # What was last touched before this moment may be gone. None: nothing has gone yet.
        sa.Column("until", TIMESTAMP, nullable=True),
        # How many rows have gone so far, and when somebody looked last.
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("looked_at", TIMESTAMP, nullable=False),
    )
