"""Listens for hints that an order's page has changed, and wakes the streams of that order.

A hint is not the change: who is woken reads the page. Each gateway process has a queue of its own, so a lost
connection loses hints; every stream is woken when it is back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from eventlet import Timeout
from eventlet.event import Event
from nameko.extensions import DependencyProvider
from prometheus_client import Gauge

from chassis.amqp import Link, Session
from chassis.logging import get_logger
from chassis.settings import merged
from contracts.changes import EXCHANGE, OrderChanged

MAX_HINTS = 10_000

STREAMS = Gauge("gateway_streams_open", "Streams of order pages that clients hold open")

_log = get_logger(__name__)


class Subscription:
    """One stream's interest in one order."""

    def __init__(self) -> None:
        self._woken = False
        self._event: Event | None = None

    def wake(self) -> None:
        """Something may have changed. A wake-up that comes while nobody waits is kept."""
        self._woken = True
        if self._event is not None and not self._event.ready():
            self._event.send(None)

    def wait(self, timeout_s: float) -> bool:
        """Wait for a wake-up; False after `timeout_s` seconds without one."""
        if not self._woken:
            self._event = Event()
            with Timeout(timeout_s, False):
                self._event.wait()
            self._event = None
        woken, self._woken = self._woken, False
        return woken


class Board:
    """Who is interested in which order."""

    def __init__(self) -> None:
        self._subscriptions: dict[UUID, set[Subscription]] = defaultdict(set)

    @contextmanager
    def subscribe(self, order_id: UUID) -> Iterator[Subscription]:
        """A subscription for as long as the block runs."""
        subscription = Subscription()
        self._subscriptions[order_id].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[order_id].discard(subscription)
            if not self._subscriptions[order_id]:
                del self._subscriptions[order_id]

    def changed(self, order_id: UUID) -> None:
        """Wake the streams of one order."""
        for subscription in list(self._subscriptions.get(order_id, ())):
            subscription.wake()

    def wake_all(self) -> None:
        """Wake every stream: hints may have been lost."""
        for order_id in list(self._subscriptions):
            self.changed(order_id)

    def __len__(self) -> int:
        return sum(len(subscriptions) for subscriptions in self._subscriptions.values())


class Changes(DependencyProvider):
    """`self.changes` is the `Board`. Settings: `AMQP_URI`, `HEARTBEAT`."""

    def setup(self) -> None:
        config = merged(self.container.config)
        self.board = Board()
        STREAMS.set_function(lambda: len(self.board))
        self._link = Link(
            config["AMQP_URI"],
            "gateway-changes",
            on_session=self._listen,
            heartbeat_s=int(config.get("HEARTBEAT", 10)),
        )

    def start(self) -> None:
        """Start connecting; returns at once, also while there is no broker."""
        self._link.start(self.container.spawn_managed_thread)

    def stop(self) -> None:
        self._link.stop()

    def get_dependency(self, worker_ctx: Any) -> Board:
        return self.board

    def _listen(self, session: Session) -> None:
        channel = session.channel
        channel.exchange_declare(EXCHANGE, "fanout", durable=True, auto_delete=False)
        arguments = {"x-max-length": MAX_HINTS, "x-overflow": "drop-head"}
        queue = channel.queue_declare("", exclusive=True, auto_delete=True, arguments=arguments).queue
        channel.queue_bind(queue, EXCHANGE)
        channel.basic_consume(queue, no_ack=True, callback=self._hint)
        self.board.wake_all()

    def _hint(self, message: Any) -> None:
        body = message.body
        try:
            hint = OrderChanged.decode(body if isinstance(body, bytes) else str(body).encode())
        except ValueError as exc:
            _log.warning("a change hint cannot be read", why=str(exc))
            return
        self.board.changed(hint.order_id)
