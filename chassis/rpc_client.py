"""Calling another service: a deadline, a circuit breaker, a fallback, and nothing left behind.

Every call has a timeout; the request expires in the broker with it, and a late answer is dropped. Requests are
transient and replies come to one queue of this process. A failing service is left alone for a while (breaker).
"""

from __future__ import annotations

import json
import logging
import random
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import eventlet
import pybreaker
from eventlet.event import Event
from nameko.extensions import DependencyProvider, SharedExtension
from nameko.rpc import get_rpc_exchange

from chassis import metrics, tracing
from chassis.amqp import Link, LinkDown, Outcome, Session
from chassis.health import register_check
from chassis.settings import merged

log = logging.getLogger(__name__)

REPLY_QUEUE_EXPIRES_MS = 60_000
DEADLINE_HEADER = "x-timeout-ms"
SENT_AT_HEADER = "x-sent-at-ms"
OVERLOADED = "Overloaded"


class CallFailed(Exception):
    """A call without an answer. Whether it took effect is unknown unless a subclass says otherwise."""

    http_status = 503
    title = "Unavailable"
    why = "failed"

    def __init__(self, target: str, detail: str, retry_after_s: float) -> None:
        super().__init__(f"{target}: {detail}")
        self.target = target
        self.detail = f"{target}: {detail}"
        self.fields: list[dict[str, str]] = []
        self.retry_after_s = retry_after_s


class DeadlineExceeded(CallFailed):
    """No answer within the deadline. The request may still have taken effect."""

    why = "deadline"


class NoRoute(CallFailed):
    """The service has no queue, or there is no broker. Nothing was sent."""

    why = "no_route"


class QueueFull(CallFailed):
    """The service is overloaded and its queue refuses. Nothing was accepted."""

    why = "overloaded"


class BreakerOpen(CallFailed):
    """The service failed too often and is left alone until `retry_after_s` is over. Nothing was sent."""

    why = "breaker_open"


class RemoteFault(Exception):
    """The service raised something that is no domain error: a defect there, named here."""


class ReplyLink(SharedExtension):
    """The one broker connection of this process for requests and their replies."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[str, Event] = {}
        self._started = False

    def setup(self) -> None:
        config = merged(self.container.config)
        self._exchange = get_rpc_exchange(config).name
        self.key = str(uuid.uuid4())
        self._queue = f"rpc.reply-{self.container.service_name}-{self.key}"
        self.link = Link(
            config["AMQP_URI"],
            f"{self.container.service_name}-rpc",
            on_session=self._consume,
            heartbeat_s=int(config.get("HEARTBEAT", 10)),
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
        channel.exchange_declare(self._exchange, "topic", durable=True, auto_delete=False)
        channel.queue_declare(self._queue, auto_delete=False, arguments={"x-expires": REPLY_QUEUE_EXPIRES_MS})
        channel.queue_bind(self._queue, self._exchange, self.key)
        channel.basic_consume(self._queue, no_ack=True, callback=self._reply)

    def _reply(self, message: Any) -> None:
        waiting = self._waiting.pop(str(message.properties.get("correlation_id")), None)
        if waiting is None:
            log.info("a late answer was dropped", extra={"correlation_id": message.properties.get("correlation_id")})
        elif not waiting.ready():
            waiting.send(message.body)

    def ask(self, routing_key: str, payload: dict[str, Any], headers: dict[str, Any], timeout_s: float) -> Any:
        """Send a request and wait for its answer's body, or the Outcome that says it will not come.

        Returns None when the time is over. Raises LinkDown without a connection.
        """
        correlation_id = str(uuid.uuid4())
        waiting = self._waiting[correlation_id] = Event()

        def settle(outcome: Outcome) -> None:
            if outcome is not Outcome.CONFIRMED and not waiting.ready():
                waiting.send(outcome)

        try:
            with eventlet.Timeout(timeout_s, False):
                self.link.publish(
                    json.dumps(payload, ensure_ascii=False, default=_json).encode(),
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
                return waiting.wait()
        finally:
            self._waiting.pop(correlation_id, None)
        return None


class _BreakerGauge(pybreaker.CircuitBreakerListener):
    def __init__(self, caller: str, target: str) -> None:
        self._caller, self._target = caller, target
        metrics.set_breaker_state(caller, target, "closed")

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        log.warning("breaker for %s: %s -> %s", self._target, old_state and old_state.name, new_state.name)
        metrics.set_breaker_state(self._caller, self._target, new_state.name)


def _json(value: Any) -> str:
    """Ids as text and times as RFC 3339; anything else is a mistake of the caller."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot cross RPC")


