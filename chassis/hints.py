"""Tells listeners that something has changed. A hint only: what cannot be sent now is dropped, nobody waits.

Publishes on a connection of its own, in a greenlet of its own, from a bounded queue: a broker that is away or
frozen never holds up the handler that made the change. What comes within `TOGETHER_S` goes into one message.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Protocol

import eventlet
from eventlet.queue import Full, LightQueue
from nameko.extensions import DependencyProvider

from chassis import metrics
from chassis.amqp import Link, LinkDown, Session
from chassis.amqp_session import declare_exchange
from chassis.settings import merged

log = logging.getLogger(__name__)

WAITING_MAX = 200
"""Batches of hints that may wait."""
TOGETHER_MAX = 500
"""Hints in one message, at least where a batch is not larger itself."""
TOGETHER_S = 0.05
"""No person notices it. An order that goes through is one message, and none is sent while it is on its way."""


class Hint(Protocol):
    """What can be announced."""

    def encode(self) -> bytes:
        """The body of its message."""


class Hints(DependencyProvider):
    """`self.hints.announce(hints)`: call it after the commit (`tx.after_commit`). Settings: `AMQP_URI`, `HEARTBEAT`.

    exchange: a durable fanout exchange, declared here.
    """

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange

    def setup(self) -> None:
        config = merged(self.container.config)
        self._dropped = metrics.HINTS_DROPPED.labels(self.container.service_name)
        self._waiting: LightQueue = LightQueue(WAITING_MAX)
        self._link = Link.of(
            config,
            f"{self.container.service_name}-hints",
            on_session=self._declare,
            confirms=False,  # Nobody waits for them; one that is lost is not missed.
        )

    def start(self) -> None:
        self._link.start(self.container.spawn_managed_thread)
        self._gt = self.container.spawn_managed_thread(self._run, identifier="hints")

    def stop(self) -> None:
        """Drop what still waits: a listener that cares reads what it shows."""
        self._gt.kill()
        self._link.stop()

    def get_dependency(self, worker_ctx: Any) -> Hints:
        return self

    @property
    def connected(self) -> bool:
        """Whether hints can be sent at this moment."""
        return self._link.connected

    def announce(self, hints: Iterable[Hint]) -> None:
        """Queue hints for publishing; returns at once and never raises."""
        batch = list(hints)
        if not batch:
            return
        try:
            self._waiting.put_nowait(batch)
        except Full:
            self._dropped.inc(len(batch))
            log.warning("dropped %d change hint(s): too many are waiting", len(batch))

    def _run(self) -> None:
        while True:
            hints = self._waiting.get()
            eventlet.sleep(TOGETHER_S)
            while len(hints) < TOGETHER_MAX and self._waiting.qsize():
                hints = hints + self._waiting.get_nowait()
            self.publish(hints)

    def publish(self, hints: list[Hint]) -> None:
        """Send hints now, as one message, or drop and count them where they cannot be sent."""
        encoded = [hint.encode() for hint in hints]
        body = encoded[0] if len(encoded) == 1 else b"[%s]" % b",".join(encoded)
        try:
            self._link.publish(body, self.exchange, "", content_type="application/json", delivery_mode=1)
        except LinkDown as exc:
            self._dropped.inc(len(hints))
            log.warning("dropped %d change hint(s): %s", len(hints), exc)

    def _declare(self, session: Session) -> None:
        declare_exchange(session.channel, self.exchange, "fanout")
