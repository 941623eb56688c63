"""Requests out and their replies in, on one broker connection of this process.

Requests are transient, expire in the broker with their deadline, and a late answer is dropped.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from datetime import datetime
from itertools import count
from typing import Any

import eventlet
from eventlet.event import Event
from nameko.extensions import SharedExtension
from nameko.rpc import get_rpc_exchange

from chassis.amqp import Link, Outcome, Session
from chassis.amqp_session import declare_exchange
from chassis.settings import merged

log = logging.getLogger(__name__)

REPLY_QUEUE_EXPIRES_MS = 60_000
DEADLINE_HEADER = "x-timeout-ms"
SENT_AT_HEADER = "x-sent-at-ms"


class ReplyLink(SharedExtension):
    """The one broker connection of this process for requests and their replies."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[str, Event] = {}
        self._numbers = count()
        self._started = False

    def setup(self) -> None:
        config = merged(self.container.config)
        self._exchange = get_rpc_exchange(config).name
        self.key = str(uuid.uuid4())
        self._queue = f"rpc.reply-{self.container.service_name}-{self.key}"
        self.link = Link.of(
            config,
            f"{self.container.service_name}-rpc",
            on_session=self._consume,
        )

    def start(self) -> None:
        """Start connecting; the service starts also while there is no broker."""
        if not self._started:
            self._started = True
            self.link.start(self.container.spawn_managed_thread)

    def stop(self) -> None:
        self.link.stop()

    @property
    def waiting(self) -> int:
        """How many calls wait for an answer: none is left behind by a call that ended."""
        return len(self._waiting)

    def _consume(self, session: Session) -> None:
        channel = session.channel
        declare_exchange(channel, self._exchange, "topic")
        channel.queue_declare(self._queue, auto_delete=False, arguments={"x-expires": REPLY_QUEUE_EXPIRES_MS})
        channel.queue_bind(self._queue, self._exchange, self.key)
        channel.basic_consume(self._queue, no_ack=True, callback=self._reply)

    def _reply(self, message: Any) -> None:
        waiting = self._waiting.pop(str(message.properties.get("correlation_id")), None)
        if waiting is None:
            log.info("a late answer was dropped", extra={"correlation_id": message.properties.get("correlation_id")})
        elif not waiting.ready():
            waiting.send(message.body)

    def ask(self, routing_key: str, body: bytes, headers: dict[str, Any], timeout_s: float) -> Any:
        """Send a request (see `encode_call`) and wait for its answer's body, or the Outcome that says none will come.

        Returns None when the time is over. Raises LinkDown without a connection.
        """
        correlation_id = f"{self.key}.{next(self._numbers)}"
        waiting = self._waiting[correlation_id] = Event()

        def settle(outcome: Outcome) -> None:
            if outcome is not Outcome.CONFIRMED and not waiting.ready():
                waiting.send(outcome)

        try:
            with eventlet.Timeout(timeout_s, False):
                self.link.publish(
                    body,
                    self._exchange,
                    routing_key,
                    mandatory=True,
                    on_outcome=settle,
                    correlation_id=correlation_id,
                    reply_to=self.key,
                    # Milliseconds as text, as AMQP wants it: the broker drops the request with the deadline.
                    expiration=str(max(1, int(timeout_s * 1000))),
                    delivery_mode=1,
                    content_type="application/json",
                    content_encoding="utf-8",
                    application_headers=headers
                    | {DEADLINE_HEADER: int(timeout_s * 1000), SENT_AT_HEADER: int(time.time() * 1000)},
                )
                self.link.flush()
                return waiting.wait()
        finally:
            self._waiting.pop(correlation_id, None)
        return None


def encode_call(arguments: dict[str, Any]) -> bytes:
    """A request's body; raises TypeError or ValueError for what cannot cross RPC."""
    return json.dumps({"args": [], "kwargs": arguments}, default=_json).encode()


def _json(value: Any) -> str:
    """Ids as text and times as RFC 3339; anything else is a mistake of the caller."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot cross RPC")
