"""One long-lived broker connection with one channel: connects again by itself, reads, keeps the heartbeat.

Relay, batch consumer, RPC server and RPC client each own a `Link`. Publishing is pipelined: the caller gets an
outcome for each message (confirmed, returned, refused, lost) and decides whether and how to wait for it. Nameko's
own publishers wait for one confirm each and close politely a channel that a frozen broker will never close.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any

import eventlet
from amqp import spec
from amqp.basic_message import Message
from greenlet import GreenletExit
from kombu import Connection

from chassis import broker
from chassis.amqp_session import Outcome, QueueMismatch, Session
from chassis.wake import Wakes

__all__ = ["Link", "LinkDown", "Outcome", "QueueMismatch", "Session"]

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
READ_SLICE_S = 1.0
LAST_CONFIRMS_S = 1.0
BACKOFF_S = (0.1, 5.0)
LOG_EVERY = 12
"""At the longest backoff: about one line a minute while the broker is down."""

_READY = "ready"


class LinkDown(Exception):
    """Nothing can be published at the moment."""


class Link:
    """A kept connection. `on_session(session)` declares and consumes, in the reading greenlet; `on_ready()` is
    called whenever messages can be published (again). Without `confirms` there are no outcomes."""

    def __init__(
        self,
        uri: str,
        name: str,
        on_session: Callable[[Session], None] | None = None,
        on_ready: Callable[[], None] | None = None,
        heartbeat_s: int = 10,
        ca_file: str = "",
        confirms: bool = True,
    ) -> None:
        self.name = name
        self._uri = uri
        self._ca_file = ca_file
        self._on_session = on_session
        self._on_ready = on_ready
        self._heartbeat_s = heartbeat_s
        self._confirms = confirms
        self._wakes = Wakes()
        self._stopping = False
        self._gt: Any = None
        self._mismatch: str | None = None
        self._acked_at = -LAST_CONFIRMS_S
        self.session: Session | None = None

    @classmethod
    def of(
        cls,
        config: dict[str, Any],
        name: str,
        on_session: Callable[[Session], None] | None = None,
        on_ready: Callable[[], None] | None = None,
        confirms: bool = True,
    ) -> Link:
        """A link to the broker of these settings: `AMQP_URI`, `AMQP_CA_FILE`, `HEARTBEAT`."""
        return cls(config["AMQP_URI"], name, on_session, on_ready, heartbeat_s=int(config.get("HEARTBEAT", 10)),
                   ca_file=str(config.get("AMQP_CA_FILE") or ""), confirms=confirms)  # fmt: skip

    @property
    def connected(self) -> bool:
        return self.session is not None

    @property
    def trouble(self) -> str | None:
        """What keeps messages from being published, for health checks and people; None where nothing does."""
        if self.session is None:
            return self._mismatch or "no connection to the broker"
        return self.session.blocked

    def wait(self, timeout_s: float) -> bool:
        """Wait until messages can be published; False where they still cannot after `timeout_s`."""
        seen = self._wakes.seen(_READY)
        if self.trouble is not None:
            self._wakes.wait(_READY, seen, timeout_s)
        return self.trouble is None

    def start(self, spawn: Callable[..., Any]) -> None:
        """Start keeping the connection; returns at once, also while the broker is down."""
        self._gt = spawn(self._keep)

    def stop(self) -> None:
        """End the connection, after a moment for the broker to take note of what was just published or acknowledged."""
        with eventlet.Timeout(LAST_CONFIRMS_S, False):
            if self.session is not None:
                self.session.finish(has_acked=time.monotonic() - self._acked_at < LAST_CONFIRMS_S)
        self._stopping = True
        self._break()
        if self._gt is not None:
            self._gt.kill()
            try:
                self._gt.wait()
            except GreenletExit:
                log.debug("link %s: ended", self.name)
            except Exception:
                log.exception("link %s: ended with an error", self.name)

    def publish(
        self,
        body: bytes,
        exchange: str,
        routing_key: str,
        *,
        on_outcome: Callable[[Outcome], None] | None = None,
        mandatory: bool = False,
        **properties: Any,
    ) -> None:
        """Send one message, with whatever else is written in this turn of the event loop. `properties` are AMQP's.

        Raises LinkDown where it cannot be sent now. A message that must not be lost carries `delivery_mode=2` and waits
        for Outcome.CONFIRMED.
        """
        session = self._session_with_room()
        name = str(properties.get("message_id") or properties.get("correlation_id"))
        tag = session.expect((name, exchange, routing_key), on_outcome)
        try:
            # Not `basic_publish`: that reads from the socket first, while our greenlet is reading from it.
            session.channel.send_method(
                spec.Basic.Publish, "Bssbb", (0, exchange, routing_key, mandatory, False), Message(body, **properties)
            )
        except Exception as exc:
            # The broker does not count this message, so the tags of all later ones would be wrong.
            session.pending.pop(tag, None)
            self._break()
            raise LinkDown(f"{self.name}: {exc!r}") from exc

    def _session_with_room(self) -> Session:
        while True:
            session = self.session
            if session is None or session.blocked:
                raise LinkDown(f"{self.name}: {self.trouble}")
            if not session.wire.is_full:
                return session
            session.wire.wait_for_room()

    def ack(self, session: Session, tag: int, multiple: bool = False) -> None:
        """Acknowledge; nothing happens where the session has ended, since the broker delivers again then."""
        self._acked_at = time.monotonic()
        self._tell(session, lambda: session.channel.basic_ack(tag, multiple))

    def flush(self) -> None:
        """Send what was written now: for whoever has nothing to add in this turn of the event loop."""
        if self.session is not None:
            self.session.wire.flush()

    def cancel(self, consumer_tag: str) -> None:
        """Stop deliveries to this consumer, without waiting for the broker's answer."""
        session = self.session
        if session is not None:
            self._tell(session, lambda: session.channel.send_method(spec.Basic.Cancel, "sb", (consumer_tag, True)))

    def reset(self) -> None:
        """Give the connection up and open a new one: whatever was not acknowledged is delivered again."""
        self._break()

    def _tell(self, session: Session, write: Callable[[], Any]) -> None:
        if session.alive:
            try:
                write()
            except Exception as exc:
                self._broken(session, exc)

    def _broken(self, session: Session, error: Exception) -> None:
        session.alive = False
        if session is self.session:
            self._break()
        if not self._stopping:
            log.warning("link %s: the connection broke while it was written to: %r", self.name, error)

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
            connection: Connection | None = None
            session: Session | None = None
            try:
                connection = self._connection()
                session = self._open(connection)
                backoff_s, failures = BACKOFF_S[0], 0
                self._read(session)
            except Exception as exc:
                self._mismatch = str(exc) if isinstance(exc, QueueMismatch) else None
                failures += 1
                if not self._stopping and failures % LOG_EVERY == 1:
                    level = logging.ERROR if self._mismatch else logging.WARNING
                    why = self._mismatch or broker.refusal(exc) or f"connection lost or refused: {exc!r}"
                    log.log(level, "link %s: %s", self.name, why)
            finally:
                self._close(connection, session)
            if not self._stopping:
                eventlet.sleep(backoff_s * random.uniform(0.5, 1.0))
                backoff_s = min(backoff_s * 2, BACKOFF_S[1])

    def _connection(self) -> Connection:
        return broker.connection(
            self._uri,
            self._ca_file,
            heartbeat=self._heartbeat_s,
            connect_timeout=CONNECT_TIMEOUT_S,
            transport_options={
                # One attempt, so that the growing pause between attempts is ours.
                "max_retries": 1,
                "confirm_publish": False,
                "on_blocked": lambda reason: self._block("the broker is short of memory or disk and takes no messages"),
                "on_unblocked": lambda: self._block(None),
            },
        )

    def _open(self, connection: Connection) -> Session:
        # An exception of its own: a bare eventlet.Timeout is no Exception and would end the greenlet.
        with eventlet.Timeout(CONNECT_TIMEOUT_S * 2, LinkDown("the broker does not answer")):
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            session = Session(connection, self._broken, self._confirms)
            try:
                if self._on_session is not None:
                    self._on_session(session)
            except BaseException:
                session.alive = False
                raise
        self.session, self._mismatch = session, None
        log.info("link %s: connected", self.name)
        self._announce()
        return session

    def _block(self, reason: str | None) -> None:
        """The broker blocks whoever publishes while it is short of resources, and says when that is over."""
        if self.session is not None:
            self.session.blocked = reason
            log.warning("link %s: %s", self.name, reason or "the broker takes messages again")
            if reason is None:
                self._announce()

    def _announce(self) -> None:
        self._wakes.wake(_READY)
        if self._on_ready is not None:
            self._on_ready()

    def _read(self, session: Session) -> None:
        due = time.monotonic() + READ_SLICE_S
        while self.session is session and not self._stopping:
            try:
                session.wire.read(READ_SLICE_S)
            except TimeoutError:
                if not session.channel.is_open:
                    raise LinkDown("channel was closed by the broker") from None
            if time.monotonic() >= due:
                self._keep_alive(session)
                due = time.monotonic() + READ_SLICE_S

    def _keep_alive(self, session: Session) -> None:
        """The heartbeat; what cannot be sent for that long shows as well that nobody is there."""
        session.connection.heartbeat_check()
        if session.wire.stuck_s() > self._heartbeat_s:
            raise LinkDown("the broker takes nothing of what is written to it")

    def _close(self, connection: Connection | None, session: Session | None) -> None:
        self.session = None
        if connection is not None:
            # Not close(): it waits for the answer of a broker that may be frozen.
            connection.collect()
        if session is not None:
            session.alive = False
            session.lose_all()
