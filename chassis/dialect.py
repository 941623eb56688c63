"""Where PostgreSQL and SQLite differ: types, locks, connections, rows. The one file that asks which it is.

Every service runs on PostgreSQL. A service whose own statements keep to what is here (mypage) runs on SQLite as well:
one file, one process. SQLite has one writer at a time, so there a transaction that writes is the only one, and every
lock that PostgreSQL is asked for is held already.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from eventlet.semaphore import Semaphore
from pydantic_core import to_json
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite

from chassis.connection import PLANS, Transacting, checked, prepared, put_off
from chassis.patience import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, SERVER_OPTIONS, connections

SQLITE = "sqlite"
READ_ONLY = "25006"
"""The SQLSTATE (read_only_sql_transaction) with which a standby refuses to write."""
BUSY_MS = 5000
"""How long SQLite waits for another process that writes."""

_UUIDS = pg.ARRAY(pg.UUID(as_uuid=True))
_BIGINTS = pg.ARRAY(sa.BigInteger)
_WRITERS: WeakKeyDictionary[sa.Engine, Semaphore] = WeakKeyDictionary()


class _UtcText(sa.types.TypeDecorator[datetime]):
    """A moment as text in UTC, which sorts as it should; SQLite has no zones."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


TIMESTAMP = sa.DateTime(timezone=True).with_variant(_UtcText(), SQLITE)
JSON = sa.JSON().with_variant(pg.JSONB(), "postgresql")
JSON_OR_NULL = sa.JSON(none_as_null=True).with_variant(pg.JSONB(none_as_null=True), "postgresql")
"""None is SQL's NULL rather than JSON's."""
SERIAL = sa.BigInteger().with_variant(sa.Integer(), SQLITE)
"""A number that the database gives out."""


def is_sqlite(bind: sa.Connection | sa.Engine) -> bool:
    return bind.dialect.name == SQLITE


def now(conn: sa.Connection) -> datetime | None:
    """The database's time; None where it is a file on this machine and has no other than ours."""
    if is_sqlite(conn):
        return None
    told: datetime = conn.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return told


def make_engine(
    uri: str, service: str, pool_size: int, answer_timeout_s: float = ANSWER_TIMEOUT_S, **options: Any
) -> sa.Engine:
    """The engine of a service: `pool_size` connections, and not one more; each writes, or is none.

    A statement that is not answered within `answer_timeout_s` fails like one whose connection was lost.
    """
    url = sa.make_url(uri)
    on_sqlite = url.get_backend_name() == SQLITE
    engine = sa.create_engine(
        url,
        poolclass=sa.QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        # As few as suffice are in use, and the server has what it needs for these at hand.
        pool_use_lifo=True,
        # Whoever waits for one of them waits no longer than for an answer.
        pool_timeout=min(10.0, answer_timeout_s),
        # Values are subscribers' data; an SQL error in the log shows none of them.
        hide_parameters=True,
        connect_args={"check_same_thread": False} if on_sqlite else _postgres_arguments(service, url, answer_timeout_s),
        **options,
    )
    return _watched(engine) if on_sqlite else _leaving_standbys(checked(engine))


def single_engine(uri: str) -> sa.Engine:
    """An engine that keeps no connection open: for migrations and tools."""
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    return _watched(engine) if is_sqlite(engine) else engine


