"""The elements' configuration store. It is on disk before a write is answered, so `kill -9` loses nothing."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Content = dict[str, Any]


class State:
    """Entries by element and key. Writing or deleting twice is the same as once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "elements.sqlite3", isolation_level=None)
        # The write-ahead log survives the death of this process; only a power cut needs more, and then it is in order.
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=normal")
        self._db.execute(
            "create table if not exists entries (element text, key text, content text not null,"
            " primary key (element, key)) without rowid"
        )

    def read(self, element: str, key: str) -> Content | None:
        """The entry's content, or None where there is none."""
        found = self._db.execute("select content from entries where element=? and key=?", (element, key)).fetchone()
        return json.loads(found[0]) if found else None

    def write(self, element: str, key: str, content: Content) -> None:
        """Put the entry, whatever was there."""
        self._db.execute(
            "insert into entries values (?, ?, ?) on conflict (element, key) do update set content=excluded.content",
            (element, key, json.dumps(content, ensure_ascii=False, sort_keys=True)),
        )

    def edit(self, element: str, changes: Iterable[tuple[str, Content | None]]) -> None:
        """Write and delete (None) several entries, all or none."""
        self._db.execute("begin immediate")
        try:
            for key, content in changes:
                if content is None:
                    self.delete(element, key)
                else:
                    self.write(element, key, content)
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    def delete(self, element: str, key: str) -> None:
        """Remove the entry; where there is none, nothing happens."""
        self._db.execute("delete from entries where element=? and key=?", (element, key))

    def everything(self, element: str | None = None) -> dict[str, dict[str, Content]]:
        """All entries by element and key, or those of one element."""
        found: dict[str, dict[str, Content]] = defaultdict(dict)
        query = "select element, key, content from entries where ?1 is null or element=?1"
        for name, key, content in self._db.execute(query, (element,)):
            found[name][key] = json.loads(content)
        return dict(found)

    def close(self) -> None:
        """Close the file."""
        self._db.close()
