"""The durable intake journal: a local SQLite file that takes an order before anybody else has to be there.

An entry is on disk (WAL, synchronous=FULL) before the client hears anything. `intake.py` drains it.
Idempotency keys live here too, so that a repeated request finds the first one, also after a restart.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from eventlet import tpool
from eventlet.semaphore import Semaphore

from contracts.errors import Overloaded, Unavailable
from gateway_svc import pruning
from gateway_svc.entries import INSERT, MARK, SELECTED, Entry, Mark, State, entry_of, marked, to_insert, to_mark

__all__ = ["Entry", "Journal", "Mark"]

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

RETRY_AFTER_S = 5.0
IN_MEMORY = 1000
MAX_UNWRITTEN = 200

T = TypeVar("T")


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
        # What `pending` gives, so that nobody reads what was just written. `_whole`: there is nothing more in the file.
        self._oldest: dict[UUID, Entry] = {}
        self._whole = self._pending == 0
        # Orders that order_svc has, and the file does not say so yet: see `mark`.
        self._unwritten: dict[UUID, tuple[Mark, Entry]] = {}

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
        """Record what became of entries. Raises Unavailable where the disk refuses.

        That an order was forwarded is known here at once, and is written with the next append, or by `flush`. Where
        the process dies before, the order is sent again, and order_svc knows it. All else is on disk before this
        returns: it would not come out the same a second time.
        """
        now: list[Mark] = []
        for mark in marks:
            entry = self._oldest.get(mark.entry_id)
            if mark.state == "forwarded" and entry is not None and entry.kind == "order":
                self._unwritten[mark.entry_id] = mark, marked(self._oldest.pop(mark.entry_id), mark)
                self._pending -= 1
            else:
                now.append(mark)
        if now or len(self._unwritten) > MAX_UNWRITTEN:
            self._write(now)

    def flush(self) -> None:
        """Write down what `mark` has put off. Raises Unavailable where the disk refuses."""
        if self._unwritten:
            self._write([])

    def pending(self, limit: int) -> list[Entry]:
        """The oldest entries that are still to be forwarded, in order, or some of them; none only where there is none.

        Those of `ahead` are left out.
        """
        if not self._oldest and not self._whole:
            where = "where state = 'pending' and (kind = 'order' or attempts = 0) order by seq limit ?"
            found = self._select(where, IN_MEMORY + len(self._unwritten))
            self._whole = len(found) < IN_MEMORY + len(self._unwritten)
            self._oldest = {entry.entry_id: entry for entry in found if entry.state == "pending"}
        return list(islice(self._oldest.values(), limit))

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
        if entry_id in self._unwritten:
            return self._unwritten[entry_id][1]
        return self._oldest.get(entry_id) or _first(self._select("where entry_id = ?", str(entry_id)))

    def lag(self) -> dict[str, Any]:
        """`{"pending", "failed", "oldest_pending_at"}` (RFC 3339 or None), for operators and metrics."""
        waiting = self._select("where state = 'pending' order by seq limit ?", 1 + len(self._unwritten))
        oldest = _first([entry for entry in waiting if entry.state == "pending"])
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
        """Write down what was put off, and close the file."""
        self.flush()
        self._reader.close()
        self._writer.close()

    def _write(self, marks: Sequence[Mark]) -> None:
        with self._lock:
            put_off = [mark for mark, _ in self._unwritten.values()]
            rows = [to_mark(mark) for mark in (*put_off, *marks)]
            try:
                tpool.execute(_transaction, self._writer, lambda: self._writer.executemany(MARK, rows))
            except sqlite3.Error as exc:
                raise Unavailable(f"the journal cannot be written: {exc}", retry_after_s=RETRY_AFTER_S) from exc
            self._written(put_off)
            for mark in marks:
                self._oldest.pop(mark.entry_id, None)
            if any(mark.state == "pending" for mark in marks):  # The file knows where it stands among the others.
                self._oldest, self._whole = {}, False
            self._pending = self._count("pending") - len(self._unwritten)

    def _commit(self, batch: list[_Slot]) -> None:
        put_off = [mark for mark, _ in self._unwritten.values()]

        def action() -> list[Entry]:
            self._writer.executemany(MARK, [to_mark(mark) for mark in put_off])
            return [self._insert(slot.entry) for slot in batch]

        try:
            stored = tpool.execute(_transaction, self._writer, action)
        except sqlite3.Error as exc:
            for slot in batch:
                slot.failure = exc
            return
        self._written(put_off)
        for slot, entry in zip(batch, stored, strict=True):
            slot.stored = entry
            if entry.entry_id == slot.entry.entry_id:
                self._added(entry)

    def _added(self, entry: Entry) -> None:
        self._pending += 1
        if entry.entry_id in self._unwritten:
            return  # The forwarder was quicker: it has read it from the file.
        if self._whole and len(self._oldest) < IN_MEMORY:
            self._oldest[entry.entry_id] = entry
        else:
            self._whole = False

    def _written(self, marks: Sequence[Mark]) -> None:
        for mark in marks:
            del self._unwritten[mark.entry_id]

    def _insert(self, entry: Entry) -> Entry:
        if entry.idempotency_key is not None:
            row = self._writer.execute(
                f"select {SELECTED} from entries where idempotency_key = ?", (entry.idempotency_key,)
            ).fetchone()
            if row is not None:
                return entry_of(row)
        self._writer.execute(INSERT, to_insert(entry))
        return entry

    def _select(self, clause: str, *arguments: Any) -> list[Entry]:
        """Entries of the file, as they stand now."""
        rows = self._reader.execute(f"select {SELECTED} from entries {clause}", arguments).fetchall()
        found = [entry_of(row) for row in rows]
        return [self._unwritten[entry.entry_id][1] if entry.entry_id in self._unwritten else entry for entry in found]

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


def _first(entries: list[Entry]) -> Entry | None:
    return entries[0] if entries else None
