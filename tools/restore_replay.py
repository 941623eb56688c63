"""What is done again after a restore, so that all parts agree: before anything runs, on the databases themselves.

- A gateway's journal sends what the order book does not know.
- Every outbox sends each message that one of those who act on it does not know.
- A service that was restored alone gets its own later events back from MyPage (its `recall.py`).
- The network is made to hold what a restored activation believes (`activation_svc/reconcile.py`).
- Where everything was restored, what still lies in the broker's queues tells of what never happened: it goes.
"""

from __future__ import annotations

import importlib
import sqlite3
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from chassis import clock, dialect, pruned
from chassis.db import Tx
from chassis.models import chassis_tables
from chassis.table import Transition
from contracts.events import Event, decode
from tools.paths import SERVICES

CHUNK = 5000
RECALLING = ("order", "activation", "scheduling", "fieldwork")
"""The services that cause events, and so take their own later ones back. What MyPage knows it is told anew."""
_CHASSIS = chassis_tables(sa.MetaData())
_OUTBOX, _INBOX, _PARKED = _CHASSIS.outbox, _CHASSIS.inbox, _CHASSIS.parked


def engine_of(uri: str) -> sa.Engine:
    """An engine that keeps no connection open."""
    return sa.create_engine(uri, poolclass=sa.NullPool)


def module(service: str, name: str) -> Any:
    """A module of a service."""
    return importlib.import_module(f"{service}_svc.{name}")


def consumers() -> dict[str, list[str]]:
    """By event, the services that act on it."""
    found: dict[str, list[str]] = defaultdict(list)
    for service in SERVICES:
        if service != "gateway":
            domain = module(service, "domain")
            for event in domain.SUBSCRIBES if service == "mypage" else domain.CONSUMES:
                found[event].append(service)
    return found


def emitted(service: str) -> frozenset[str]:
    """The events that a service's state machine causes."""
    rows = module(service, "domain").TABLE.rows.values()
    return frozenset(name.partition("/")[0] for row in rows if isinstance(row, Transition) for name in row.emits)


def resend(uris: Mapping[str, str], exchange: str) -> dict[str, int]:
    """Mark as unsent what went to `exchange` and somebody does not know; returns how many messages, by sender."""
    acting = consumers()
    engines = {service: engine_of(uri) for service, uri in uris.items()}
    remembered = {service: found for service, uri in uris.items() if (found := forgets_before(service, uri))}
    counts = dict.fromkeys(SERVICES, 0)
    for service, engine in engines.items():
        last = 0
        while rows := _sent_after(engine, last, exchange):
            last = rows[-1].id
            again = _unknown(engines, acting, remembered, rows)
            if again:
                with engine.begin() as conn:
                    ids = [row.id for row in rows if row.message_id in again]
                    conn.execute(_OUTBOX.update().where(dialect.among(conn, _OUTBOX.c.id, ids)).values(sent_at=None))
                    counts[service] += len(ids)
    return {service: count for service, count in counts.items() if count}


def forgets_before(service: str, uri: str) -> datetime | None:
    """From when on a service surely still knows what it has handled; None where it was never pruned."""
    table = module("mypage", "models").events if service == "mypage" else _INBOX
    return _pruned_until(uri).get(table.name)


def _pruned_until(uri: str) -> dict[str, datetime]:
    """Empty also where the database is still that of a release that pruned nothing."""
    with engine_of(uri).connect() as conn:
        return pruned.until(conn) if sa.inspect(conn).has_table(_CHASSIS.pruned.name) else {}


def missing_since(services: Sequence[str], uris: Mapping[str, str], since: datetime) -> list[str]:
    """What services that are restored alone would need to be told of the time since then, and what was pruned.

    Empty where the others still have everything.
    """
    others = [service for service in SERVICES if service not in (*services, "gateway")]
    missing = []
    for service in others:
        gone = _pruned_until(uris[service])
        for table in (_OUTBOX.name, module("mypage", "models").events.name):
            if table in gone and gone[table] > since:
                missing.append(f"{service} has been pruned of its {table} up to {gone[table].isoformat()}")
    return missing


def _sent_after(engine: sa.Engine, last: int, exchange: str) -> Sequence[Any]:
    query = (
        sa.select(_OUTBOX.c.id, _OUTBOX.c.message_id, _OUTBOX.c.routing_key, _OUTBOX.c.created_at)
        .where(_OUTBOX.c.id > last, _OUTBOX.c.sent_at.is_not(None), _OUTBOX.c.exchange == exchange)
        .order_by(_OUTBOX.c.id).limit(CHUNK)
    )
    with engine.connect() as conn:
        return conn.execute(query).all()


