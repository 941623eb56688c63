"""The shell around every state machine: lock, inbox, load, decide, store, outbox. Written once.

A service gives its pure parts (table, row, evolve, event); this gives them a database. A batch asks it twice, whatever
its size: lock, inbox and load travel together, and so do store, outbox and commit. Where nothing need be loaded, once
is enough (`add`, `swap`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import sqlalchemy as sa
from pydantic_core import to_json

from chassis import dialect, inbox, metrics, outbox, tracing
from chassis.connection import prepared
from chassis.db import OutgoingEvent, Tx
from chassis.dialect import Rows
from chassis.table import Table


class Message(Protocol):
    """What moves a state machine: an event or a command."""

    @property
    def order_id(self) -> uuid.UUID: ...
    @property
    def trigger(self) -> str: ...
    @property
    def message_id(self) -> str | None: ...


class Row(Protocol):
    """The state of one order in one service: a frozen dataclass whose fields are the table's columns."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def order_id(self) -> uuid.UUID: ...
    @property
    def state(self) -> str: ...


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Step(Generic[R]):
    """One message and what it did: the row before and after; `ignored` where it changed nothing."""

    message: Any
    before: R
    after: R
    ignored: bool


class Saga(Generic[R]):
    """One service's state machine on its table."""

    def __init__(
        self,
        table: Table,
        row_type: type[R],
        sql_table: sa.Table,
        *,
        evolve: Callable[[R, Any, datetime], R],
        event: Callable[[str, R, Any, dict[str, Any]], OutgoingEvent],
        lock_rows: bool = False,
        guard: Sequence[str] = (),
        beside: str = "",
    ) -> None:
        """`lock_rows`: others change the rows too, without `Tx.lock`; a loaded row is then theirs only after commit.

        `guard`: columns of which one changes whenever a row does, for `swap`. `beside`: a query for one value, which
        `receive_beside` asks too.
        """
        self.table = table
        self._row_type = row_type
        self._sql = sql_table
        self._evolve = evolve
        self._event = event
        self._columns = [field.name for field in fields(row_type)]
        columns, nulls = ", ".join(self._columns), ", ".join("null" for _ in self._columns)
        self._rows = Rows(
            sql_table, [*self._columns, "created_at", "updated_at"], key="order_id", replace=True, plain=_plain,
            kept=("created_at",),
        )  # fmt: skip
        locked = " for update" if lock_rows else ""
        self._load = prepared(f"select {columns} from {sql_table.name} where order_id = any(%s::uuid[]){locked}")
        # Both in one question: a row that says which messages are new, then those of the table.
        self._claim_and_load = prepared(
            f"with claimed as ({inbox.CLAIM}), known as ({self._load})"
            f" select array_agg(message_id), {f'({beside})' if beside else 'null'}, {nulls} from claimed"
            f" union all select null, null, {columns} from known"
        )
        self._guard = ("order_id", *guard)
        self._add = _adding(sql_table.name, [*self._columns, "created_at", "updated_at"])
        self._swap = _swapping(sql_table.name, [*self._columns, "updated_at"], guard) if guard else ""

    def handle(self, tx: Tx, messages: Sequence[Message]) -> list[Step[R]]:
        """Let messages that are new take effect, in order; those seen before are skipped."""
        fresh, rows = self.receive(tx, messages)
        steps, changed = self.decide(tx, rows, fresh)
        self.store(tx, list(changed.values()))
        return steps

    def receive(self, tx: Tx, messages: Sequence[Message]) -> tuple[list[Message], dict[uuid.UUID, R]]:
        """Lock the orders of these messages. The messages that are new, in order, and the orders' rows.

        A message counts as seen from this transaction on.
        """
        return self.receive_beside(tx, messages)[:2]

    def receive_beside(
        self, tx: Tx, messages: Sequence[Message], *values: Any, lock: str = ""
    ) -> tuple[list[Message], dict[uuid.UUID, R], Any]:
        """The same, and the answer to the question `beside` with these values, which travels along.

        `lock`: a statement for what that question needs to be held, once the orders are.
        """
        ids = dialect.array(dict.fromkeys(message.message_id for message in messages))
        wanted = _order_ids(messages)
        tx.lock(wanted)
        if lock:
            tx.later(lock)
        asked = (tx.now, ids, dialect.array(wanted), *values)
        first, *found = tx.conn.exec_driver_sql(self._claim_and_load, asked)
        fresh = {str(message_id) for message_id in first[0] or ()}
        metrics.INBOX_DUPLICATES.labels(self.table.name).inc(len(messages) - len(fresh))
        todo = []
        for message in messages:
            if str(message.message_id) in fresh:
                fresh.discard(str(message.message_id))
                todo.append(message)
        return todo, self._known(wanted, (row[2:] for row in found)), first[1]

    def command(self, tx: Tx, command: Message) -> Step[R]:
        """Let one command take effect; raises chassis.table.Refused where the state does not allow it."""
        return self.commands(tx, [command])[0]

    def commands(self, tx: Tx, commands: Sequence[Message]) -> list[Step[R]]:
        """Let several commands take effect, in order; the first refusal undoes all of them."""
        if not commands:
            return []
        steps, changed = self.decide(tx, self.load(tx, _order_ids(commands)), commands)
        self.store(tx, list(changed.values()))
        return steps

    def load(self, tx: Tx, order_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, R]:
        """Lock these orders and return their rows; an order not heard of is a row in state NONE."""
        wanted = list(dict.fromkeys(order_ids))
        tx.lock(wanted)
        return self._known(wanted, tx.conn.exec_driver_sql(self._load, (dialect.array(wanted),)))

    def store(self, tx: Tx, rows: Sequence[R]) -> None:
        """Write rows in one statement, new ones and changed ones alike."""
        if rows:
            self._rows.write(tx.conn, self._new(tx, rows))

    def add(self, tx: Tx, rows: Sequence[R], events: Sequence[OutgoingEvent]) -> set[uuid.UUID]:
        """Write rows of orders that may have one already, where they have none; return the orders of those written.

        A row that would break any other rule of uniqueness of the table's is not written either. Of the others nothing
        is, and none of their events goes to the outbox. `rows`: one for each order; the caller holds them (`Tx.lock`).
        One question, so that it may be all that a transaction asks (`StoreSession.single`).
        """
        return self._write(tx, self._add, [_as_json(self._new(tx, rows))], events) if rows else set()

    def swap(
        self, tx: Tx, known: Sequence[R], rows: Sequence[R], events: Sequence[OutgoingEvent]
    ) -> set[uuid.UUID]:
        """Write rows that nobody loaded here, each where its `guard` is as `known` has it; return the orders of those.

        Of the others nothing is written, and none of their events goes to the outbox. One question, so that it may be
        all that a transaction asks (`StoreSession.single`).
        """
        if not rows:
            return set()
        order_ids = [row.order_id for row in rows]
        tx.lock(order_ids)
        at = {"updated_at": tx.now}
        changed = _as_json([{name: getattr(row, name) for name in self._columns} | at for row in rows])
        before = _as_json([{name: getattr(row, name) for name in self._guard} for row in known])
        return self._write(tx, self._swap, [changed, before, dialect.array(order_ids)], events)

    def _write(
        self, tx: Tx, statement: str, values: Sequence[Any], events: Sequence[OutgoingEvent]
    ) -> set[uuid.UUID]:
        asked = (*values, *outbox.saying_of(tx, events))
        return outbox.told(tx, events, tx.conn.exec_driver_sql(statement, asked).all())

    def _new(self, tx: Tx, rows: Iterable[R]) -> list[dict[str, Any]]:
        at = {"created_at": tx.now, "updated_at": tx.now}
        return [{name: getattr(row, name) for name in self._columns} | at for row in rows]

    def _known(self, wanted: Iterable[uuid.UUID], found: Iterable[Sequence[Any]]) -> dict[uuid.UUID, R]:
        new: Callable[..., R] = self._row_type
        rows = {row.order_id: row for row in (new(*values) for values in found)}
        return {order_id: rows.get(order_id) or new(order_id=order_id) for order_id in wanted}

    def decide(
        self, tx: Tx, loaded: Mapping[uuid.UUID, R], messages: Sequence[Message]
    ) -> tuple[list[Step[R]], dict[uuid.UUID, R]]:
        """Let messages take effect on loaded rows, in order. Returns the steps, and the changed rows, to be stored."""
        steps, changed, events = self.effects(tx, loaded, messages)
        tx.emit(events)
        return steps, changed

    def effects(
        self, tx: Tx, loaded: Mapping[uuid.UUID, R], messages: Sequence[Message]
    ) -> tuple[list[Step[R]], dict[uuid.UUID, R], list[OutgoingEvent]]:
        """The same, and the events that are to go to the outbox with the changed rows."""
        rows = dict(loaded)
        steps: list[Step[R]] = []
        events: list[OutgoingEvent] = []
        changed: dict[uuid.UUID, R] = {}
        for message in messages:
            step, caused = self._step(tx, rows[message.order_id], message)
            steps.append(step)
            events.extend(caused)
            if not step.ignored:
                rows[message.order_id] = changed[message.order_id] = step.after
        return steps, changed, events

    def _step(self, tx: Tx, before: R, message: Message) -> tuple[Step[R], list[OutgoingEvent]]:
        transition = self.table.decide(before.state, message.trigger)
        if transition.ignored:
            return Step(message, before, before, True), []
        evolved: Any = self._evolve(before, message, tx.now)
        after: R = replace(evolved, state=transition.to)
        return Step(message, before, after, False), self._events(tx, transition.emits, after, message)

    def _events(self, tx: Tx, names: Sequence[str], row: R, message: Message) -> list[OutgoingEvent]:
        if not names:
            return []
        cause = uuid.UUID(message.message_id) if message.message_id else None
        # A batch holds messages of many orders; what it causes for one order carries on that order's own trace.
        # A worker's own outcome has none: there the row says which.
        known = getattr(message, "traceparent", None) or getattr(row, "traceparent", None)
        trace = tracing.carried_on(known, f"{self.table.name} {message.trigger}")
        return [self._event(name, row, message, tx.envelope(message.order_id, cause, trace)) for name in names]


