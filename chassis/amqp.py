"""One long-lived broker connection with one channel: connects again by itself, reads, keeps the heartbeat.

Relay, batch consumer and RPC client each own a `Link`. Publishing is pipelined: the caller gets an outcome for
each message (confirmed, returned, refused, lost) and decides whether and how to wait for it. Nameko's own
publishers wait for one confirm each and close politely a channel that a frozen broker will never close.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import eventlet
from amqp import spec
from amqp.basic_message import Message
from eventlet.semaphore import Semaphore
from kombu import Connection

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
READ_SLICE_S = 1.0
BACKOFF_S = (0.1, 5.0)
LOG_EVERY = 12
"""At the longest backoff: about one line a minute while the broker is down."""


class LinkDown(Exception):
    """There is no broker connection at the moment."""


class Outcome(Enum):
    """What became of a published message."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"  # no queue is bound for it
    REFUSED = "refused"  # the queue is full (basic.nack)
    LOST = "lost"  # the connection broke before the broker answered: unknown


OnOutcome = Callable[[Outcome], None]


@dataclass(slots=True)
class _Pending:
    on_outcome: OnOutcome | None
    correlation: str
    returned: bool = False


@dataclass
class Session:
    """One life of the connection. Delivery tags mean something only within it.

    It is `alive` before the link calls itself connected: messages are delivered while `on_session` still consumes.
    """

    channel: Any
    connection: Connection
    alive: bool = True
    pending: dict[int, _Pending] = field(default_factory=dict)
    published: int = 0

    def settle(self, tag: int, multiple: bool, outcome: Outcome) -> None:
        tags = [known for known in self.pending if known <= tag] if multiple else [tag]
        for known in tags:
            entry = self.pending.pop(known, None)
            if entry is not None and entry.on_outcome is not None:
                entry.on_outcome(Outcome.RETURNED if entry.returned else outcome)

    def returned(self, _exc: Exception, _exchange: str, _key: str, message: Any) -> None:
        """A return comes before its confirm and names the message by its id, not by its tag."""
        correlation = str(message.properties.get("message_id") or message.properties.get("correlation_id"))
        for entry in self.pending.values():
            if entry.correlation == correlation:
                entry.returned = True

    def lose_all(self) -> None:
        self.settle(self.published, True, Outcome.LOST)


