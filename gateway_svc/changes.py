"""Listens for hints that something has changed, and wakes the streams that show it.

A hint is not the change: who is woken reads anew. Each gateway process has a queue of its own, so a lost
connection loses hints; every stream is woken when it is back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from eventlet import Timeout
from eventlet.event import Event
from nameko.extensions import DependencyProvider

from chassis.amqp import Link, Session
from chassis.amqp_session import declare_exchange
from chassis.logging import get_logger
from chassis.settings import merged
from contracts.changes import EXCHANGE, Topic, decode_all

MAX_MESSAGES, MAX_BYTES = 10_000, 4_000_000
"""Of hints that wait for this process."""

Interest = tuple[Topic, str | None]
"""A topic and a key of it (`contracts.changes.Change`); None is every key."""

_log = get_logger(__name__)


class Listener(Protocol):
    """Who wants to know of changes."""

    def wake(self) -> None:
        """Something may have changed. Returns at once."""


class Subscription:
    """A listener that can be waited for."""

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
        self._interested: dict[Interest, set[Listener]] = defaultdict(set)
        self._listening: set[Listener] = set()

    def add(self, listener: Listener, *interests: Interest) -> None:
        """Wake this listener from now on."""
        self._listening.add(listener)
        for interest in interests:
            self._interested[interest].add(listener)

    def remove(self, listener: Listener, *interests: Interest) -> None:
        """Wake it no more; the same interests as it was added with."""
        self._listening.discard(listener)
        for interest in interests:
            self._interested[interest].discard(listener)
            if not self._interested[interest]:
                del self._interested[interest]

    @contextmanager
    def subscribe(self, *interests: Interest) -> Iterator[Subscription]:
        """One subscription to all of `interests`, for as long as the block runs."""
        subscription = Subscription()
        self.add(subscription, *interests)
        try:
            yield subscription
        finally:
            self.remove(subscription, *interests)

    def changed(self, topic: Topic, key: str) -> None:
        """Wake those who follow this key, or every key, of the topic."""
        for interest in ((topic, key), (topic, None)):
            for listener in list(self._interested.get(interest, ())):
                listener.wake()

    def wake_all(self) -> None:
        """Wake everybody: hints may have been lost."""
        for listener in list(self._listening):
            listener.wake()

    def __len__(self) -> int:
        """How many listeners there are."""
        return len(self._listening)


class Changes(DependencyProvider):
    """`self.changes` is the `Board`. Settings: `AMQP_URI`, `HEARTBEAT`."""

    def setup(self) -> None:
        config = merged(self.container.config)
        self.board = Board()
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
        arguments = {"x-max-length": MAX_MESSAGES, "x-max-length-bytes": MAX_BYTES, "x-overflow": "drop-head"}
        queue = channel.queue_declare("", exclusive=True, auto_delete=True, arguments=arguments).queue
        channel.queue_bind(queue, EXCHANGE)
        channel.basic_consume(queue, no_ack=True, callback=self._hint)
        self.board.wake_all()

    def _hint(self, message: Any) -> None:
        body = message.body
        try:
            hints = decode_all(body if isinstance(body, bytes) else str(body).encode())
        except ValueError as exc:
            _log.warning("a change hint cannot be read", why=str(exc))
            return
        for hint in hints:
            self.board.changed(hint.topic, hint.key)


def board_of(container: Any) -> Board:
    """The container's board, for extensions that listen as well."""
    return next(extension.board for extension in container.dependencies if isinstance(extension, Changes))
