"""Tells listeners that pages have changed. A hint only: what cannot be sent now is dropped, nobody waits.

Publishes on a connection of its own, in a greenlet of its own, from a bounded queue: a broker that is away or
frozen never holds up the handler that folded the page.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from eventlet.queue import Full, LightQueue
from nameko.extensions import DependencyProvider
from prometheus_client import Counter

from chassis.amqp import Link, LinkDown, Session
from chassis.settings import merged
from contracts.changes import EXCHANGE, OrderChanged

log = logging.getLogger(__name__)

WAITING_MAX = 200
"""Batches of hints that may wait."""

DROPPED = Counter("mypage_change_hints_dropped_total", "Change hints that were not sent to the gateways")


class Changes(DependencyProvider):
    """`self.changes.announce(hints)`: call it after the commit. Settings: `AMQP_URI`, `HEARTBEAT`."""

    def setup(self) -> None:
        config = merged(self.container.config)
        self._waiting: LightQueue = LightQueue(WAITING_MAX)
        self._link = Link(
            config["AMQP_URI"],
            "mypage-changes",
            on_session=_declare,
            heartbeat_s=int(config.get("HEARTBEAT", 10)),
        )

    def start(self) -> None:
        self._link.start(self.container.spawn_managed_thread)
        self._gt = self.container.spawn_managed_thread(self._run, identifier="mypage-changes")

    def stop(self) -> None:
        """Drop what still waits: a listener that cares reads the page."""
        self._gt.kill()
        self._link.stop()

    def get_dependency(self, worker_ctx: Any) -> Changes:
        return self

    @property
    def connected(self) -> bool:
        """Whether hints can be sent at this moment."""
        return self._link.connected

    def announce(self, hints: Iterable[OrderChanged]) -> None:
        """Queue hints for publishing; returns at once and never raises."""
        batch = list(hints)
        try:
            self._waiting.put_nowait(batch)
        except Full:
            DROPPED.inc(len(batch))
            log.warning("dropped %d change hint(s): too many are waiting", len(batch))

    def _run(self) -> None:
        while True:
            self.publish(self._waiting.get())

    def publish(self, batch: list[OrderChanged]) -> None:
        """Send hints now, or drop and count those that cannot be sent."""
        for done, hint in enumerate(batch):
            try:
                self._link.publish(hint.encode(), EXCHANGE, "", content_type="application/json", delivery_mode=1)
            except LinkDown as exc:
                DROPPED.inc(len(batch) - done)
                log.warning("dropped %d change hint(s): %s", len(batch) - done, exc)
                return


def _declare(session: Session) -> None:
    session.channel.exchange_declare(EXCHANGE, "fanout", durable=True, auto_delete=False)
