"""A service on tables with many closed orders, and the check that none of its statements reads more because of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from chassis import clock
from chassis.rpc_server import BoundedRpc
from contracts.ids import new_id
from tests.harness.aged import pruner_of, put_inbox, put_outbox
from tests.harness.containers import call, engine
from tests.harness.plans import Read, Watched, watch
from tools.bench.stored import MOST, OPEN, Stored

STORED = 100_000
STEP_S = 69.0
"""Between two orders: 80 days of 1,250 orders."""
LARGE = 5_000
"""Rows from which on a table may not be read as a whole."""
ROWS = 6 * OPEN
"""What one statement may look at: the open orders some times over. A step of the pruner is a thousand rows, which count
twice where an index is gone through first."""
BLOCKS, BLOCKS_A_ROW = 150, 20
"""For nothing at all, and for each row: some for each index of a table. A whole index of all rows has 400 or more."""

BY_NATURE = {
    "rebuild": "folds every page anew, chunk by chunk",
    "audit": "compares the whole network with all activations",
    "repair": "follows an audit",
    "inventory": "counts what the network has, which does not grow with orders",
}
"""RPC methods that go through everything, and say so."""


def is_dear(read: Read) -> bool:
    """Whether it reads more than what it is about."""
    return read.rows > ROWS or read.blocks > BLOCKS + BLOCKS_A_ROW * read.most


class Grown:
    """A database with many orders, and the statements that a service sends to it."""

    def __init__(self, service: str, uri: str, watched: Watched) -> None:
        self.service, self.uri, self.watched = service, uri, watched
        self.called: set[str] = set()

    def ids(self, query: str) -> list[str]:
        """The first column of what this finds, as text."""
        with engine(self.uri) as found, found.connect() as conn:
            return [str(value) for value in conn.execute(sa.text(query)).scalars()]

    @contextmanager
    def looking(self, container: Any) -> Iterator[Callable[..., Any]]:
        """A way to call the service, whose statements are explained meanwhile. Every RPC method must be called."""

        def calling(method: str, *args: Any, **kwargs: Any) -> Any:
            self.called.add(method)
            return call(container, method, *args, **kwargs)

        self.watched.on = True
        yield calling
        self._operate(container, calling)
        self.watched.on = False
        methods = {e.method_name for e in container.entrypoints if isinstance(e, BoundedRpc)}
        assert methods - set(BY_NATURE) <= self.called, f"call {sorted(methods - self.called)} as well"

    def _operate(self, container: Any, calling: Callable[..., Any]) -> None:
        """What every service does for operators and by itself."""
        if not any(e.method_name == "overview" for e in container.entrypoints):
            return
        calling("overview")
        calling("list_parked")
        (order_id,) = self.ids("select order_id from outbox order by id limit 1") or [str(new_id())]
        calling("order_messages", order_id, [str(new_id()), *self.ids("select message_id from outbox limit 5")])
        calling("republish_events", order_id)
        for method in ("replay_parked", "drop_parked"):
            with suppress(Exception):
                calling(method, str(uuid4()))
        calling("show_pruning")
        with self.off():
            put_outbox(container, 400, count=1500, sent_days=400)
            put_inbox(container, 400, count=1500)
        pruner_of(container).prune()
        calling("start_pruning")

    @contextmanager
    def off(self) -> Iterator[None]:
        """What the test itself does is not looked at."""
        self.watched.on = False
        yield
        self.watched.on = True

    def check(self) -> None:
        """No statement reads more, the more orders there are."""
        worst: dict[str, Read] = {}
        for read in self.watched.reads:
            shape = re.sub(r"'[^']*'|[0-9]+", "?", read.statement)[:2000]
            if shape not in worst or read.blocks > worst[shape].blocks:
                worst[shape] = read
        sizes = self._sizes()
        bad = [
            read for read in worst.values()
            if is_dear(read) or any(sizes[table] > LARGE for table, _ in read.whole_tables)
        ]
        assert len(worst) > 10, "the statements were seen"
        assert not bad, "\n\n".join(map(str, sorted(bad, key=lambda read: -read.blocks)))

    def _sizes(self) -> dict[str, int]:
        with engine(self.uri) as found, found.connect() as conn:
            return dict(conn.execute(sa.text("select relname, reltuples::bigint from pg_class")).tuples().all())


@pytest.fixture
def grown(database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Grown]:
    """`grown("order")`: that service's database with `STORED` closed orders and the open ones."""

    def make(service: str) -> Grown:
        uri = database(service)
        with engine(uri) as db, db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            cursor = conn.connection.cursor()
            stored = Stored(lambda _, statement: cursor.execute(statement), clock.utc_now(), [service], STEP_S)
            stored.write(MOST - STORED + 1, MOST)
            stored.write_open()
            conn.exec_driver_sql("vacuum analyze")
        return Grown(service, uri, watch(monkeypatch))

    return make
