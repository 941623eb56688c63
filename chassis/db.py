"""The service's one database: transactions that carry outgoing events, and plain reads.

`Store` is nameko-sqlalchemy's `Database` with what our rules add: a pool sized to what may really run at once,
and a transaction after whose commit the outbox relay is woken. It holds no domain knowledge.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa
from nameko_sqlalchemy.database import DB_URIS_KEY, Database, DatabaseWrapper, Session
from sqlalchemy.orm import sessionmaker

from chassis import clock, connection, dialect, outbox, tracing
from chassis.models import ChassisTables, chassis_tables
from chassis.patience import ANSWER_TIMEOUT_S
from chassis.settings import merged
from chassis.straight import Message, Straight, straight_of
from chassis.wake import Wakes, wakes


class OutgoingEvent(Protocol):
    """What the outbox needs to know of an event."""

    @property
    def event_id(self) -> uuid.UUID: ...
    @property
    def order_id(self) -> uuid.UUID: ...
    @property
    def event_type(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    def encode(self) -> bytes: ...


class Tx:
    """One local transaction: changes and the events they cause commit together, or not at all."""

    def __init__(
        self, conn: sa.Connection, tables: ChassisTables, exchange: str, now: datetime | None = None
    ) -> None:
        self.conn = conn
        self.tables = tables
        self.now: datetime = now or clock.utc_now()
        self.began = time.monotonic()
        """The same moment as this process counts. What is dated by it may have waited for locks since."""
        self.exchange = exchange
        self._wake: set[str] = set()
        self._after_commit: list[Callable[[], None]] = []
        self._to_publish: list[Message] = []

    def new_id(self) -> uuid.UUID:
        """A fresh UUIDv7."""
        return clock.new_uuid7()

    def envelope(
        self, order_id: uuid.UUID, causation_id: uuid.UUID | None = None, traceparent: str | None = None
    ) -> dict[str, Any]:
        """The envelope of an event caused here, as keyword arguments for the event's constructor.

        `traceparent` is the running span's where none is given.
        """
        return {
            "event_id": self.new_id(),
            "occurred_at": self.now,
            "order_id": order_id,
            "causation_id": causation_id,
            "traceparent": traceparent or tracing.current_traceparent(),
        }

    def emit(self, events: Sequence[OutgoingEvent]) -> None:
        """Put `events` into the outbox, in this order; the relay publishes them after the commit."""
        if not events:
            return
        outbox.add(self, self.exchange, events)
        self.wake(outbox.RELAY)

    def publish(self, messages: Sequence[Message]) -> None:
        """Hand these to the relay once this transaction has committed; they are in the outbox, none of their orders'
        before them."""
        self._to_publish.extend(messages)

    def later(self, statement: str, *values: Any) -> None:
        """Run a statement of PostgreSQL's, with `%s` for its values, whose answer nobody needs.

        It travels with the next one, or with the commit, and fails where that does.
        """
        dialect.later(self.conn, statement, *values)

    def lock(self, order_ids: Iterable[uuid.UUID]) -> None:
        """Hold these orders until the transaction ends, also those that have no row yet.

        A row lock cannot hold what is not there: a request and the cancel of the same order, handled at the same
        moment, would both find nothing. Sorted, so that two batches never wait for each other in a circle.
        """
        keys = sorted({_lock_key(order_id) for order_id in order_ids})
        if keys:
            dialect.lock(self.conn, keys)

    def wake(self, name: str) -> None:
        """Wake the loop of that name once this transaction has committed."""
        self._wake.add(name)

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` once this transaction has committed; it must not raise and must not matter if lost."""
        self._after_commit.append(action)

    def committed(self, wake: Wakes, straight: Straight) -> None:
        """Called by the store right after the commit."""
        if self._to_publish:
            straight.put(self._to_publish)
            wake.wake(outbox.RELAY)
        for name in self._wake:
            wake.wake(name)
        for action in self._after_commit:
            action()


