"""Connections to PostgreSQL that ask as rarely as they can: each question costs both sides a wake-up.

BEGIN travels with a transaction's first statement, and statements whose answer nobody needs with the next one. Whoever
takes a connection from the pool asks whether the server is still there only where there is reason to.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
import sqlalchemy as sa
from eventlet.patcher import original
from psycopg2 import extensions

from chassis.patience import PatientConnection

TRUSTED_S = 5.0
"""A connection that was in use so recently is taken as it is. One that the server closed meanwhile shows that."""

_IDLE = extensions.TRANSACTION_STATUS_IDLE
_poll = original("select").poll
_READABLE = original("select").POLLIN


PLANS = {
    # What is asked over and over is planned once; a plan for one value would be made anew each time.
    "plan_cache_mode": "force_generic_plan",
    # A plan that was made while a table was small must be good when it is large.
    "enable_seqscan": "off",
    "jit": "off",
}
"""Settings of the server's for these connections."""

_PREPARED: dict[str, tuple[str, str, str]] = {}


def prepared(statement: str) -> str:
    """Have each connection prepare this statement, with `%s::type` for values, when it first asks it; returns it.

    Parsing and planning are what a small statement costs most. Only for one that is right by one plan for all values.
    """
    name = f"chassis_{len(_PREPARED)}"
    first, *rest = statement.split("%s")
    text = first + "".join(f"${number}{part}" for number, part in enumerate(rest, start=1))
    return _PREPARED.setdefault(
        statement, (statement, f"prepare {name} as {text}", f"execute {name}({', '.join(['%s'] * len(rest))})")
    )[0]


class Transacting(PatientConnection):
    """psycopg2's connection, where BEGIN, and what may wait, are no questions of their own.

    libpq knows whether a transaction is open; psycopg2 is told that it commits each statement by itself.
    """

    transacting = True
    """Whether statements belong to a transaction; if not, each commits by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.autocommit = True
        self.cursor_factory = _Cursor
        self._waiting_statements: list[bytes] = []
        self._prepared: set[str] = set()

    def set_isolation_level(self, level: int | None) -> None:
        """READ COMMITTED, which is the server's default, or none (AUTOCOMMIT). Raises ValueError for another."""
        if level not in (extensions.ISOLATION_LEVEL_READ_COMMITTED, extensions.ISOLATION_LEVEL_AUTOCOMMIT):
            raise ValueError(f"isolation level {level}: transactions here are READ COMMITTED")
        self.transacting = level != extensions.ISOLATION_LEVEL_AUTOCOMMIT

    def later(self, statement: str, values: Sequence[Any]) -> None:
        """Send this statement with the next one, or with COMMIT: nobody looks at its answer.

        Where it fails, that next one does.
        """
        self._waiting_statements.append(self.written(extensions.cursor(self), statement, values))

    def written(self, cursor: Any, statement: Any, values: Any) -> bytes:
        """The statement with its values in it; one that is to be prepared, which it is by now, as its EXECUTE."""
        known = _PREPARED.get(statement)
        if known is not None:
            _, prepare, statement = known
            if prepare not in self._prepared:
                extensions.cursor(self).execute(prepare)
                self._prepared.add(prepare)
        written: bytes = cursor.mogrify(statement, values or None)
        return written

    def with_all_that_waits(self, statement: bytes) -> bytes:
        """This statement behind BEGIN, where that has not been said yet, and behind those that wait."""
        begin = [b"begin"] if self.transacting and self.get_transaction_status() == _IDLE else []
        ahead, self._waiting_statements = [*begin, *self._waiting_statements], []
        return b"; ".join([*ahead, statement])

    def commit(self) -> None:
        if self._waiting_statements or self.get_transaction_status() != _IDLE:
            extensions.cursor(self).execute(self.with_all_that_waits(b"commit"))

    def rollback(self) -> None:
        self._waiting_statements.clear()
        if self.get_transaction_status() != _IDLE:
            extensions.cursor(self).execute("rollback")


class _Cursor(extensions.cursor):
    connection: Any

    def execute(self, query: Any, vars: Any = None) -> None:
        super().execute(self.connection.with_all_that_waits(self.connection.written(self, query, vars)))

    def executemany(self, query: Any, vars_list: Any) -> None:
        super().execute(self.connection.with_all_that_waits(b"select 1"))
        super().executemany(query, vars_list)


@contextmanager
def single(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection whose statements are in no transaction but that of each with what was put off before it (`later`).

    PostgreSQL takes what is sent together, without BEGIN, for one transaction. SQLAlchemy's own way (AUTOCOMMIT) costs
    30 µs more each time.
    """
    with engine.connect() as conn:
        driver: Any = conn.connection.dbapi_connection
        driver.transacting = False
        try:
            yield conn
        finally:
            driver.transacting = True


def put_off(conn: sa.Connection, driver: Transacting, statement: str, values: Sequence[Any]) -> None:
    """`Transacting.later`. SQLAlchemy does not see the statement prepared, so it is told here of what fails then: its
    errors are raised as ever, and a connection that was lost leaves the pool.
    """
    try:
        driver.later(statement, values)
    except psycopg2.Error as error:
        if driver.closed:
            conn.invalidate(error)
        raise sa.exc.DBAPIError.instance(
            statement, None, error, psycopg2.Error, connection_invalidated=conn.invalidated
        ) from error


def checked(engine: sa.Engine) -> sa.Engine:
    """Have this engine's connections looked at when they are taken: a lost one is replaced, and all that are as old."""

    @sa.event.listens_for(engine, "checkin")
    def left(connection: Any, record: Any) -> None:
        record.info["left_at"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def taken(connection: Any, record: Any, proxy: Any) -> None:
        left_at = record.info.get("left_at")
        if left_at is None or (time.monotonic() - left_at < TRUSTED_S and not _has_said_something(connection)):
            return
        try:
            extensions.cursor(connection).execute("select 1")
        except connection.Error as error:
            raise sa.exc.InvalidatePoolError from error

    return engine


def _has_said_something(connection: Any) -> bool:
    """Whether something has arrived that nobody asked for: the end of the connection, mostly."""
    poll = _poll()
    poll.register(connection.fileno(), _READABLE)
    return bool(poll.poll(0))
