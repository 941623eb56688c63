"""Retry through the broker with growing delays, then park: a message is never lost because a handler raised."""

from __future__ import annotations

import logging
from typing import Any

import eventlet
import sqlalchemy as sa
from eventlet.event import Event

from chassis import metrics, parking
from chassis.amqp import Link, LinkDown, Outcome
from chassis.db import Store
from chassis.delivery import ATTEMPT_HEADER, Delivery
from chassis.topology import Topology

log = logging.getLogger(__name__)

CONFIRM_TIMEOUT_S = 10.0


class Retrier:
    """Decides what becomes of a message whose handler raised."""

    def __init__(self, topology: Topology, link: Link, store: Store, handler: str) -> None:
        self._handler = handler
        self._topology = topology
        self._link = link
        self._store = store

    def retry_or_park(self, delivery: Delivery, error: BaseException) -> None:
        """Send the message round again after this attempt's delay, or park it after the last one."""
        text = f"{type(error).__name__}: {error}"
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
        try:
            self._link.publish(
                delivery.body,
                "",
                queue,
                mandatory=True,
                on_outcome=done.send,
                delivery_mode=2,
                application_headers=headers | {ATTEMPT_HEADER: attempt},
                **properties,
            )
            with eventlet.Timeout(CONFIRM_TIMEOUT_S, False):
                if done.wait() is Outcome.CONFIRMED:
                    self._link.ack(delivery.session, delivery.tag)
                    return
        except LinkDown as exc:
            log.warning("retry could not be published: %s", exc, extra=_ids(delivery))
        # Not acknowledged: the connection is given up, so that the broker delivers the original again.
        self._link.reset()


def _ids(delivery: Delivery) -> dict[str, Any]:
    return {"message_id": delivery.message_id, "order_id": delivery.field("order_id")}
