"""The outbox relay: publishes what commits left in the outbox, in order, and marks it sent when confirmed.

Woken by the commit; a slow timer is the safety net. A message that nobody is bound to counts as an error, because
an event that vanishes would stop an order for ever: it is set aside, and its order with it, and tried again later,
while the others go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import eventlet
import sqlalchemy as sa
from eventlet.event import Event
from nameko.extensions import DependencyProvider

from chassis import dialect, metrics, outbox
from chassis.amqp import Link, LinkDown, Outcome
from chassis.amqp_session import declare_exchange
from chassis.aside import PAUSE_S, Aside
from chassis.db import Store, store_of
from chassis.health import register_check
from chassis.rush import Rush
from chassis.settings import merged
from chassis.straight import Message, Unmarked, straight_of
from chassis.topology import direct_exchange
from chassis.wake import wakes

log = logging.getLogger(__name__)

BATCH = 500
CONFIRM_TIMEOUT_S = 15.0
STOP_S = 5.0
_STOP = "outbox-relay-stop"


class OutboxRelay(DependencyProvider):
    """Runs beside the service's workers. Settings: `AMQP_URI`, `RELAY_IDLE_S`, `GATHER_S`, `EVENTS_EXCHANGE`."""

    def setup(self) -> None:
        config = merged(self.container.config)
        self._idle_s = float(config["RELAY_IDLE_S"])
        self._rush = Rush(float(config["GATHER_S"]))
        self._exchange = str(config["EVENTS_EXCHANGE"])
        self._name = self.container.service_name
        self._aside = Aside()
        self._refused: set[int] = set()
        self._straight, self._unmarked = straight_of(self.container), Unmarked()
        self._read: set[int] = set()
        self._stopping = False
        self._gt: Any = None
        self._wakes = wakes(self.container)
        self._link = Link.of(
            config,
            f"{self._name}-relay",
            on_session=self._declare,
            on_ready=lambda: self._wakes.wake(outbox.RELAY),
        )
        register_check(self.container, "relay", ready=lambda: self._link.trouble, live=self._alive)

    def start(self) -> None:
        self._store: Store = store_of(self.container)
        self._link.start(self.container.spawn_managed_thread)
        self._gt = self.container.spawn_managed_thread(self._run, identifier="outbox-relay")

    def stop(self) -> None:
        """Publish what the last commits left, then end."""
        self._stopping = True
        self._wakes.wake(outbox.RELAY)
        self._wakes.wake(_STOP)
        if self._gt is not None:
            with eventlet.Timeout(STOP_S, False):
                self._gt.wait()
        self._link.stop()

    def get_dependency(self, worker_ctx: Any) -> OutboxRelay:
        return self

    def _alive(self) -> bool:
        return self._gt is None or not self._gt.dead

    def _declare(self, session: Any) -> None:
        declare_exchange(session.channel, self._exchange, "topic")

    def _run(self) -> None:
        pause_s = PAUSE_S[0]
        while True:
            seen = self._wakes.seen(outbox.RELAY)
            trouble = self._link.trouble
            if trouble is None:
                try:
                    is_more = self._publish_batch()
                    pause_s = PAUSE_S[0]
                    if is_more:
                        continue
                    wait_s = min(self._idle_s, self._aside.wait_s()) if self._aside else self._idle_s
                except (LinkDown, sa.exc.SQLAlchemyError) as exc:
                    metrics.RELAY_ERRORS.labels(self._name).inc()
                    log.warning("outbox relay: will try again in %.1f s: %r", pause_s, exc)
                    wait_s, pause_s = pause_s, min(pause_s * 2, PAUSE_S[1])
            else:
                wait_s = self._idle_s
            if self._stopping and seen == self._wakes.seen(outbox.RELAY):
                return
            if self._wait(seen, wait_s) and not self._stopping:
                self._wakes.wait(_STOP, 0, self._rush.wait_s())

    def _wait(self, seen: int, wait_s: float) -> bool:
        """Wait until the outbox is to be read, because it was asked for, or the time is over (False).

        Meanwhile publish what comes straight from its commit, and mark it a moment later.
        """
        until = time.monotonic() + wait_s
        while True:
            left_s = max(0.0, until - time.monotonic())
            woken = self._wakes.wait(outbox.RELAY, seen, min(left_s, self._unmarked.wait_s()))
            puts, messages = self._straight.take()
            calls, seen = self._wakes.seen(outbox.RELAY) - seen, self._wakes.seen(outbox.RELAY)
            if calls != puts or not self._publish_straight(messages):
                return True
            if self._unmarked.wait_s() == 0 and not self._mark():
                return True
            if not woken and time.monotonic() >= until:
                return False

    def _publish_straight(self, messages: Sequence[Message]) -> bool:
        """Publish what was just committed; whether all of it is with the broker, so that nobody need look for it."""
        messages = [message for message in messages if message.id not in self._read]
        if not messages:
            return True
        if self._stopping or self._aside or self._link.trouble or self._rush.wait_s():
            return False
        outcomes, _ = self._publish(messages)
        confirmed = [message.id for message in messages if outcomes.get(message.id) is Outcome.CONFIRMED]
        self._unmarked.add(confirmed)
        self._rush.took(len(confirmed))
        metrics.OUTBOX_PUBLISHED.labels(self._name).inc(len(confirmed))
        return len(confirmed) == len(messages)

    def _mark(self) -> bool:
        """Note what went straight; False where the database does not take it now."""
        self._unmarked.tried()
        ids = list(self._unmarked.ids)
        try:
            with dialect.transaction(self._store.engine) as conn:
                outbox.mark_sent(conn, ids, self._store.now(conn))
        except sa.exc.SQLAlchemyError as exc:
            log.warning("outbox relay: could not mark %d message(s) as sent: %r", len(ids), exc)
            return False
        self._unmarked.marked(len(ids))
        return True

    def _publish_batch(self) -> bool:
        """Publish the oldest messages; whether there may be more of them.

        What is committed meanwhile wakes the relay again, so nobody looks for it here.
        """
        self._aside.wait_s()
        marked = list(self._unmarked.ids)
        with dialect.transaction(self._store.engine) as conn:
            if marked:
                outbox.mark_sent(conn, marked, self._store.now(conn))
            found = outbox.unsent(conn, BATCH, self._aside.ids, self._aside.orders)
            messages = self._aside.one_by_one(found)
            outcomes, problem = self._publish(messages) if messages else ({}, None)
            confirmed = [message for message in messages if outcomes.get(message.id) is Outcome.CONFIRMED]
            if confirmed:
                outbox.mark_sent(conn, [message.id for message in confirmed], self._store.now(conn))
        self._unmarked.marked(len(marked))
        self._read = {message.id for message in confirmed}
        self._aside.taken(confirmed)
        self._rush.took(len(confirmed))
        metrics.OUTBOX_PUBLISHED.labels(self._name).inc(len(confirmed))
        bad = [m for m in messages if outcomes.get(m.id) in (Outcome.RETURNED, Outcome.REFUSED)]
        if bad:
            self._set_aside(bad, outcomes[bad[0].id])
        self._connect_anew_where_refused_again({m.id for m in bad if outcomes[m.id] is Outcome.REFUSED})
        if problem is not None:
            raise LinkDown(problem)
        is_more = bool(bad) or len(messages) < len(found) or len(found) == BATCH
        if not is_more and not self._aside:
            self._aside.none_is_left()
        return is_more

    def _set_aside(self, messages: Sequence[sa.Row[Any]], outcome: Outcome) -> None:
        metrics.RELAY_ERRORS.labels(self._name).inc()
        self._aside.add(messages)
        log.warning("outbox relay: %d message(s) %s by the broker, first %s %s; they wait %.1f s", len(messages),
                    outcome.value, messages[0].routing_key, messages[0].message_id, self._aside.wait_s())

    def _connect_anew_where_refused_again(self, refused: set[int]) -> None:
        """Where the queue is full, that changes nothing. RabbitMQ 3.10 refuses also, for as long as the node is down,
        what comes over a channel that was opened just when the node was lost that led the queue until then
        (rabbit_fifo_client:enqueue asks that node); over a new one the queue is there."""
        if refused & self._refused:
            log.warning("outbox relay: refused again, so over a new connection")
            self._link.reset()
        self._refused = refused or self._refused

    def _publish(self, messages: Sequence[sa.Row[Any] | Message]) -> tuple[dict[int, Outcome], str | None]:
        """Return what became of the messages, as far as known, and why not all of it is known.

        What is unknown goes out again, and its consumers skip it.
        """
        outcomes: dict[int, Outcome] = {}
        done = Event()

        def settle(outbox_id: int, outcome: Outcome) -> None:
            outcomes[outbox_id] = outcome
            if len(outcomes) == len(messages) and not done.ready():
                done.send()

        try:
            # Around the writing as well: a frozen broker lets us wait there, with a transaction open.
            with eventlet.Timeout(CONFIRM_TIMEOUT_S, False):
                for message in messages:
                    self._send(message, settle)
                done.wait()
        except LinkDown as exc:
            return dict(outcomes), str(exc)
        if len(outcomes) < len(messages):
            # Sent again on the same connection, each of them would wait there many times over.
            self._link.reset()
            return dict(outcomes), f"no confirm within {CONFIRM_TIMEOUT_S:g} s"
        lost = any(outcome is Outcome.LOST for outcome in outcomes.values())
        return outcomes, "the connection broke before the broker had confirmed everything" if lost else None

    def _send(self, message: sa.Row[Any] | Message, settle: Any) -> None:
        outbox_id = message.id
        self._link.publish(
            bytes(message.body),
            # A replay names no exchange: it goes to a queue of this service.
            message.exchange or direct_exchange(self._name),
            message.routing_key,
            mandatory=True,
            on_outcome=lambda outcome: settle(outbox_id, outcome),
            message_id=str(message.message_id),
            delivery_mode=2,
            content_type="application/json",
            content_encoding="utf-8",
            application_headers=dict(message.headers),
        )