def _lock_key(order_id: uuid.UUID) -> int:
    """The last 64 bits of a UUIDv7 are random: a good lock key, as a signed bigint."""
    return int.from_bytes(order_id.bytes[8:], "big", signed=True)


class StoreSession(DatabaseWrapper):
    """What a worker gets: transactions, reads, and an ORM session for screens."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.Session)
        self._store = store

    def transaction(self) -> AbstractContextManager[Tx]:
        """One transaction; commits when the block ends, rolls back when it raises."""
        return self._store.transaction()

    def single(self) -> AbstractContextManager[Tx]:
        """A transaction of one question (PostgreSQL): it has committed when its one statement is answered.

        What was put off before it (`lock`, `later`) is part of the transaction, nothing after it is.
        """
        return self._store.single()

    def now(self, conn: sa.Connection) -> datetime:
        """The present moment as transactions have it."""
        return self._store.now(conn)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for reading: each statement sees what is committed by then."""
        with self._store.reading.connect() as conn:
            yield conn


class Store(Database):
    """Dependency provider.

    Settings: `DB_URIS`, `DB_POOL_SIZE`, `DB_ANSWER_TIMEOUT_S`, `EVENTS_EXCHANGE`, `DATABASE_CLOCK`.

    With DATABASE_CLOCK, times in transactions are the database's: leases, due times and claims mean the same to all
    processes of a service, on machines whose clocks do not agree.
    """

    engine: sa.Engine
    tables: ChassisTables

    def setup(self) -> None:
        config = merged(self.container.config)
        name = self.container.service_name
        uri = config[DB_URIS_KEY][f"{name}:{self.declarative_base.__name__}"]
        patience_s = float(config.get("DB_ANSWER_TIMEOUT_S", ANSWER_TIMEOUT_S))
        self.engine = dialect.make_engine(uri, name, int(config["DB_POOL_SIZE"]), patience_s, **self.engine_options)
        self.reading = dialect.reading(self.engine)
        self.Session = sessionmaker(bind=self.engine, class_=Session, **self.session_options)
        self.tables = chassis_tables(self.declarative_base.metadata)
        self.exchange = str(config["EVENTS_EXCHANGE"])
        self.wakes, self.straight = wakes(self.container), straight_of(self.container)
        by_database = bool(config.get("DATABASE_CLOCK", True))
        self._clock = clock.SharedClock[sa.Connection](dialect.now if by_database else lambda conn: None)

    def now(self, conn: sa.Connection) -> datetime:
        """The present moment as transactions have it."""
        return self._clock.now(conn)

    def transaction(self) -> AbstractContextManager[Tx]:
        """One transaction, for extensions that have no worker."""
        return self._within(dialect.transaction(self.engine))

    def single(self) -> AbstractContextManager[Tx]:
        """See StoreSession."""
        return self._within(connection.single(self.engine))

    @contextmanager
    def _within(self, opened: AbstractContextManager[sa.Connection]) -> Iterator[Tx]:
        with opened as conn:
            tx = Tx(conn, self.tables, self.exchange, self.now(conn))
            yield tx
        tx.committed(self.wakes, self.straight)

    def stop(self) -> None:
        """Close idle connections. The engine stays: the relay may still be publishing what the last commits left."""
        self.engine.dispose()

    kill = stop

    def get_dependency(self, worker_ctx: Any) -> StoreSession:
        session = StoreSession(self)
        self.dbs[worker_ctx] = session
        return session


def is_passing(error: BaseException | None) -> bool:
    """Whether the database is away, or so full or busy that the same work may well go through a moment later.

    Says nothing against the work itself; a message whose handling failed like that has not used up an attempt.
    """
    if isinstance(error, sa.exc.TimeoutError):
        return True
    return isinstance(error, sa.exc.DBAPIError) and dialect.is_passing(error)


def store_of(container: Any) -> Store:
    """The container's store; chassis extensions that need the database share the service's."""
    for extension in container.dependencies:
        if isinstance(extension, Store):
            return extension
    raise LookupError(f"service {container.service_name!r} declares no Store")
