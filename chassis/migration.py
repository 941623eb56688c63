"""Alembic, once for all services: the environment and the chassis' own tables.

A service's `migrations/env.py` only says `run_env(metadata, "order")`.
"""

from __future__ import annotations

import os
from typing import Any

import sqlalchemy as sa
from alembic import context

from chassis import dialect
from chassis.models import chassis_tables


def run_env(metadata: sa.MetaData, service: str) -> None:
    """Run the migrations of `service` against the database named by `<SERVICE>_DB_URI`.

    Raises KeyError where the variable is missing: a migration never guesses its database. Two processes that
    migrate at once wait for each other.
    """
    uri = context.config.get_main_option("sqlalchemy.url") or os.environ[f"{service.upper()}_DB_URI"]
    engine = dialect.single_engine(uri)
    with engine.connect() as connection:
        more = dialect.lock_for_migration(connection)
        context.configure(connection=connection, target_metadata=metadata, compare_type=True, **more)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


def create_pruned_table(op: Any) -> None:
    """Create the table that says what was pruned; called by a migration after the first."""
    chassis_tables(sa.MetaData()).pruned.create(op.get_bind())


def drop_pruned_table(op: Any) -> None:
    """Drop what `create_pruned_table` made."""
    chassis_tables(sa.MetaData()).pruned.drop(op.get_bind())


def _tables() -> list[sa.Table]:
    tables = chassis_tables(sa.MetaData())
    return [tables.outbox, tables.inbox, tables.parked]


def create_chassis_tables(op: Any) -> None:
    """Create outbox, inbox and parked messages; `op` is `alembic.op`. Called by each first migration."""
    for table in _tables():
        table.create(op.get_bind())


def drop_chassis_tables(op: Any) -> None:
    """Drop what `create_chassis_tables` made."""
    for table in reversed(_tables()):
        table.drop(op.get_bind())