def _order_ids(messages: Iterable[Message]) -> list[uuid.UUID]:
    return list(dict.fromkeys(message.order_id for message in messages))


def _adding(table: str, columns: Sequence[str]) -> str:
    """Takes the new rows as JSON, and what `outbox.saying` takes."""
    names = ", ".join(columns)
    return outbox.saying(
        f"insert into {table} ({names}) select {names} from jsonb_populate_recordset(null::{table}, %s::jsonb)"
        f" on conflict do nothing returning {table}.order_id"
    )


def _swapping(table: str, columns: Sequence[str], guard: Sequence[str]) -> str:
    """Takes the changed rows and what is known of them, both as JSON, their orders, and what `outbox.saying` takes."""
    taken = ", ".join(f"{name} = changed.{name}" for name in columns if name != "order_id")
    of_now, of_known = (", ".join(f"{row}.{name}" for name in guard) for row in (table, "known"))
    return outbox.saying(
        f"update {table} set {taken}"
        f" from jsonb_populate_recordset(null::{table}, %s::jsonb) as changed"
        f" join jsonb_populate_recordset(null::{table}, %s::jsonb) as known using (order_id)"
        # Said twice, so that the rows are looked up whatever the size of the table when this was planned.
        f" where {table}.order_id = any(%s::uuid[]) and {table}.order_id = changed.order_id"
        f" and ({of_now}) is not distinct from ({of_known}) returning {table}.order_id"
    )


def _as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    return to_json(rows, fallback=_plain).decode()


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
