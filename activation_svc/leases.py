"""Who works on which order: a lease in the order's own row, so that a revert never runs beside an apply.

A lease is taken without waiting, ends by itself, and its holder looks whether it is still the same before it records
anything: another worker of the same process may have taken a new one meanwhile.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy as sa

from activation_svc.domain import Activation
from activation_svc.models import PROVISION_STATES, VISIT_STATES, table
from activation_svc.plan import Plan, as_json
from chassis.db import Tx
from chassis.dialect import array

LEASE_S = 30.0
"""Longer than any step that writes to elements (`elements.STEP_TIMEOUT_S`)."""


def _claiming(states: Sequence[str]) -> str:
    """Takes the moment twice, how many, the owner and the end of the lease.

    The states stand in the text, so that PostgreSQL sees that the partial index for them will do. A CTE that locks is
    run once; a subquery could be run again and take more than the limit.
    """
    return (
        "with due as ("
        f" select order_id from activations where state in ({', '.join(map(repr, states))})"
        "  and next_attempt_at <= %s and (lease_until is null or lease_until < %s)"
        "  order by next_attempt_at limit %s for update skip locked"
        ") update activations set lease_owner = %s, lease_until = %s from due"
        " where activations.order_id = due.order_id returning activations.*"
    )


_CLAIM: dict[tuple[str, ...], str] = {
    states: _claiming(states) for states in (PROVISION_STATES, VISIT_STATES)
}
_HOLD = (
    "update activations set lease_until = %s, snapshot = coalesce(taken.snapshot, activations.snapshot)"
    " from unnest(%s::uuid[], %s::timestamptz[], %s::jsonb[]) as taken(order_id, lease_until, snapshot)"
    " where activations.order_id = taken.order_id and activations.lease_until = taken.lease_until"
    " and lease_owner = %s and activations.lease_until > %s"
    " returning activations.order_id, state"
)


@dataclass(frozen=True, slots=True)
class Owner:
    """One process of one instance. `token` tells two lives of the same process id apart."""

    instance: str
    pid: int
    token: str

    def __str__(self) -> str:
        return f"{self.instance}|{self.pid}|{self.token}"


class Lease(Protocol):
    """A row of an activation as its holder has it."""

    @property
    def order_id(self) -> UUID: ...
    @property
    def lease_owner(self) -> str | None: ...
    @property
    def lease_until(self) -> datetime | None: ...


def this_process(instance: str = "") -> Owner:
    """The owner that this process is. `instance` (setting INSTANCE_ID) is `<host>-activation` by default."""
    return Owner(instance or f"{socket.gethostname()}-activation", os.getpid(), uuid.uuid4().hex[:12])


def leased(row: Activation, owner: Owner, now: datetime) -> Activation:
    """The activation under a new lease, or a renewed one; for whoever has its row locked."""
    return replace(row, lease_owner=str(owner), lease_until=now + timedelta(seconds=LEASE_S))


def released(row: Activation) -> Activation:
    """The activation without a lease; for its holder."""
    return replace(row, lease_owner=None, lease_until=None)


def is_held(row: Activation, lease: Lease, now: datetime) -> bool:
    """Whether the row is still under this very lease: it has not ended, and nobody has taken another since."""
    same = (row.lease_owner, row.lease_until) == (lease.lease_owner, lease.lease_until)
    return same and row.lease_until is not None and row.lease_until > now


def claim(conn: sa.Connection, owner: Owner, states: tuple[str, ...], now: datetime, limit: int) -> Sequence[Any]:
    """Take up to `limit` due orders that nobody works on, and return their rows.

    `states`: PROVISION_STATES or VISIT_STATES.
    """
    until = now + timedelta(seconds=LEASE_S)
    return conn.exec_driver_sql(_CLAIM[states], (now, now, limit, str(owner), until)).all()


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


def hold(
    conn: sa.Connection, owner: Owner, works: Sequence[tuple[Lease, Plan | None]], now: datetime
) -> dict[UUID, str]:
    """Renew the leases that are still the same, as `leased` does; return those orders with their present state.

    With them the snapshots are kept, where there are new ones. Call it with the orders locked (`tx.lock`), because it
    writes several rows.
    """
    if not works:
        return {}
    held = [lease for lease, _ in works]
    values = (
        now + timedelta(seconds=LEASE_S), array(lease.order_id for lease in held),
        [lease.lease_until for lease in held], [as_json(snapshot) for _, snapshot in works], str(owner), now,
    )  # fmt: skip
    return dict(conn.exec_driver_sql(_HOLD, values).tuples().all())


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