def _postgres_arguments(service: str, url: sa.URL, answer_timeout_s: float) -> dict[str, Any]:
    return {
        "application_name": service,
        "connection_factory": connections(answer_timeout_s, Transacting),
        "connect_timeout": CONNECT_TIMEOUT_S,
        # While a failover is under way the address may still lead to a server that only reads.
        "target_session_attrs": "read-write",
        "options": " ".join(
            [*_own_options(url), *(f"-c {name}={value}" for name, value in (SERVER_OPTIONS | PLANS).items())]
        ),
        # A connection that was cut must be noticed by us, not by TCP an hour later.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }


def _own_options(url: sa.URL) -> Sequence[str]:
    found = url.query.get("options", ())
    return (found,) if isinstance(found, str) else found


def _leaving_standbys(engine: sa.Engine) -> sa.Engine:
    """A server that has become one that only reads counts as lost, with every connection to it."""

    @sa.event.listens_for(engine, "handle_error")
    def lost(context: sa.engine.ExceptionContext) -> None:
        if getattr(context.original_exception, "pgcode", None) == READ_ONLY:
            context.is_disconnect = True

    return engine


def _watched(engine: sa.Engine) -> sa.Engine:
    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # we say when a transaction begins; the driver's own way excludes DDL
        for pragma in ("journal_mode=wal", "synchronous=full", f"busy_timeout={BUSY_MS}", "foreign_keys=on"):
            connection.execute(f"pragma {pragma}")
        connection.create_function("reverse", 1, lambda text: text and text[::-1], deterministic=True)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A transaction that turns from reading to writing may find that it cannot; so it says at once what it is.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("begin immediate" if writes else "begin")

    return engine


def reading(engine: sa.Engine) -> sa.Engine:
    """The same connections for statements that only read: on PostgreSQL without BEGIN and ROLLBACK around them."""
    return engine if is_sqlite(engine) else engine.execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes; commits when the block ends, rolls back when it raises."""
    if not is_sqlite(engine):
        with engine.begin() as conn:
            yield conn
        return
    # Greenlets wait for each other here: inside SQLite, waiting would hold up the one that is waited for.
    with (
        _WRITERS.setdefault(engine, Semaphore()),
        engine.connect().execution_options(writes=True) as conn,
        conn.begin(),
    ):
        yield conn


def later(conn: sa.Connection, statement: str, *values: Any) -> None:
    """Run a statement of PostgreSQL's, with `%s` for its values, whose answer nobody needs.

    On a service's own connection it travels with the next statement, whoever says that, or with COMMIT.
    """
    driver = conn.connection.dbapi_connection
    if isinstance(driver, Transacting):
        put_off(conn, driver, statement, values)
    else:
        conn.exec_driver_sql(statement, values)


_LOCK = prepared("select count(pg_advisory_xact_lock(k)) from unnest(%s::bigint[]) as k")
_LOCK_NAME = prepared("select pg_advisory_xact_lock(hashtextextended(%s::text, 0))")


def lock(conn: sa.Connection, keys: Sequence[int]) -> None:
    """Hold these keys (sorted) until the transaction ends, from its next statement on."""
    if keys and not is_sqlite(conn):
        later(conn, _LOCK, array(keys))


def lock_name(conn: sa.Connection, name: str) -> None:
    """Hold this name until the transaction ends, from its next statement on."""
    if not is_sqlite(conn):
        later(conn, _LOCK_NAME, name)


def try_lock_name(conn: sa.Connection, name: str) -> bool:
    """Hold this name until the transaction ends; False where another transaction holds it."""
    if is_sqlite(conn):
        return True
    query = sa.text("select pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
    return bool(conn.execute(query, {"name": name}).scalar_one())


def lock_for_migration(conn: sa.Connection) -> dict[str, Any]:
    """Let one process migrate at a time; returns what Alembic's `configure` must know."""
    if is_sqlite(conn):
        # Its transaction is the lock: it holds DDL too, once the driver does not commit before each of it.
        conn.execution_options(writes=True)
        return {"transactional_ddl": True}
    conn.execute(sa.text("select pg_advisory_lock(hashtextextended('alembic', 0))"))
    conn.commit()
    return {}


def insert(conn: sa.Connection, table: sa.Table) -> Any:
    """An insert that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return sqlite.insert(table) if is_sqlite(conn) else pg.insert(table)


def array(values: Iterable[Any]) -> str:
    """An array of ids (uuid or bigint) as PostgreSQL reads it, for a `%s` that is cast to its type."""
    return f"{{{','.join(map(str, values))}}}"


def among(conn: sa.Connection, column: sa.Column[Any], values: Collection[Any]) -> sa.ColumnElement[bool]:
    """Whether the column (of ids: uuid or bigint) holds one of `values`: one statement text, whatever their number."""
    if is_sqlite(conn):
        return column.in_(values)
    return column == sa.any_(sa.cast(list(values), _array(column)))


def _array(column: sa.Column[Any]) -> Any:
    return _UUIDS if isinstance(column.type, sa.Uuid) else _BIGINTS


class Rows:
    """Writes rows of a table, of these columns; where `key` is there already, replaces the row or leaves it.

    On PostgreSQL they travel as one JSON parameter: one statement text whatever their number, parsed once. `plain`
    makes JSON of what json cannot. `kept`: columns of which a row that is replaced keeps its own. A row whose column
    `unless` is not null is not replaced.
    """

    def __init__(
        self, table: sa.Table, names: Sequence[str], *, key: str, replace: bool, plain: Callable[[Any], str] = str,
        kept: Collection[str] = (), unless: str | None = None,
    ) -> None:  # fmt: skip
        self._table, self._key, self._plain = table, key, plain
        self._replaced = [name for name in names if name != key and name not in kept] if replace else []
        self._unless = None if unless is None else table.c[unless]
        columns = ", ".join(names)
        taken = ", ".join(f"{name} = excluded.{name}" for name in self._replaced)
        self._postgres = prepared(
            f"insert into {table.name} ({columns})"
            f" select {columns} from jsonb_populate_recordset(null::{table.name}, %s::jsonb)"
            f" on conflict ({key}) do {f'update set {taken}' if replace else 'nothing'}"
            f"{f' where {table.name}.{unless} is null' if unless else ''}"
        )

    def write(self, conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write them all, by the next statement (see `later`)."""
        if not is_sqlite(conn):
            later(conn, self._postgres, to_json(rows, fallback=self._plain).decode())
        elif rows:
            conn.execute(self._sqlite(), [dict(row) for row in rows])

    def _sqlite(self) -> Any:
        statement = sqlite.insert(self._table)
        if not self._replaced:
            return statement.on_conflict_do_nothing(index_elements=[self._key])
        taken = {name: statement.excluded[name] for name in self._replaced}
        where = None if self._unless is None else self._unless.is_(None)
        return statement.on_conflict_do_update(index_elements=[self._key], set_=taken, where=where)


# SQLSTATE: connection exceptions, insufficient resources, operator intervention, a standby where the primary was, a
# transaction that the server ended because it had heard nothing of us, and what two transactions did to each other.
# Cancelled statements (57014) are not among them: they may be to blame.
_PASSING = ("08", "53", "57P", READ_ONLY, "25P03", "40001", "40P01")
_PASSING_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_NOMEM")


def is_passing(error: sa.exc.DBAPIError) -> bool:
    """Whether the database is away, or so full or busy that the same work may well go through a moment later."""
    code = getattr(error.orig, "pgcode", None)
    if code is not None:
        return str(code).startswith(_PASSING)
    name = getattr(error.orig, "sqlite_errorname", None)
    if name is not None:
        return str(name).startswith(_PASSING_SQLITE)
    return error.connection_invalidated or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
