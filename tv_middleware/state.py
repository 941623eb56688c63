"""The entitlements, in SQLite. They are on disk before a write is answered, so `kill -9` loses nothing."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

Content = dict[str, Any]


class State:
    """Entitlements by subscriber. Threads share it; writing or deleting twice is the same as once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "entitlements.sqlite3", isolation_level=None, check_same_thread=False)
        self._lock = threading.Lock()
        # The write-ahead log survives the death of this process; only a power cut needs more, and then it is in order.
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=normal")
        self._db.execute(
            "create table if not exists entitlements"
            " (subscriber text primary key, content text not null) without rowid"
        )

    def read(self, subscriber: str) -> Content | None:
        """The subscriber's entitlement, None where there is none."""
        found = self._rows("select content from entitlements where subscriber=?", subscriber)
        return json.loads(found[0][0]) if found else None

    def write(self, subscriber: str, content: Content) -> bool:
        """Put the entitlement, whatever was there; True where nothing was."""
        with self._lock:
            # Two statements and one lock: nobody else writes this file.
            new = self._db.execute("select 1 from entitlements where subscriber=?", (subscriber,)).fetchone() is None
            self._db.execute(
                "insert into entitlements values (?, ?) on conflict do update set content=excluded.content",
                (subscriber, json.dumps(content)),
            )
        return new

    def delete(self, subscriber: str) -> None:
        """Take it away; where there is none, nothing happens."""
        self._rows("delete from entitlements where subscriber=?", subscriber)

    def page(self, after: str, limit: int) -> dict[str, Content]:
        """At most `limit` entitlements of subscribers after `after`, in their order."""
        query = "select subscriber, content from entitlements where subscriber > ? order by subscriber limit ?"
        return {subscriber: json.loads(content) for subscriber, content in self._rows(query, after, limit)}

    def close(self) -> None:
        """Close the file, after what is under way."""
        with self._lock:
            self._db.close()

    def _rows(self, query: str, *values: str | int) -> list[tuple[str, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()
