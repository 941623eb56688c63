"""Listens for hints that something has changed, and wakes the streams that show it.

A hint is not the change: who is woken reads anew. Each gateway process has a queue of its own, so a lost
connection loses hints; every stream is woken when it is back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eventlet import Timeout
from eventlet.event import Event
from nameko.extensions import DependencyProvider
from prometheus_client import Gauge

from chassis.amqp import Link, Session
from chassis.amqp_session import declare_exchange
from chassis.logging import get_logger
from chassis.settings import merged
from contracts.changes import EXCHANGE, Change, Topic

MAX_HINTS = 10_000

Interest = tuple[Topic, str | None]
"""A topic and a key of it (`contracts.changes.Change`); None is every key."""

STREAMS = Gauge("gateway_streams_open", "Streams that clients hold open")

_log = get_logger(__name__)


class Subscription:
    """One stream's place on the board."""

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
    """Who is interested in what."""

    def __init__(self) -> None:
        self._interested: dict[Interest, set[Subscription]] = defaultdict(set)
        self._open: set[Subscription] = set()

    @contextmanager
    def subscribe(self, *interests: Interest) -> Iterator[Subscription]:
        """One subscription to all of `interests`, for as long as the block runs."""
        subscription = Subscription()
        self._open.add(subscription)
        for interest in interests:
            self._interested[interest].add(subscription)
        try:
            yield subscription
        finally:
            self._open.discard(subscription)
            for interest in interests:
                self._interested[interest].discard(subscription)
                if not self._interested[interest]:
                    del self._interested[interest]

    def changed(self, topic: Topic, key: str) -> None:
        """Wake those who follow this key, or every key, of the topic."""
        for interest in ((topic, key), (topic, None)):
            for subscription in list(self._interested.get(interest, ())):
                subscription.wake()

    def wake_all(self) -> None:
        """Wake every stream: hints may have been lost."""
        for subscription in list(self._open):
            subscription.wake()

    def __len__(self) -> int:
        """How many subscriptions stand."""
        return len(self._open)


class Changes(DependencyProvider):
    """`self.changes` is the `Board`. Settings: `AMQP_URI`, `HEARTBEAT`."""

    def setup(self) -> None:
        config = merged(self.container.config)
        self.board = Board()
        STREAMS.set_function(lambda: len(self.board))
        self._link = Link.of(
            config,
            "gateway-changes",
            on_session=self._listen,
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
        declare_exchange(channel, EXCHANGE, "fanout")
        arguments = {"x-max-length": MAX_HINTS, "x-overflow": "drop-head"}
        queue = channel.queue_declare("", exclusive=True, auto_delete=True, arguments=arguments).queue
        channel.queue_bind(queue, EXCHANGE)
        channel.basic_consume(queue, no_ack=True, callback=self._hint)
        self.board.wake_all()

    def _hint(self, message: Any) -> None:
        body = message.body
        try:
            hint = Change.decode(body if isinstance(body, bytes) else str(body).encode())
        except ValueError as exc:
            _log.warning("a change hint cannot be read", why=str(exc))
            return
        self.board.changed(hint.topic, hint.key)
