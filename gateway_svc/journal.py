"""The durable intake journal: a local SQLite file that takes an order before anybody else has to be there.

An entry is on disk (WAL, synchronous=FULL) before the client hears anything. `intake.py` drains it.
Idempotency keys live here too, so that a repeated request finds the first one, also after a restart.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar
from uuid import UUID

from eventlet import tpool
from eventlet.semaphore import Semaphore

from contracts.errors import Overloaded, Unavailable
from gateway_svc import pruning

Kind = Literal["order", "cancel"]
State = Literal["pending", "forwarded", "refused", "failed", "dropped"]

_SCHEMA = """
create table if not exists entries (
    seq integer primary key autoincrement,
    entry_id text not null unique,
    kind text not null check (kind in ('order', 'cancel')),
    order_id text not null,
    body text not null,
    accepted_at text not null,
    state text not null default 'pending'
        check (state in ('pending', 'forwarded', 'refused', 'failed', 'dropped')),
    answer integer,
    error text,
    attempts integer not null default 0,
    stands_as text,
    idempotency_key text,
    fingerprint text,
    traceparent text
);
create unique index if not exists entries_key on entries (idempotency_key) where idempotency_key is not null;
create unique index if not exists entries_order on entries (order_id) where kind = 'order';
create index if not exists entries_cancel on entries (order_id) where kind = 'cancel';
create index if not exists entries_pending on entries (seq) where state = 'pending';
create index if not exists entries_failed on entries (seq) where state = 'failed';
create index if not exists entries_order_end on entries (substr(order_id, -8)) where kind = 'order';
"""

_COLUMNS = (
    "seq", "entry_id", "kind", "order_id", "body", "accepted_at", "state", "answer", "error", "attempts", "stands_as",
    "idempotency_key", "fingerprint", "traceparent",
)
_SELECTED = ", ".join(_COLUMNS)

RETRY_AFTER_S = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted request. `answer` is the HTTP status a waiting client was given (None: it was told 202).

    `state`: pending (still to forward), forwarded, refused (the client was told so), failed (the client was told
    202, so a person must look), dropped (a person looked). `stands_as` is set where order_svc knew the idempotency
    key already: the order stands under that id.
    """

    entry_id: UUID
    kind: Kind
    order_id: UUID
    body: dict[str, Any]
    accepted_at: datetime
    idempotency_key: str | None = None
    fingerprint: str | None = None
    traceparent: str | None = None
    seq: int = 0
    state: State = "pending"
    answer: int | None = None
    error: dict[str, Any] | None = None
    attempts: int = 0
    stands_as: UUID | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of an entry."""

    entry_id: UUID
    state: State
    answer: int | None = None
    error: dict[str, Any] | None = None
    attempts: int = 0
    stands_as: UUID | None = None


@dataclass(slots=True)
class _Slot:
    """An append that waits for its commit."""

    entry: Entry
    stored: Entry | None = None
    failure: Exception | None = field(default=None)


class Journal:
    """The file. Appends that wait at the same moment share one commit, and so one fsync.

    Writes run in a native thread, so that a slow disk does not stop the process. `max_pending` bounds the backlog.
    """

    def __init__(self, path: str | Path, max_pending: int = 200_000) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.max_pending = max_pending
        self._writer = _connect(self.path)
        self._writer.executescript(_SCHEMA)
        self.path.chmod(0o600)  # Names and addresses of customers; SQLite gives its other files the same mode.
        self._reader = _connect(self.path)
        self._waiting: list[_Slot] = []
        self._lock = Semaphore(1)
        self._pending = self._count("pending")

    def append(self, entry: Entry) -> Entry:
        """Store `entry` durably and return it, or the earlier entry that used the same idempotency key.

        Raises Overloaded where the backlog is full, Unavailable where the disk refuses; nothing is promised then.
        """
        if self._pending >= self.max_pending:
            raise Overloaded("the intake journal is full", retry_after_s=RETRY_AFTER_S)
        slot = _Slot(entry)
        self._waiting.append(slot)
        with self._lock:
            if slot.stored is None and slot.failure is None:
                batch, self._waiting = self._waiting, []
                self._commit(batch)
        if slot.failure is not None:
            raise Unavailable(
                "the order could not be written down; nothing was accepted", retry_after_s=RETRY_AFTER_S
            ) from slot.failure
        assert slot.stored is not None
        return slot.stored

    def mark(self, marks: Sequence[Mark]) -> None:
        """Record what became of entries. Raises Unavailable where the disk refuses."""
        rows = [
            (m.state, m.answer, _json(m.error), m.attempts, _text(m.stands_as), str(m.entry_id)) for m in marks
        ]
        statement = (
            "update entries set state = ?, answer = coalesce(?, answer), error = ?, attempts = ?, stands_as = ? "
            "where entry_id = ?"
        )
        with self._lock:
            try:
                tpool.execute(_transaction, self._writer, lambda: self._writer.executemany(statement, rows))
            except sqlite3.Error as exc:
                raise Unavailable(f"the journal cannot be written: {exc}", retry_after_s=RETRY_AFTER_S) from exc
            finally:
                self._pending = self._count("pending")

    def pending(self, limit: int) -> list[Entry]:
        """The oldest entries that are still to be forwarded, in order; those of `ahead` are left out."""
        return self._select("where state = 'pending' and (kind = 'order' or attempts = 0) order by seq limit ?", limit)

    def ahead(self, limit: int) -> list[Entry]:
        """Cancels that came to order_svc before their orders, which another gateway has: least often tried first."""
        where = "where state = 'pending' and kind = 'cancel' and attempts > 0 order by attempts, seq limit ?"
        return self._select(where, limit)

    def failed(self, limit: int, after_seq: int = 0) -> list[Entry]:
        """Entries that were accepted and could not be forwarded for good: a person must look."""
        return self._select("where state = 'failed' and seq > ? order by seq limit ?", after_seq, limit)

    def order(self, order_id: UUID) -> Entry | None:
        """The order's own entry; an order that stands under another id is found by its first id."""
        return _first(self._select("where order_id = ? and kind = 'order'", str(order_id)))

    def orders_ending(self, end: str) -> list[Entry]:
        """The orders whose id ends with these 8 lower-case hex digits: the number that people are given."""
        return self._select("where substr(order_id, -8) = ? and kind = 'order' order by seq", end)

    def cancel(self, order_id: UUID) -> Entry | None:
        """The latest cancel of this order that was journalled."""
        return _first(self._select("where order_id = ? and kind = 'cancel' order by seq desc limit 1", str(order_id)))

    def by_entry_id(self, entry_id: UUID) -> Entry | None:
        return _first(self._select("where entry_id = ?", str(entry_id)))

    def lag(self) -> dict[str, Any]:
        """`{"pending", "failed", "oldest_pending_at"}` (RFC 3339 or None), for operators and metrics."""
        oldest = _first(self._select("where state = 'pending' order by seq limit 1"))
        return {
            "pending": self._pending,
            "failed": self._count("failed"),
            "oldest_pending_at": oldest.accepted_at.isoformat() if oldest else None,
        }

    @property
    def has_backlog(self) -> bool:
        return self._pending > 0

    def purge(self, before: datetime) -> int:
        """Forget some of the entries that are settled and older than `before`, the oldest first; return how many."""
        values = (pruning.JOURNAL_AT_ONCE + self._pending + self._count("failed"), before.isoformat())
        with self._lock:
            return int(tpool.execute(
                _transaction, self._writer, lambda: self._writer.execute(pruning.JOURNAL, values).rowcount
            ))

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    def _commit(self, batch: list[_Slot]) -> None:
        try:
            stored = tpool.execute(_transaction, self._writer, lambda: [self._insert(slot.entry) for slot in batch])
        except sqlite3.Error as exc:
            for slot in batch:
                slot.failure = exc
            return
        for slot, entry in zip(batch, stored, strict=True):
            slot.stored = entry
            self._pending += entry.entry_id == slot.entry.entry_id

    def _insert(self, entry: Entry) -> Entry:
        if entry.idempotency_key is not None:
            row = self._writer.execute(
                f"select {_SELECTED} from entries where idempotency_key = ?", (entry.idempotency_key,)
            ).fetchone()
            if row is not None:
                return _entry(row)
        self._writer.execute(
            "insert into entries "
            "(entry_id, kind, order_id, body, accepted_at, idempotency_key, fingerprint, traceparent) "
            "values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                str(entry.entry_id), entry.kind, str(entry.order_id), _json(entry.body),
                entry.accepted_at.isoformat(), entry.idempotency_key, entry.fingerprint, entry.traceparent,
            ),
        )
        return entry

    def _select(self, clause: str, *arguments: Any) -> list[Entry]:
        rows = self._reader.execute(f"select {_SELECTED} from entries {clause}", arguments).fetchall()
        return [_entry(row) for row in rows]

    def _count(self, state: State) -> int:
        # A literal, not a parameter: only so can SQLite prove that the partial index fits.
        row = self._reader.execute(f"select count(*) from entries where state = '{state}'").fetchone()
        return int(row[0])


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    return connection


def _transaction(connection: sqlite3.Connection, action: Callable[[], T]) -> T:
    """Run `action` between BEGIN and COMMIT; a failed commit rolls back."""
    connection.execute("begin immediate")
    try:
        result = action()
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    return result


def _entry(row: Sequence[Any]) -> Entry:
    known = dict(zip(_COLUMNS, row, strict=True))
    return Entry(
        **known | {
            "entry_id": UUID(known["entry_id"]),
            "order_id": UUID(known["order_id"]),
            "body": json.loads(known["body"]),
            "accepted_at": datetime.fromisoformat(known["accepted_at"]),
            "error": json.loads(known["error"]) if known["error"] else None,
            "stands_as": UUID(known["stands_as"]) if known["stands_as"] else None,
        }
    )


def _first(entries: list[Entry]) -> Entry | None:
    return entries[0] if entries else None


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