class Link:
    """A kept connection. `on_session(session)` declares and consumes, in the reading greenlet."""

    def __init__(
        self,
        uri: str,
        name: str,
        on_session: Callable[[Session], None] | None = None,
        on_lost: Callable[[], None] | None = None,
        heartbeat_s: int = 10,
    ) -> None:
        self.name = name
        self._uri = uri
        self._on_session = on_session
        self._on_lost = on_lost
        self._heartbeat_s = heartbeat_s
        self._write = Semaphore()
        self._stopping = False
        self._gt: Any = None
        self.session: Session | None = None

    @property
    def connected(self) -> bool:
        return self.session is not None

    def start(self, spawn: Callable[..., Any]) -> None:
        """Start keeping the connection; returns at once, also while the broker is down."""
        self._gt = spawn(self._keep)

    def stop(self) -> None:
        """End the connection and wait for the reading greenlet."""
        self._stopping = True
        self._break()
        if self._gt is not None:
            with eventlet.Timeout(CONNECT_TIMEOUT_S + READ_SLICE_S, False):
                try:
                    self._gt.wait()
                except Exception:
                    log.exception("link %s ended with an error", self.name)

    def publish(
        self,
        body: bytes,
        exchange: str,
        routing_key: str,
        *,
        on_outcome: OnOutcome | None = None,
        mandatory: bool = False,
        **properties: Any,
    ) -> None:
        """Send one message; raises LinkDown where there is no connection. `properties` are AMQP's.

        A message that must not be lost carries `delivery_mode=2` and waits for Outcome.CONFIRMED.
        """
        with self._write:
            session = self.session
            if session is None:
                raise LinkDown(f"{self.name}: no connection to the broker")
            message = Message(body, **properties)
            correlation = str(properties.get("message_id") or properties.get("correlation_id"))
            session.published += 1
            session.pending[session.published] = _Pending(on_outcome, correlation)
            try:
                # Not `basic_publish`: that reads from the socket first, while our greenlet is reading from it.
                session.channel.send_method(
                    spec.Basic.Publish, "Bssbb", (0, exchange, routing_key, mandatory, False), message
                )
            except BaseException as exc:
                # A frame written by half spoils everything after it, also when we were timed out from outside.
                session.pending.pop(session.published, None)
                self._break()
                if isinstance(exc, Exception):
                    raise LinkDown(f"{self.name}: {exc!r}") from exc
                raise

    def ack(self, session: Session, tag: int, multiple: bool = False) -> None:
        """Acknowledge; nothing happens where the session has ended, since the broker delivers again then."""
        with self._write:
            if not session.alive:
                return
            try:
                session.channel.basic_ack(tag, multiple)
            except Exception as exc:
                log.warning("link %s: acknowledgement failed: %r", self.name, exc)
                self._break()
                session.alive = False

    def cancel(self, consumer_tag: str) -> None:
        """Stop deliveries to this consumer, without waiting for the broker's answer."""
        with self._write:
            if self.session is not None:
                self.session.channel.send_method(spec.Basic.Cancel, "sb", (consumer_tag, True))

    def reset(self) -> None:
        """Give the connection up and open a new one: whatever was not acknowledged is delivered again."""
        self._break()

    def _break(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.alive = False
            try:
                session.connection.connection.transport.sock.shutdown(2)
            except (OSError, AttributeError):
                log.debug("link %s: socket was closed already", self.name)

    def _keep(self) -> None:
        backoff_s, failures = BACKOFF_S[0], 0
        while not self._stopping:
            connection = Connection(
                self._uri,
                heartbeat=self._heartbeat_s,
                connect_timeout=CONNECT_TIMEOUT_S,
                # One attempt, so that the growing pause between attempts is ours.
                transport_options={"max_retries": 1, "confirm_publish": False},
            )
            session: Session | None = None
            try:
                session = self._open(connection)
                backoff_s, failures = BACKOFF_S[0], 0
                self._read(session)
            except Exception as exc:
                failures += 1
                if not self._stopping and failures % LOG_EVERY == 1:
                    log.warning("link %s: broker connection lost or refused: %r", self.name, exc)
            finally:
                self._close(connection, session)
            if not self._stopping:
                eventlet.sleep(backoff_s * random.uniform(0.5, 1.0))
                backoff_s = min(backoff_s * 2, BACKOFF_S[1])

    def _open(self, connection: Connection) -> Session:
        # An exception of its own: a bare eventlet.Timeout is no Exception and would end the greenlet.
        with eventlet.Timeout(CONNECT_TIMEOUT_S * 2, LinkDown("the broker does not answer")):
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            channel = connection.channel()
            channel.confirm_select()
            session = Session(channel, connection)
            channel.events["basic_ack"].add(lambda tag, multiple: session.settle(tag, multiple, Outcome.CONFIRMED))
            channel.events["basic_nack"].add(lambda tag, multiple: session.settle(tag, multiple, Outcome.REFUSED))
            channel.events["basic_return"].add(session.returned)
            try:
                if self._on_session is not None:
                    self._on_session(session)
            except BaseException:
                session.alive = False
                raise
        self.session = session
        log.info("link %s: connected", self.name)
        return session

    def _read(self, session: Session) -> None:
        while self.session is session and not self._stopping:
            try:
                session.connection.drain_events(timeout=READ_SLICE_S)
            except TimeoutError:
                if not session.channel.is_open:
                    raise LinkDown("channel was closed by the broker") from None
            with self._write:
                session.connection.heartbeat_check()

    def _close(self, connection: Connection, session: Session | None) -> None:
        self.session = None
        # Not close(): it waits for the answer of a broker that may be frozen.
        connection.collect()
        if session is not None:
            session.alive = False
            session.lose_all()
        if self._on_lost is not None:
            self._on_lost()
