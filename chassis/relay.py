"""The outbox relay: publishes what commits left in the outbox, in order, and marks it sent when confirmed.

Woken by the commit; a slow timer is the safety net. A message that nobody is bound to counts as an error:
an event that vanishes would stop an order for ever.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import eventlet
import sqlalchemy as sa
from eventlet.event import Event
from nameko.extensions import DependencyProvider

from chassis import clock, metrics, outbox
from chassis.amqp import Link, LinkDown, Outcome
from chassis.db import Store, store_of
from chassis.health import register_check
from chassis.settings import merged
from chassis.wake import wakes

log = logging.getLogger(__name__)

BATCH = 500
CONFIRM_TIMEOUT_S = 15.0
PAUSE_S = (0.2, 5.0)


class OutboxRelay(DependencyProvider):
    """Runs beside the service's workers. Settings: `AMQP_URI`, `RELAY_IDLE_S`, `EVENTS_EXCHANGE`."""

    def setup(self) -> None:
        config = merged(self.container.config)
        self._idle_s = float(config["RELAY_IDLE_S"])
        self._exchange = str(config["EVENTS_EXCHANGE"])
        self._name = self.container.service_name
        self._stopping = False
        self._gt: Any = None
        self._link = Link(
            config["AMQP_URI"],
            f"{self._name}-relay",
            on_session=self._declare,
            heartbeat_s=int(config.get("HEARTBEAT", 10)),
        )
        self._wakes = wakes(self.container)
        register_check(self.container, "relay", ready=lambda: self._link.connected)

    def start(self) -> None:
        self._store: Store = store_of(self.container)
        self._link.start(self.container.spawn_managed_thread)
        self._gt = self.container.spawn_managed_thread(self._run, identifier="outbox-relay")

    def stop(self) -> None:
        """Publish what the last commits left, then end."""
        self._stopping = True
        self._wakes.wake(outbox.RELAY)
        if self._gt is not None:
            with eventlet.Timeout(5, False):
                self._gt.wait()
        self._link.stop()

    def get_dependency(self, worker_ctx: Any) -> OutboxRelay:
        return self

    def _declare(self, session: Any) -> None:
        session.channel.exchange_declare(self._exchange, "topic", durable=True, auto_delete=False)
        self._wakes.wake(outbox.RELAY)

    def _run(self) -> None:
        pause_s = PAUSE_S[0]
        while True:
            seen = self._wakes.seen(outbox.RELAY)
            if not self._link.connected:
                if self._stopping:
                    return
                self._wakes.wait(outbox.RELAY, seen, self._idle_s)
                continue
            try:
                sent = self._publish_batch()
                pause_s = PAUSE_S[0]
            except (LinkDown, sa.exc.SQLAlchemyError) as exc:
                metrics.RELAY_ERRORS.labels(self._name).inc()
                log.warning("outbox relay: will try again in %.1f s: %r", pause_s, exc)
                if self._stopping:
                    return
                eventlet.sleep(pause_s)
                pause_s = min(pause_s * 2, PAUSE_S[1])
                continue
            if sent == 0:
                if self._stopping:
                    return
                self._wakes.wait(outbox.RELAY, seen, self._idle_s)

    def _publish_batch(self) -> int:
        with self._store.engine.begin() as conn:
            messages = outbox.unsent(conn, self._store.tables.outbox, BATCH)
            if not messages:
                return 0
            confirmed, problem = self._publish(messages)
            if confirmed:
                outbox.mark_sent(conn, self._store.tables.outbox, confirmed, clock.utc_now())
        metrics.OUTBOX_PUBLISHED.labels(self._name).inc(len(confirmed))
        if problem is not None:
            raise LinkDown(problem)
        return len(confirmed)

    def _publish(self, messages: list[sa.Row[Any]]) -> tuple[list[int], str | None]:
        """Return the outbox ids the broker has confirmed, and what went wrong with the others."""
        outcomes: dict[int, Outcome] = {}
        done = Event()

        def settle(outbox_id: int, outcome: Outcome) -> None:
            outcomes[outbox_id] = outcome
            if len(outcomes) == len(messages) and not done.ready():
                done.send()

        started = time.monotonic()
        try:
            for message in messages:
                self._send(message, settle)
            with eventlet.Timeout(CONFIRM_TIMEOUT_S, False):
                done.wait()
        except LinkDown as exc:
            return _confirmed_in_order(messages, outcomes), str(exc)
        if len(outcomes) < len(messages):
            return _confirmed_in_order(messages, outcomes), f"no confirm within {time.monotonic() - started:.1f} s"
        bad = [message for message in messages if outcomes[message.id] is not Outcome.CONFIRMED]
        if bad:
            first = bad[0]
            return (
                [message.id for message in messages if outcomes[message.id] is Outcome.CONFIRMED],
                f"{len(bad)} message(s) {outcomes[first.id].value}, first {first.routing_key} {first.message_id}",
            )
        return [message.id for message in messages], None

    def _send(self, message: sa.Row[Any], settle: Any) -> None:
        outbox_id = message.id
        self._link.publish(
            message.body,
            message.exchange,
            message.routing_key,
            mandatory=True,
            on_outcome=lambda outcome: settle(outbox_id, outcome),
            message_id=str(message.message_id),
            delivery_mode=2,
            content_type="application/json",
            content_encoding="utf-8",
            application_headers=dict(message.headers),
        )


def _confirmed_in_order(messages: list[sa.Row[Any]], outcomes: dict[int, Outcome]) -> list[int]:
    """Those known to be confirmed; whatever is unknown goes out again, and its consumers skip it."""
    return [message.id for message in messages if outcomes.get(message.id) is Outcome.CONFIRMED]
