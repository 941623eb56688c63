"""Staff users and the audit log in PostgreSQL: the only things the gateway keeps there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa
from eventlet import Timeout
from sqlalchemy.dialects.postgresql import insert

from chassis.db import StoreSession
from chassis.logging import get_logger
from contracts.errors import Unavailable
from gateway_svc.auth import Role
from gateway_svc.models import audit_log, staff_users

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StaffUser:
    """One member of staff. `technician_id` is set for technicians only."""

    username: str
    role: Role
    technician_id: str | None
    password_hash: str


def find(conn: sa.Connection, username: str) -> StaffUser | None:
    """The user of that name, or None."""
    columns = [staff_users.c[name] for name in ("username", "role", "technician_id", "password_hash")]
    row = conn.execute(sa.select(*columns).where(staff_users.c.username == username)).one_or_none()
    return None if row is None else StaffUser(row.username, cast(Role, row.role), row.technician_id, row.password_hash)


def add(conn: sa.Connection, users: list[StaffUser], at: datetime) -> int:
    """Add the users that are not there yet; return how many were added."""
    if not users:
        return 0
    rows = [
        {
            "username": user.username, "role": user.role, "technician_id": user.technician_id,
            "password_hash": user.password_hash, "created_at": at,
        }
        for user in users
    ]
    statement = insert(staff_users).on_conflict_do_nothing().returning(staff_users.c.username)
    return len(conn.execute(statement, rows).all())


def audit(
    conn: sa.Connection, *, key: UUID, at: datetime, username: str, role: str, action: str,
    order_id: UUID | None, status: int, target: str | None = None,
) -> None:
    """Write down who did what to which order, or to which other `target`, and with what answer."""
    conn.execute(audit_log.insert(), {
        "id": key, "at": at, "username": username, "role": role, "action": action,
        "order_id": order_id, "target": target, "status": status,
    })


def audited(
    conn: sa.Connection, limit: int, *, order_id: UUID | None = None, username: str | None = None,
    before: UUID | None = None,
) -> list[dict[str, Any]]:
    """Audit records, newest first; of one order, of one user, older than the record `before`.

    Each as `{"id", "at", "username", "role", "action", "order_id", "target", "status"}`.
    """
    query = sa.select(audit_log).order_by(audit_log.c.id.desc()).limit(limit)
    if order_id is not None:
        query = query.where(audit_log.c.order_id == order_id)
    if username is not None:
        query = query.where(audit_log.c.username == username)
    if before is not None:
        query = query.where(audit_log.c.id < before)
    return [
        dict(row) | {"id": str(row["id"]), "order_id": row["order_id"] and str(row["order_id"])}
        for row in conn.execute(query).mappings()
    ]


def read_audit(database: StoreSession, timeout_s: float, limit: int, **wanted: Any) -> list[dict[str, Any]]:
    """Audit records (see `audited`). Raises Unavailable where the database does not answer within `timeout_s`."""
    with answering(timeout_s, "the audit log"), database.read() as conn:
        return audited(conn, limit, **wanted)


@contextmanager
def answering(timeout_s: float, what: str) -> Iterator[None]:
    """Raise Unavailable where the database fails in this block, or does not answer within `timeout_s`."""
    deadline = Timeout(timeout_s)
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        _log.warning("gateway_database_unreachable", what=what, error=str(error))
        raise Unavailable(f"{what} cannot be reached", retry_after_s=5.0) from error
    except Timeout as raised:
        if raised is not deadline:
            raise
        raise Unavailable(f"{what} did not answer within {timeout_s:g} s", retry_after_s=5.0) from raised
    finally:
        deadline.cancel()