def _unknown(
    engines: Mapping[str, sa.Engine], acting: Mapping[str, Sequence[str]], remembered: Mapping[str, datetime],
    rows: Sequence[Any],
) -> set[uuid.UUID]:
    """Those of these messages that one of those who act on them has neither taken nor parked.

    What is so old that its inbox has been pruned of it counts as taken.
    """
    wanted: dict[str, set[uuid.UUID]] = defaultdict(set)
    for row in rows:
        for service in acting.get(row.routing_key, ()):
            if service not in remembered or row.created_at >= remembered[service]:
                wanted[service].add(row.message_id)
    return {one for service, ids in wanted.items() for one in ids - _known(engines[service], service, ids)}


def _known(engine: sa.Engine, service: str, ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    column = module("mypage", "models").events.c.event_id if service == "mypage" else _INBOX.c.message_id
    with engine.connect() as conn:
        taken = set(conn.execute(sa.select(column).where(dialect.among(conn, column, list(ids)))).scalars())
        parked = conn.execute(sa.select(_PARKED.c.message_id).where(_PARKED.c.message_id.is_not(None))).scalars()
        return taken | {one for one in map(_uuid, parked) if one is not None}


def recall(service: str, uris: Mapping[str, str], since: datetime, waiting: Sequence[Event], journals: Sequence[Path],
           exchange: str, say: Callable[[str], Any]) -> None:  # fmt: skip
    """Give a service that was restored alone back what it did since; `waiting`: what MyPage has not handled yet."""
    if service not in RECALLING:
        return
    with engine_of(uris["mypage"]).connect() as mypage:
        # What is still unsent in the others' outboxes, nobody has been told yet.
        told = [*module("mypage", "recall").told(mypage, since), *waiting, *_unsent(uris, service)]
    more: dict[str, Any] = {}
    if service == "order":
        more = {"taken": _taken(journals)}
    elif service == "activation":
        more = {"asked": _asked(uris["scheduling"])}
    tables = chassis_tables(module(service, "models").Base.metadata)
    with engine_of(uris[service]).begin() as conn:
        count = module(service, "recall").recall(Tx(conn, tables, exchange, clock.utc_now()), told, **more)
    say(f"{service}: {count} events of its own taken back")


def _asked(uri: str) -> set[uuid.UUID]:
    """The orders for which scheduling has taken on a visit."""
    visits = module("scheduling", "models").visits
    with engine_of(uri).connect() as conn:
        return set(conn.execute(sa.select(visits.c.order_id).where(visits.c.state != "cancelled")).scalars())


def _unsent(uris: Mapping[str, str], but: str) -> Iterator[Event]:
    for service in set(SERVICES) - {but, "gateway", "mypage"}:
        with engine_of(uris[service]).connect() as conn:
            for body in conn.execute(sa.select(_OUTBOX.c.body).where(_OUTBOX.c.sent_at.is_(None))).scalars():
                yield decode(bytes(body))


def _taken(journals: Sequence[Path]) -> dict[uuid.UUID, Any]:
    taken = module("order", "recall").Taken
    query = "select order_id, accepted_at, idempotency_key from entries where kind = 'order' and stands_as is null"
    return {
        uuid.UUID(order_id): taken(datetime.fromisoformat(at), key)
        for path in journals for order_id, at, key in _rows(path, query)
    }


def send_again(journals: Sequence[Path], order_uri: str, since: datetime) -> int:
    """Make pending again what the order book does not know, in every journal; returns how many entries.

    An order is known under its id or as a further id of another; a cancel, where the order is on its way out or over.
    """
    table, aliases = module("order", "models").table, module("order", "models").aliases
    with engine_of(order_uri).connect() as conn:
        states: dict[uuid.UUID, str] = dict(conn.execute(sa.select(table.c.order_id, table.c.state)).tuples().all())
        also = conn.execute(sa.select(aliases.c.order_id, aliases.c.stands_as)).tuples().all()
        further: dict[uuid.UUID, uuid.UUID] = dict(also)

    def unknown(kind: str, order_id: uuid.UUID, accepted_at: str) -> bool:
        state = states.get(further.get(order_id, order_id))
        if kind == "order":
            return state is None
        open_still = state in (None, "placed", "fallout", "activated", "scheduled")
        return open_still and datetime.fromisoformat(accepted_at) >= since

    count = 0
    for path in journals:
        rows = _rows(path, "select entry_id, kind, order_id, accepted_at from entries where state = 'forwarded'")
        again = [(entry,) for entry, kind, order, at in rows if unknown(kind, uuid.UUID(order), at)]
        with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            connection.executemany("update entries set state = 'pending', attempts = 0 where entry_id = ?", again)
        count += len(again)
    return count


def _rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        return connection.execute(query).fetchall()


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
