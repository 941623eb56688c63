"""What the operations desk asks: how many orders stand where, and which have waited too long."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chassis.dialect import TIMESTAMP
from contracts.cursor import bad_cursor, decode_cursor, encode_cursor
from mypage_svc.domain import OPEN, late_since, rfc3339, risk
from mypage_svc.models import pages
from mypage_svc.queries import LISTED, as_answer

# The index `pages_open` answers the counts alone; ids are made in order of time, so the oldest order has the least.
_AGES = {"hour_ago": timedelta(hours=1), "day_ago": timedelta(days=1), "three_days_ago": timedelta(days=3)}
_COUNT = sa.text("""
    with counted as (
        select status, count(*) as count,
            count(*) filter (where placed_at <= :hour_ago) as over_1h,
            count(*) filter (where placed_at <= :day_ago) as over_1d,
            count(*) filter (where placed_at <= :three_days_ago) as over_3d,
            min(placed_at) as oldest_at
        from pages where waiting_since is not null group by status
    )
    select counted.*, (
        select order_id from pages where pages.status = counted.status order by order_id limit 1
    ) as oldest_order_id
    from counted
""").bindparams(*(sa.bindparam(name, type_=TIMESTAMP) for name in _AGES)).columns(
    sa.column("status", sa.Text), *(sa.column(name, sa.Integer) for name in ("count", "over_1h", "over_1d", "over_3d")),
    sa.column("oldest_at", TIMESTAMP), sa.column("oldest_order_id", sa.Uuid),
)

# Of each status the first ones in the order of the same index, however many are late; then the first of these.
_FIRST_LATE = " union all ".join(f"""
    select * from (
        select waiting_since, order_id from pages
        where status = '{status}' and waiting_since is not null and waiting_since <= :{status}
            and (waiting_since, order_id) > (:since, :order_id)
        order by waiting_since, order_id limit :most
    ) as {status}
""" for status in OPEN)
_LATE = sa.text(f"""
    select {", ".join(column.name for column in LISTED)}, waiting_since from pages where order_id in (
        select order_id from ({_FIRST_LATE}) as late order by waiting_since, order_id limit :most
    ) order by waiting_since, order_id
""").bindparams(
    *(sa.bindparam(name, type_=TIMESTAMP) for name in (*OPEN, "since")), sa.bindparam("order_id", type_=sa.Uuid)
).columns(*LISTED, pages.c.waiting_since)
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC), UUID(int=0)


def count_orders(conn: sa.Connection, now: datetime) -> list[dict[str, Any]]:
    """Of each status of orders under way: how many, how many of them were placed how long ago, and the oldest."""
    found = conn.execute(_COUNT, {name: now - age for name, age in _AGES.items()}).mappings()
    counted = {row["status"]: dict(row) for row in found}
    none = {"count": 0, "over_1h": 0, "over_1d": 0, "over_3d": 0, "oldest_at": None, "oldest_order_id": None}
    return [_count(counted.get(status, none | {"status": status})) for status in OPEN]


def _count(row: dict[str, Any]) -> dict[str, Any]:
    at, oldest = row["oldest_at"], row["oldest_order_id"]
    return row | {"oldest_at": at and rfc3339(at), "oldest_order_id": oldest and str(oldest)}


def list_at_risk(
    conn: sa.Connection, now: datetime, patience: Mapping[str, timedelta], limit: int, cursor: str | None
) -> dict[str, Any]:
    """Return a page of the orders at risk (`domain.risk`), who has waited longest first, with `risk` and `since`.

    Raises Invalid where `cursor` is not one of ours.
    """
    since, order_id = _BEFORE_ALL if cursor is None else _key(cursor)
    moments = {status: late_since(status, now, patience) for status in OPEN}
    after = {"since": since, "order_id": order_id, "most": limit + 1}
    found = conn.execute(_LATE, moments | after).mappings().all()
    items = [_at_risk(dict(row), now, patience) for row in found[:limit]]
    more = len(found) > limit
    return {"items": items, "next_cursor": encode_cursor(items[-1]["since"], items[-1]["order_id"]) if more else None}


def _at_risk(row: dict[str, Any], now: datetime, patience: Mapping[str, timedelta]) -> dict[str, Any]:
    since = row.pop("waiting_since")
    return as_answer(row) | {"since": rfc3339(since), "risk": risk(row["status"], since, now, patience)}


def _key(cursor: str) -> tuple[datetime, UUID]:
    since, order_id = decode_cursor(cursor, 2)
    try:
        return datetime.fromisoformat(since).astimezone(UTC), UUID(order_id)
    except (ValueError, OverflowError):
        raise bad_cursor() from None
