"""What each statement of a service reads: every one that its connections send is explained, and then run.

The explanation comes from the server (EXPLAIN ANALYZE inside a savepoint that is rolled back), so values, locks and the
rows that are there are those of the real statement.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg2
import pytest
from psycopg2 import extensions

from chassis.connection import Transacting

_EXPLAINED = re.compile(rb"\s*(select|insert|update|delete|with|execute)\b", re.IGNORECASE)
_EXPLAIN = b"explain (analyze, buffers, timing off, format json) "


@dataclass(frozen=True)
class Read:
    """One statement: rows and blocks of tables and indexes that it touched, and the tables that it went all through.

    `most`: rows of the busiest step, also of what it was given. An index that is gone through for a few rows shows as
    many blocks for them.
    """

    statement: str
    rows: int
    most: int
    blocks: int
    whole_tables: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        whole = ", ".join(f"all {rows} rows of {table}" for table, rows in self.whole_tables)
        return f"{self.rows} rows, {self.blocks} blocks{f', {whole}' if whole else ''}: {self.statement[:700]}"


@dataclass
class Watched:
    """Every statement so far, while `on`."""

    on: bool = False
    reads: list[Read] = field(default_factory=list)

    def explain(self, connection: Any, statement: bytes) -> None:
        """Find out what this statement would read just now."""
        cursor = extensions.cursor(connection)
        cursor.execute("savepoint explained")
        try:
            cursor.execute(_EXPLAIN + statement)
            (told,) = cursor.fetchone() or ("[]",)
        except psycopg2.Error:
            cursor.execute("rollback to savepoint explained")
            return  # it fails for real as well, and whoever sent it sees that
        cursor.execute("rollback to savepoint explained")
        plan = (json.loads(told) if isinstance(told, str) else told)[0]
        nodes = list(_nodes(plan["Plan"]))
        self.reads.append(Read(
            re.sub(r"\s+", " ", statement.decode("utf-8", "replace")), sum(map(_rows, nodes)),
            max(map(_seen, nodes)), _blocks(plan["Plan"]),
            tuple((node["Relation Name"], _rows(node)) for node in nodes if node["Node Type"] == "Seq Scan"),
        ))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _rows(node: dict[str, Any]) -> int:
    """Rows, or entries of an index, that a scan looked at; 0 for what only works on what others have read."""
    if ("Relation Name" not in node and "Index Name" not in node) or node["Node Type"] == "ModifyTable":
        return 0
    return _seen(node)


def _seen(node: dict[str, Any]) -> int:
    removed = sum(node.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck"))
    # The rows of a bitmap are those entries of its indexes that are counted there.
    found = 0 if node["Node Type"] == "Bitmap Heap Scan" else node["Actual Rows"]
    return int((found + removed) * node["Actual Loops"])


def _blocks(plan: dict[str, Any]) -> int:
    return int(plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0))


def watch(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Explain, from now on and while `on`, whatever a service's connection to PostgreSQL sends."""
    watched = Watched()
    send = Transacting.with_all_that_waits

    def explained(self: Any, statement: bytes) -> bytes:
        if not watched.on:
            return send(self, statement)
        ahead, self._waiting_statements = self._waiting_statements, []
        plain = extensions.cursor(self)
        if self.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE:
            plain.execute("begin")
        for each in ahead:
            watched.explain(self, each)
            plain.execute(each)
        if _EXPLAINED.match(statement):
            watched.explain(self, statement)
        if not self.transacting:
            plain.execute("commit")
        return statement

    monkeypatch.setattr(Transacting, "with_all_that_waits", explained)
    return watched
