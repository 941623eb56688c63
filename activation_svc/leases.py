"""Who works on which order: a lease in the order's own row, so that a revert never runs beside an apply.

A lease is taken without waiting, ends by itself, and its holder looks whether it is still the same before it records
anything: another worker of the same process may have taken a new one meanwhile.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy as sa

from activation_svc.domain import Activation
from activation_svc.models import PROVISION_STATES, VISIT_STATES, table
from activation_svc.plan import Plan, as_json
from chassis.connection import prepared
from chassis.db import StoreSession, Tx
from chassis.dialect import array

LEASE_S = 30.0
"""Longer than any step that writes to elements (`elements.STEP_TIMEOUT_S`)."""
SURE_S = 5.0
"""A lease that is dated so recently surely outlasts a step that begins now."""

_FIELDS = tuple(each.name for each in fields(Activation))


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
_HOLD = prepared(
    "update activations set lease_until = %s::timestamptz, snapshot = coalesce(taken.snapshot, activations.snapshot)"
    " from unnest(%s::uuid[], %s::timestamptz[], cast(%s::text[] as jsonb[])) as taken(order_id, lease_until, snapshot)"
    # Said twice, so that the rows are looked up whatever the size of the table when this was planned.
    " where activations.order_id = any(%s::uuid[]) and activations.order_id = taken.order_id"
    " and activations.lease_until = taken.lease_until and lease_owner = %s::text"
    " and activations.lease_until > %s::timestamptz"
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


def activation_of(row: Any) -> Activation:
    """The activation in a row that was claimed, which holds more than it."""
    return Activation(**{name: getattr(row, name) for name in _FIELDS})


def claim(conn: sa.Connection, owner: Owner, states: tuple[str, ...], now: datetime, limit: int) -> Sequence[Any]:
    """Take up to `limit` due orders that nobody works on, and return their rows.

    `states`: PROVISION_STATES or VISIT_STATES.
    """
    until = now + timedelta(seconds=LEASE_S)
    return conn.exec_driver_sql(_CLAIM[states], (now, now, limit, str(owner), until)).all()


def take(
    conn: sa.Connection, owner: Owner, order_ids: Iterable[UUID], states: Iterable[str], now: datetime
) -> Sequence[Lease]:
    """Take those of these orders that are in one of `states` and that nobody works on; call it with them locked."""
    taken = (
        sa.update(table)
        .where(
            table.c.order_id.in_(tuple(order_ids)),
            table.c.state.in_(tuple(states)),
            sa.or_(table.c.lease_until.is_(None), table.c.lease_until < now),
        )
        .values(lease_owner=str(owner), lease_until=now + timedelta(seconds=LEASE_S))
        .returning(table.c.order_id, table.c.lease_owner, table.c.lease_until)
    )
    rows: Sequence[Any] = conn.execute(taken).all()
    return rows


def hold(
    store: StoreSession, owner: Owner, works: Sequence[tuple[Lease, Plan | None]]
) -> tuple[dict[UUID, str], Tx]:
    """Renew these leases (one at least) that are still the same, as `leased` does, in a transaction of its own.

    With them the snapshots are kept, where there are new ones. Returns those orders with their present state, and the
    transaction (which has committed): the leases are dated by its `now`.
    """
    with store.single() as tx:
        order_ids = [lease.order_id for lease, _ in works]
        # The statement locks the rows of several orders, in no order of ours.
        tx.lock(order_ids)
        values = (
            tx.now + timedelta(seconds=LEASE_S), array(order_ids), [lease.lease_until for lease, _ in works],
            [as_json(snapshot) for _, snapshot in works], array(order_ids), str(owner), tx.now,
        )  # fmt: skip
        return {row.order_id: row.state for row in tx.conn.exec_driver_sql(_HOLD, values)}, tx


def release(conn: sa.Connection, held: Iterable[Lease]) -> None:
    """Give back these very leases, and none that was taken since; call it with the orders locked."""
    known = [(lease.order_id, lease.lease_owner, lease.lease_until) for lease in held]
    conn.execute(
        sa.update(table)
        .where(sa.tuple_(table.c.order_id, table.c.lease_owner, table.c.lease_until).in_(known))
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
