"""MyPage's statements: multi-row writes of events and pages, and the reads behind the screens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic_core import to_json

from chassis import dialect
from chassis.connection import prepared
from chassis.dialect import Rows
from contracts import versions
from contracts.cursor import bad_cursor, decode_cursor, encode_cursor
from mypage_svc.domain import Fact, Filters, Page, rfc3339
from mypage_svc.models import REVERSED_ID, events, pages

_FACT = [field.name for field in fields(Fact)]
_PAGE = [field.name for field in fields(Page)]
_SEARCHED = {"phone", "ont_serial", "waiting_since"}
_ANSWER = [pages.c[name] for name in _PAGE if name not in _SEARCHED]
_EVENT = [*_FACT, "schema_version"]
_STORED = [events.c[name] for name in _EVENT]
_OF_ORDERS = prepared(
    f"select {', '.join(column.name for column in _STORED)} from events"
    " where order_id = any(%s::uuid[]) and event_id <> all(%s::uuid[])"
)
_ONE = prepared(f"select {', '.join(column.name for column in _ANSWER)} from pages where order_id = %s::uuid")
_ADD_LONE = prepared(
    f"with added as (insert into events ({', '.join(_EVENT)})"
    f" select {', '.join(_EVENT)} from jsonb_populate_record(null::events, %s::jsonb)"
    " where %s::uuid[] = ("
    "select coalesce(array_agg(event_id order by event_id), '{}') from events where order_id = %s::uuid)"
    " on conflict (event_id) do nothing returning event_id),"
    f" saved as (insert into pages ({', '.join(_PAGE)})"
    f" select {', '.join(_PAGE)} from jsonb_populate_record(null::pages, %s::jsonb)"
    " where exists (select from added) on conflict (order_id) do update"
    f" set {', '.join(f'{name} = excluded.{name}' for name in _PAGE if name != 'order_id')}"
    " where pages.settled_at is null) select exists (select from added)"
)
LISTED = [column for column in _ANSWER if column.name != "timeline"]


def _plain(value: Any) -> str:
    return rfc3339(value) if isinstance(value, datetime) else str(value)


_EVENTS = Rows(events, _EVENT, key="event_id", replace=False, plain=_plain)
_PAGES = Rows(pages, _PAGE, key="order_id", replace=True, plain=_plain, unless="settled_at")


def add_events(conn: sa.Connection, facts: Iterable[Fact]) -> None:
    """Store events in one statement; those known already stay as they are.

    In the version that is sent, so that a replica of the release before can fold them as well.
    """
    _EVENTS.write(conn, _as_sent(facts))


def add_lone(conn: sa.Connection, known: Iterable[Fact], fact: Fact, page: Page) -> bool:
    """Store an event and its order's page, where exactly the events `known` are stored of this order; else nothing.

    Returns whether that was so; an event that is stored already is not. For a transaction of one question
    (`StoreSession.single`, PostgreSQL) that holds the order: else an event might come in between. A settled page stays,
    as in `save_pages`.
    """
    ids = dialect.array(sorted({other.event_id for other in known}))
    [event], [row] = _as_sent([fact]), _rows(_PAGE, [page])
    values = (_as_json(event), ids, fact.order_id, _as_json(row))
    return bool(conn.exec_driver_sql(_ADD_LONE, values).scalar_one())


def facts_of(
    conn: sa.Connection, order_ids: Collection[UUID], but: Collection[UUID] = ()
) -> dict[UUID, list[Fact]]:
    """Return the stored events of these orders, by order, in one query; those of the ids `but` are left out."""
    by_order: dict[UUID, list[Fact]] = defaultdict(list)
    for row in _stored(conn, order_ids, but):
        fact, version = Fact(*row[:-1]), row[-1] or versions.FIRST
        if version < versions.newest(fact.event_type):
            fact = replace(fact, payload=versions.upgraded(fact.event_type, version, fact.payload))
        by_order[fact.order_id].append(fact)
    return by_order


def _stored(conn: sa.Connection, order_ids: Collection[UUID], but: Collection[UUID]) -> Iterable[Sequence[Any]]:
    if not dialect.is_sqlite(conn):
        return conn.exec_driver_sql(_OF_ORDERS, (dialect.array(order_ids), dialect.array(but)))
    wanted = events.c.order_id.in_(order_ids), events.c.event_id.not_in(but)
    return conn.execute(sa.select(*_STORED).where(*wanted))


def save_pages(conn: sa.Connection, folded: Sequence[Page]) -> None:
    """Insert or replace pages in one statement; a settled one stays, because not all of its events are here."""
    _PAGES.write(conn, _rows(_PAGE, folded))


def drop_orphans(conn: sa.Connection) -> None:
    """Delete the pages of orders of which no event is stored, but the settled ones."""
    known = sa.select(events.c.order_id).where(events.c.order_id == pages.c.order_id).exists()
    conn.execute(pages.delete().where(pages.c.settled_at.is_(None), ~known))


def orders_after(conn: sa.Connection, last: UUID | None, limit: int) -> list[UUID]:
    """Return the next `limit` order ids that have events, in order of id."""
    query = sa.select(events.c.order_id).distinct().order_by(events.c.order_id).limit(limit)
    if last is not None:
        query = query.where(events.c.order_id > last)
    return list(conn.execute(query).scalars())


def page_answer(page: Page) -> dict[str, Any]:
    """Return a folded page as it is answered (`contracts.rpc.OrderPage`): JSON, without the search columns."""
    return as_answer({name: getattr(page, name) for name in _PAGE if name not in _SEARCHED})


def get_page(conn: sa.Connection, order_id: UUID) -> dict[str, Any] | None:
    """Return the order's page with its timeline (`contracts.rpc.OrderPage`), or None."""
    if dialect.is_sqlite(conn):
        found = conn.execute(sa.select(*_ANSWER).where(pages.c.order_id == order_id))
    else:
        found = conn.exec_driver_sql(_ONE, (order_id,))
    row = found.mappings().one_or_none()
    return None if row is None else as_answer(dict(row))


