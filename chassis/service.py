"""What every service offers its operators: health, logs, traces, and the same eight RPC methods.

A service subclasses `OperatedService` and declares `name` and, where it has a database, `store`. Services with a
store also get the outbox relay, the pruner and the RPC methods; one without (it must start while the broker is down)
does not.
"""

from __future__ import annotations

import logging as stdlib_logging
import math
import types
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import eventlet
import sqlalchemy as sa
from kombu import Queue
from kombu.exceptions import KombuError, OperationalError

from chassis import broker, clock, inbox, outbox, parking, pruned
from chassis import logging as chassis_logging
from chassis.health import HealthEndpoints
from chassis.logging import Logging, get_logger
from chassis.prune_rules import INBOX, OUTBOX, Rule
from chassis.pruning import Pruner
from chassis.relay import OutboxRelay
from chassis.republish import Republisher
from chassis.rpc_server import rpc
from chassis.settings import Settings
from chassis.tracing import Tracing

BROKER_TIMEOUT_S = 2.0
MAX_PAGE = 200
MAX_IDS = 1000
OPERATIONS = (
    "overview", "list_parked", "replay_parked", "drop_parked", "republish_events", "order_messages", "show_pruning",
    "start_pruning",
)

_log = get_logger(__name__)


class Answer(Exception):
    """A domain error raised by the chassis; crosses RPC by its class name, as those of `contracts.errors` do."""

    title = "Error"
    http_status = 500

    def __init__(
        self, detail: str = "", fields: list[dict[str, str]] | None = None, retry_after_s: float | None = None
    ) -> None:
        self.detail, self.fields, self.retry_after_s = detail or self.title, list(fields or []), retry_after_s
        super().__init__(self.detail, self.fields, self.retry_after_s)

    def __str__(self) -> str:
        return self.detail


class NotFound(Answer):
    """There is nothing of that id."""

    title = "Not found"
    http_status = 404


class Invalid(Answer):
    """An argument breaks a rule; `fields` names it."""

    title = "Invalid content"
    http_status = 422


