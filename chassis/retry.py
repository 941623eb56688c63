"""Retry through the broker with growing delays, then park: a message is never lost because a handler raised."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

import eventlet
import sqlalchemy as sa
from eventlet.event import Event

from chassis import metrics, parking
from chassis.amqp import Link, LinkDown, Outcome, Session
from chassis.db import Store
from chassis.delivery import ATTEMPT_HEADER, Delivery
from chassis.logging import mask
from chassis.topology import Topology

log = logging.getLogger(__name__)

CONFIRM_TIMEOUT_S = 10.0
BLOCKED_SLICE_S = 1.0


class Retrier:
    """Decides what becomes of a message whose handler raised."""

    def __init__(
        self, topology: Topology, link: Link, store: Store, handler: str, is_stopping: Callable[[], bool]
    ) -> None:
        self._handler = handler
        self._topology = topology
        self._link = link
        self._store = store
        self._is_stopping = is_stopping

    def retry_or_park(self, delivery: Delivery, error: BaseException) -> None:
        """Send the message round again after this attempt's delay, or park it after the last one."""
        # Stored and shown to operators, beside what holds no personal data.
        text = mask(f"{type(error).__name__}: {error}")
        if delivery.attempt > len(self._topology.delays_s):
            self.park(delivery, text)
            return
        delay_s = self._topology.delays_s[delivery.attempt - 1]
        log.warning("attempt %d failed, again in %s s: %s", delivery.attempt, delay_s, text, extra=_ids(delivery))
        metrics.RETRIES.labels(self._topology.service, self._handler).inc()
        self._again(delivery, self._topology.retry(delivery.attempt), delivery.attempt + 1)

    def park(self, delivery: Delivery, error: str) -> None:
        """Keep the message with its error for an operator; without a database it waits in the broker meanwhile."""
        try:
            with self._store.transaction() as tx:
                parking.park(tx, self._topology.work, delivery, error)
        except sa.exc.SQLAlchemyError as exc:
            log.error("parking failed, the message waits in the broker: %r", exc, extra=_ids(delivery))
            last = len(self._topology.delays_s)
            self._again(delivery, self._topology.retry(last), max(delivery.attempt, last + 1))
            return
        log.error("parked after %d attempt(s): %s", delivery.attempt, error, extra=_ids(delivery))
        metrics.PARKED.labels(self._topology.service, self._handler).inc()
        self._link.ack(delivery.session, delivery.tag)

    def _again(self, delivery: Delivery, queue: str, attempt: int) -> None:
        """Publish a copy with confirm, then acknowledge the original: never the other way round."""
        done: Event = Event()
        properties: dict[str, Any] = dict(delivery.properties)
        headers = {key: value for key, value in delivery.headers.items() if not key.startswith("x-")}
        self._wait_while_blocked(delivery.session)
        try:
            self._link.publish(
                delivery.body,
                self._topology.direct,
                queue,
                mandatory=True,
                on_outcome=done.send,
                delivery_mode=2,
                application_headers=headers | {ATTEMPT_HEADER: attempt},
                **properties,
            )
            if self._outcome(done, delivery.session) is Outcome.CONFIRMED:
                self._link.ack(delivery.session, delivery.tag)
                return
        except LinkDown as exc:
            log.warning("retry could not be published: %s", exc, extra=_ids(delivery))
        # Not acknowledged: the connection is given up, so that the broker delivers the original again.
        if delivery.session.alive:
            self._link.reset()

    def _outcome(self, done: Event, session: Session) -> Outcome | None:
        while True:
            with eventlet.Timeout(CONFIRM_TIMEOUT_S, False):
                return cast(Outcome, done.wait())
            if not self._wait_while_blocked(session):
                return None

    def _wait_while_blocked(self, session: Session) -> bool:
        """Wait for a broker that has said it takes nothing, and return whether there was anything to wait for.

        Giving up the connection instead would count as a failed delivery of all that was delivered over it.
        """
        blocked = False
        while session.alive and session.blocked and not self._is_stopping():
            blocked = True
            self._link.wait(BLOCKED_SLICE_S)
        return blocked


def _ids(delivery: Delivery) -> dict[str, Any]:
    return {"message_id": delivery.message_id, "order_id": delivery.field("order_id")}