def list_pages(conn: sa.Connection, wanted: Filters, limit: int, cursor: str | None) -> dict[str, Any]:
    """Return a page of the list of orders, newest first, timelines left out.

    Raises Invalid where `cursor` is not one of ours.
    """
    query = sa.select(*LISTED).order_by(pages.c.order_id.desc()).limit(limit + 1)
    if wanted.status is not None:
        query = query.where(pages.c.status == wanted.status)
    if wanted.phone is not None:
        query = query.where(pages.c.phone == wanted.phone)
    if wanted.ont_serial is not None:
        query = query.where(pages.c.ont_serial == wanted.ont_serial)
    if wanted.order_end is not None:
        query = query.where(REVERSED_ID.like(f"{wanted.order_end[::-1]}%"))
    if cursor is not None:
        query = query.where(pages.c.order_id < _key(cursor))
    rows = [as_answer(dict(row)) for row in conn.execute(query).mappings()]
    items = rows[:limit]
    return {"items": items, "next_cursor": encode_cursor(items[-1]["order_id"]) if len(rows) > limit else None}


def received(conn: sa.Connection, event_ids: Collection[UUID]) -> list[dict[str, Any]]:
    """Which of these events are stored here, as `{"message_id", "at"}`; `at` is None where that was not noted."""
    found = sa.select(events.c.event_id, events.c.received_at).where(
        dialect.among(conn, events.c.event_id, event_ids)
    )
    return [
        {"message_id": str(row.event_id), "at": None if row.received_at is None else rfc3339(row.received_at)}
        for row in conn.execute(found.order_by(events.c.received_at, events.c.event_id))
    ]


def _as_sent(facts: Iterable[Fact]) -> list[dict[str, Any]]:
    rows = _rows(_FACT, facts)
    for row in rows:
        payload = versions.as_sent(row["event_type"], row["payload"])
        row["schema_version"] = payload.pop("schema_version")
        row["payload"] = payload
    return rows


def _as_json(row: Mapping[str, Any]) -> str:
    return to_json(row, fallback=_plain).decode()


def _rows(names: Sequence[str], values: Iterable[Any]) -> list[dict[str, Any]]:
    return [{name: getattr(value, name) for name in names} for value in values]


def as_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `pages` as JSON."""
    answer = {name: _plain(value) if isinstance(value, (datetime, UUID)) else value for name, value in row.items()}
    answer.setdefault("timeline", [])
    return answer


def _key(cursor: str) -> UUID:
    try:
        return UUID(decode_cursor(cursor, 1)[0])
    except ValueError:
        raise bad_cursor() from None
