"""Reads: one activation, and the orders that need a person."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from activation_svc.models import table
from contracts.errors import Invalid
from contracts.rpc import Fallout, FalloutAction, Page

MAX_PAGE = 200
ANSWERED = (
    "order_id", "state", "items", "lines", "reason", "attempts", "visit_attempts", "next_attempt_at", "last_error",
    "failed_element", "stuck_since", "tried", "created_at", "updated_at",
)


def get_activation(conn: sa.Connection, order_id: UUID) -> dict[str, Any] | None:
    """The activation as RPC answers it, None where there is none. It holds no personal data.

    `fallout` is its case (`contracts.rpc.Fallout`) where it needs a person.
    """
    row = conn.execute(sa.select(table).where(table.c.order_id == order_id)).first()
    if row is None:
        return None
    answer = {name: _as_json(row._mapping[name]) for name in ANSWERED}
    return answer | {"fallout": None if row.stuck_since is None else _fallout(row).model_dump(mode="json")}


def list_fallouts(conn: sa.Connection, limit: int, cursor: str | None) -> dict[str, Any]:
    """One page of orders whose provisioning or revert needs a person, oldest order first.

    Raises Invalid for a limit outside 1..200 or a cursor that is not ours.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_PAGE:
        raise _invalid("limit", f"must be a whole number from 1 to {MAX_PAGE}")
    query = sa.select(table).where(table.c.stuck_since.is_not(None)).order_by(table.c.order_id).limit(limit + 1)
    if cursor is not None:
        query = query.where(table.c.order_id > _read_cursor(cursor))
    rows = conn.execute(query).all()
    page, more = rows[:limit], len(rows) > limit
    items = [_fallout(row).model_dump(mode="json") for row in page]
    return Page(items=items, next_cursor=page[-1].order_id.hex if more else None).model_dump(mode="json")


def _fallout(row: Any) -> Fallout:
    return Fallout(
        order_id=row.order_id,
        state=row.state,
        since=row.stuck_since,
        reason=row.last_error or "unknown",
        element=row.failed_element,
        attempts=row.attempts,
        what_was_tried=row.tried,
        standing=[{"element": entry["element"], "key": entry["key"]} for entry in row.snapshot or ()],
        actions=_actions(row),
    )


def _actions(row: Any) -> tuple[FalloutAction, ...]:
    if row.state != "fallout":
        return ()
    had_a_port = any(tried.get("ports") for tried in row.tried)
    return ("retry", "retry_on_another_port", "abandon") if had_a_port else ("retry", "abandon")


def _read_cursor(cursor: str) -> UUID:
    try:
        return UUID(hex=cursor)
    except (ValueError, TypeError, AttributeError):
        raise _invalid("cursor", "must be the next_cursor of an earlier page") from None


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", [{"field": field, "message": message}])


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
