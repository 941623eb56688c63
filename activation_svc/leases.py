"""Who works on which order: a lease in the order's own row, so that a revert never runs beside an apply.

A lease is taken without waiting, ends by itself, and its holder asks for it again before it records anything.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from activation_svc.models import table
from chassis.db import Tx

LEASE_S = 30.0
"""Longer than any step that writes to elements (`elements.STEP_TIMEOUT_S`)."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One process of one instance. `token` tells two lives of the same process id apart."""

    instance: str
    pid: int
    token: str

    def __str__(self) -> str:
        return f"{self.instance}|{self.pid}|{self.token}"


def this_process(instance: str = "") -> Owner:
    """The owner that this process is. `instance` (setting INSTANCE_ID) is `<host>-activation` by default."""
    return Owner(instance or f"{socket.gethostname()}-activation", os.getpid(), uuid.uuid4().hex[:12])


def claim(conn: sa.Connection, owner: Owner, states: Iterable[str], now: datetime, limit: int) -> Sequence[Any]:
    """Take up to `limit` due orders in `states` that nobody works on, and return their rows."""
    due = (
        sa.select(table.c.order_id)
        .where(
            table.c.state.in_(tuple(states)),
            table.c.next_attempt_at <= now,
            sa.or_(table.c.lease_until.is_(None), table.c.lease_until < now),
        )
        .order_by(table.c.next_attempt_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        # A CTE that locks is run once; a subquery could be run again and take more than `limit`.
        .cte("due")
    )
    taken = (
        sa.update(table)
        .where(table.c.order_id == due.c.order_id)
        .values(lease_owner=str(owner), lease_until=now + timedelta(seconds=LEASE_S))
        .returning(table)
    )
    return conn.execute(taken).all()


def take(
    conn: sa.Connection, owner: Owner, order_ids: Iterable[UUID], states: Iterable[str], now: datetime
) -> set[UUID]:
    """Take those of these orders that are in one of `states` and that nobody works on; call it with them locked."""
    taken = (
        sa.update(table)
        .where(
            table.c.order_id.in_(tuple(order_ids)),
            table.c.state.in_(tuple(states)),
            sa.or_(table.c.lease_until.is_(None), table.c.lease_until < now),
        )
        .values(lease_owner=str(owner), lease_until=now + timedelta(seconds=LEASE_S))
        .returning(table.c.order_id)
    )
    return set(conn.execute(taken).scalars())


def hold(conn: sa.Connection, owner: Owner, order_ids: Iterable[UUID], now: datetime) -> dict[UUID, str]:
    """Renew the leases that are still ours; return those orders with their present state.

    Call it with the orders locked (`tx.lock`), because it writes several rows.
    """
    renewed = (
        sa.update(table)
        .where(table.c.order_id.in_(tuple(order_ids)), table.c.lease_owner == str(owner), table.c.lease_until > now)
        .values(lease_until=now + timedelta(seconds=LEASE_S))
        .returning(table.c.order_id, table.c.state)
    )
    return dict(conn.execute(renewed).tuples().all())


def release(conn: sa.Connection, owner: Owner, order_ids: Iterable[UUID]) -> None:
    """Give back the leases that are ours; call it with the orders locked."""
    conn.execute(
        sa.update(table)
        .where(table.c.order_id.in_(tuple(order_ids)), table.c.lease_owner == str(owner))
        .values(lease_owner=None, lease_until=None)
    )


def clear_dead(tx: Tx, owner: Owner, is_alive: Callable[[int], bool]) -> int:
    """Free what earlier lives of this instance left behind when they died; return how many orders that were.

    A predecessor that is still running (a hand-over on the same host) keeps its leases.
    """
    of_this_instance = sa.select(table.c.order_id, table.c.lease_owner).where(
        table.c.lease_owner.startswith(f"{owner.instance}|", autoescape=True)
    )
    found = {order_id: text for order_id, text in tx.conn.execute(of_this_instance) if text != str(owner)}
    dead = {text for text in set(found.values()) if _is_dead(text, owner, is_alive)}
    tx.lock(order_id for order_id, text in found.items() if text in dead)
    cleared = sa.update(table).where(table.c.lease_owner.in_(dead)).values(lease_owner=None, lease_until=None)
    return tx.conn.execute(cleared).rowcount if dead else 0


def _is_dead(text: str, owner: Owner, is_alive: Callable[[int], bool]) -> bool:
    pid = int(text.split("|")[1])
    # In a container every life has the same process id, and there we are the one who lives.
    return pid == owner.pid or not is_alive(pid)


def process_is_alive(pid: int) -> bool:
    """Whether a process of that id runs on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