class RpcClient(DependencyProvider):
    """`RpcClient("scheduling", errors=from_rpc)`. Settings: `RPC.<target>` with `timeout_s`, `breaker_failures`,
    `breaker_reset_s`; `RPC_RETRY_AFTER_S`.

    `errors(name, args, value)` returns the domain error that crossed, or None where it is not one.
    """

    replies = ReplyLink()

    def __init__(self, target: str, errors: Callable[[str, list[Any], str], Exception | None]) -> None:
        super().__init__()
        self.target = target
        self._errors = errors

    def setup(self) -> None:
        config = merged(self.container.config)
        settings = config["RPC"][self.target]
        self._timeout_s = float(settings["timeout_s"])
        self._reset_s = float(settings["breaker_reset_s"])
        self._retry_after_s = float(config["RPC_RETRY_AFTER_S"])
        self._caller = self.container.service_name
        self.breaker = pybreaker.CircuitBreaker(
            fail_max=int(settings["breaker_failures"]),
            reset_timeout=self._reset_s,
            # An answer, also one that refuses, shows that the service is there.
            exclude=[lambda exc: not isinstance(exc, CallFailed)],
            throw_new_error_on_trip=False,
            name=self.target,
            listeners=[_BreakerGauge(self._caller, self.target)],
        )
        self._probing = False
        self._opened = 0.0
        register_check(self.container, f"breaker-{self.target}", info=lambda: self.breaker_state)

    def get_dependency(self, worker_ctx: Any) -> RpcClient:
        return self

    @property
    def breaker_state(self) -> str:
        """`closed`, `open` or `half-open`."""
        return str(self.breaker.current_state)

    def call(
        self,
        method: str,
        *,
        fallback: Callable[[CallFailed], Any] | None = None,
        timeout_s: float | None = None,
        **arguments: Any,
    ) -> Any:
        """Call `method` and return its result.

        Raises the service's domain error, RemoteFault for a defect there, or CallFailed; with `fallback`, its
        value takes the place of CallFailed.
        """
        started = time.monotonic()
        outcome = "ok"
        try:
            return self._through_breaker(method, arguments, timeout_s or self._timeout_s)
        except CallFailed as failed:
            outcome = failed.why
            if fallback is None:
                raise
            return fallback(failed)
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            metrics.RPC_CLIENT_DURATION.labels(self._caller, self.target, method, outcome).observe(
                time.monotonic() - started
            )

    def _through_breaker(self, method: str, arguments: dict[str, Any], timeout_s: float) -> Any:
        # While half-open, one call finds out; pybreaker alone would let all of them through.
        if self._probing and self.breaker_state != "closed":
            raise BreakerOpen(self.target, "left alone while it recovers", self._pause_s())
        probe = self.breaker_state != "closed"
        self._probing = self._probing or probe
        try:
            return self.breaker.call(self._ask, method, arguments, timeout_s)
        except pybreaker.CircuitBreakerError as exc:
            raise BreakerOpen(self.target, "left alone while it recovers", self._pause_s()) from exc
        finally:
            if probe:
                self._probing = False

    def _pause_s(self) -> float:
        return self._reset_s * random.uniform(1.0, 1.5)

    def _ask(self, method: str, arguments: dict[str, Any], timeout_s: float) -> Any:
        headers = {}
        with tracing.span(f"rpc {self.target}.{method}", "client"):
            traceparent = tracing.current_traceparent()
            if traceparent:
                headers["nameko.traceparent"] = traceparent
            payload = {"args": [], "kwargs": arguments}
            try:
                answer = self.replies.ask(f"{self.target}.{method}", payload, headers, timeout_s)
            except LinkDown as exc:
                raise NoRoute(self.target, "there is no connection to the broker", self._retry_after_s) from exc
        return self._result(method, answer, timeout_s)

    def _result(self, method: str, answer: Any, timeout_s: float) -> Any:
        if answer is None or answer is Outcome.LOST:
            raise DeadlineExceeded(self.target, f"no answer to {method} within {timeout_s:g} s", self._retry_after_s)
        if answer is Outcome.RETURNED:
            raise NoRoute(self.target, "the service is not there", self._retry_after_s)
        if answer is Outcome.REFUSED:
            raise QueueFull(self.target, "the service is overloaded", self._retry_after_s)
        body = json.loads(answer)
        error = body.get("error")
        if error is None:
            return body["result"]
        if error["exc_type"] == OVERLOADED:
            raise QueueFull(self.target, "the service is overloaded", self._retry_after_s)
        domain_error = self._errors(error["exc_type"], error.get("exc_args", []), error.get("value", ""))
        if domain_error is not None:
            raise domain_error
        raise RemoteFault(f"{self.target}.{method}: {error['exc_type']}: {error.get('value')}")