class OperatedService:
    """Base of every service.

    `readiness_ignores`: names of checks that do not make the service unready. `prunes`: which of its own rows may go
    because of their age.
    """

    name: ClassVar[str]
    store: Any
    pruner: Any
    republisher: Any
    prunes: ClassVar[Sequence[Rule]] = ()
    inbox_table: ClassVar[str] = INBOX.table
    readiness_ignores: ClassVar[frozenset[str]] = frozenset()

    settings: Any = Settings()
    logging: Any = Logging()
    tracing: Any = Tracing()
    health: Any = HealthEndpoints()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give the subclass entrypoints of its own.

        They cannot stand on this class: `nameko run` takes every class with entrypoints that a module holds,
        also an imported one, for a service.
        """
        super().__init_subclass__(**kwargs)
        if stdlib_logging.getLogger().handlers and hasattr(cls, "name"):
            chassis_logging.configure(cls.name)  # `nameko run` has set up plain text before it imported us
        if not hasattr(cls, "store"):
            return
        cls.relay = OutboxRelay()  # type: ignore[attr-defined]
        cls.pruner = Pruner(*cls.prunes)
        cls.republisher = Republisher()
        for operation in OPERATIONS:
            if getattr(cls, operation) is getattr(OperatedService, operation):
                setattr(cls, operation, rpc(_copy(getattr(OperatedService, operation))))

    def overview(self) -> dict[str, Any]:
        """How the service is doing, for an operator.

        `{"service", "outbox": {"unsent", "oldest_age_s"}, "parked": int, "breakers": {target: state},
        "queues": {name: {"messages", "consumers"}}, "checks": {name: "ok" | what is wrong}, "info": {...}}`.
        `queues` is None where the broker does not answer within two seconds.
        """
        with self.store.read() as conn:
            waiting, parked = outbox.lag(conn), parking.count(conn)
        injected = vars(self).items()
        return {
            "service": self.name,
            "outbox": waiting,
            "parked": parked,
            "breakers": {
                getattr(dependency, "target", attribute): dependency.breaker_state
                for attribute, dependency in injected
                if hasattr(dependency, "breaker_state")
            },
            "queues": queue_depths(self.settings, self.health.queues),
            "checks": self.health.outcomes("ready"),
            "info": self.health.info(),
        }

    def list_parked(self, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """One page of messages whose handler gave up, oldest first: `{"items": [...], "next_cursor"}`.

        Raises Invalid for a limit outside 1..200 or a cursor that is not ours.
        """
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_PAGE:
            raise _invalid("limit", f"must be a whole number from 1 to {MAX_PAGE}")
        try:
            with self.store.read() as conn:
                return parking.list_parked(conn, limit, cursor)
        except ValueError as error:
            raise _invalid("cursor", str(error)) from error

    def replay_parked(self, message_id: str) -> dict[str, str]:
        """Send a parked message to its handler again. Raises NotFound."""
        with self.store.transaction() as tx:
            if not parking.replay(tx, message_id):
                raise NotFound(f"{self.name} has no parked message {message_id}")
        _log.info("parked_message_replayed", message_id=message_id)
        return {"message_id": message_id, "result": "replayed"}

    def drop_parked(self, message_id: str) -> dict[str, str]:
        """Throw a parked message away for good. Raises NotFound."""
        with self.store.transaction() as tx:
            if not parking.drop(tx, message_id):
                raise NotFound(f"{self.name} has no parked message {message_id}")
        _log.warning("parked_message_dropped", message_id=message_id)
        return {"message_id": message_id, "result": "dropped"}

    def republish_events(self, order_id: str | None = None) -> dict[str, int | bool]:
        """Send this service's events again, of one order or of all. Raises Invalid.

        `{"events": how many, "of_days": n, "goes_on": bool}`: those of the last n days, older ones are not kept; 0
        where all are. `goes_on`: these were the first of all; the others follow, and the log says when it was the last.
        """
        kept_days = math.ceil(float(self.settings[OUTBOX.setting]))
        with self.store.read() as conn:
            since = self.store.now(conn) - timedelta(days=kept_days) if kept_days else None
        if order_id is None:
            count, goes_on = self.republisher.of_all(since)
        else:
            count, goes_on = self.republisher.of_order(_uuid("order_id", order_id), since), False
        _log.warning(
            "events_republished", events=count, of_order=order_id or "all", of_days=kept_days, goes_on=goes_on
        )
        return {"events": count, "of_days": kept_days, "goes_on": goes_on}

    def order_messages(self, order_id: str, message_ids: Sequence[str] = ()) -> dict[str, Any]:
        """The messages of one order at this service, for an operator who asks what happened.

        `{"service", "sent": [{"message_id", "event_type", "at", "sent_at", "causation_id", "traceparent"}],
        "handled": [{"message_id", "at"}], "parked": [...]}`: the newest 200 sent, those of `message_ids` that took
        effect here (what was sent where is the sender's to know), and the oldest 200 parked. `"pruned_before"`:
        `{"sent", "handled"}`, from before which moment some may be gone, or None. Raises Invalid.
        """
        key = _uuid("order_id", order_id)
        if not isinstance(message_ids, list | tuple) or len(message_ids) > MAX_IDS:
            raise _invalid("message_ids", f"must be a list of at most {MAX_IDS} ids")
        keys = [_uuid("message_ids", message_id) for message_id in message_ids]
        with self.store.read() as conn:
            gone = pruned.until(conn)
            sent, handled = gone.get(OUTBOX.table), gone.get(self.inbox_table)
            return {
                "service": self.name,
                "sent": outbox.of_order(conn, key, MAX_PAGE),
                "handled": self.handled_messages(conn, keys) if keys else [],
                "parked": parking.of_order(conn, key, MAX_PAGE),
                "pruned_before": {
                    "sent": sent and clock.rfc3339(sent), "handled": handled and clock.rfc3339(handled),
                },
            }

    def show_pruning(self) -> dict[str, Any]:
        """What the next run of the pruner would delete, table by table: `{"items": [...]}` (see `Pruner.show`)."""
        with self.store.read() as conn:
            return {"items": self.pruner.show(conn)}

    def start_pruning(self) -> dict[str, str]:
        """Prune now instead of within `PRUNE_EVERY_S`; does not wait for it: `{"result": "started"}`."""
        self.pruner.ask()
        _log.info("pruning_asked_for")
        return {"result": "started"}

    def handled_messages(self, conn: sa.Connection, message_ids: Sequence[uuid.UUID]) -> list[dict[str, Any]]:
        """Those of these messages that took effect here, and when. A service with another inbox says so itself."""
        return inbox.handled(conn, message_ids)


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", [{"field": field, "message": message}])


def _uuid(field: str, text: Any) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except (ValueError, TypeError, AttributeError):
        raise _invalid(field, "must be a UUID") from None


def _copy(function: Any) -> Any:
    """A function of its own for each service class: Nameko writes the entrypoint onto the function."""
    copied = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copied.__kwdefaults__, copied.__doc__ = function.__kwdefaults__, function.__doc__
    copied.__annotations__, copied.__qualname__ = dict(function.__annotations__), function.__qualname__
    return copied


def queue_depths(config: dict[str, Any], names: list[str]) -> dict[str, dict[str, int]] | None:
    """Messages and consumers of each queue, over a connection of its own that is dropped, not closed politely."""
    connection = broker.configured(config, connect_timeout=BROKER_TIMEOUT_S)
    depths: dict[str, dict[str, int]] = {}
    limit = eventlet.Timeout(BROKER_TIMEOUT_S)
    try:
        for name in names:
            try:
                found = Queue(name, no_declare=True)(connection.channel()).queue_declare(passive=True)
            except connection.channel_errors:
                continue  # there is no such queue
            depths[name] = {"messages": int(found[1]), "consumers": int(found[2])}
        return depths
    except eventlet.Timeout as raised:
        if raised is not limit:
            raise
        return None
    except (OSError, KombuError, OperationalError, *connection.connection_errors) as error:
        _log.warning("broker_unreachable", error=str(error))
        return None
    finally:
        limit.cancel()
        connection.collect()
