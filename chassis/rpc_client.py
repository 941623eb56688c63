"""Calling another service: a deadline, a circuit breaker, a fallback, and nothing left behind.

Every call has a timeout; the request expires in the broker with it, and a late answer is dropped. Requests are
transient and replies come to one queue of this process. A failing service is left alone for a while (breaker).
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any

import pybreaker
from nameko.extensions import DependencyProvider

from chassis import metrics, tracing
from chassis.amqp import LinkDown, Outcome
from chassis.health import register_check
from chassis.rpc_replies import ReplyLink, encode_call
from chassis.settings import merged

log = logging.getLogger(__name__)

OVERLOADED = "Overloaded"
UNAVAILABLE = "Unavailable"


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


class OutOfService(CallFailed):
    """The service is there, but cannot work at the moment: it has no database, say. It is not known to have acted."""

    why = "unavailable"


class BreakerOpen(CallFailed):
    """The service failed too often and is left alone until `retry_after_s` is over. Nothing was sent."""

    why = "breaker_open"


class RemoteFault(Exception):
    """The service raised something that is no domain error: a defect there, named here."""


def _settle(failure: CallFailed | None) -> None:
    """What the breaker counts: it raises, or it does not."""
    if failure is not None:
        raise failure


class _BreakerGauge(pybreaker.CircuitBreakerListener):
    def __init__(self, caller: str, target: str) -> None:
        self._caller, self._target = caller, target
        metrics.set_breaker_state(caller, target, "closed")

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        log.warning("breaker for %s: %s -> %s", self._target, old_state and old_state.name, new_state.name)
        metrics.set_breaker_state(self._caller, self._target, new_state.name)


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
        self._opened_at = 0.0
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
        value takes the place of CallFailed. Raises TypeError or ValueError for arguments that cannot cross RPC.
        """
        body = encode_call(arguments)
        started = time.monotonic()
        outcome = "ok"
        try:
            return self._through_breaker(method, body, timeout_s or self._timeout_s)
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

    def _through_breaker(self, method: str, body: bytes, timeout_s: float) -> Any:
        """Ask, unless the breaker is open; after its pause one call at a time finds out whether to close it.

        pybreaker's own `call` holds its lock while the call runs, and would let one through at a time always.
        """
        probe = self.breaker_state != "closed"
        if probe:
            if self._probing or time.monotonic() < self._opened_at + self._reset_s:
                raise BreakerOpen(self.target, "left alone while it recovers", self._pause_s())
            self._probing = True
            self.breaker.half_open()
        try:
            answer = self._ask(method, body, timeout_s)
        except CallFailed as failed:
            self._record(failed, probe)
            raise
        except Exception:
            self._record(None, probe)
            raise
        except BaseException:
            # Killed, or timed out, from outside: nothing was found out about the service.
            self._probing = self._probing and not probe
            raise
        self._record(None, probe)
        return answer

    def _record(self, failure: CallFailed | None, probe: bool) -> None:
        if probe:
            self._probing = False
        elif self.breaker_state != "closed":
            return  # the outcome of a call from before the breaker opened
        try:
            self.breaker.call(_settle, failure)
        except (CallFailed, pybreaker.CircuitBreakerError):
            if self.breaker_state == "open":
                self._opened_at = time.monotonic()

    def _pause_s(self) -> float:
        return self._reset_s * random.uniform(1.0, 1.5)

    def _ask(self, method: str, body: bytes, timeout_s: float) -> Any:
        headers = {}
        with tracing.span(f"rpc {self.target}.{method}", "client"):
            traceparent = tracing.current_traceparent()
            if traceparent:
                headers["nameko.traceparent"] = traceparent
            try:
                answer = self.replies.ask(f"{self.target}.{method}", body, headers, timeout_s)
            except LinkDown as exc:
                raise NoRoute(self.target, "the broker takes no messages at the moment", self._retry_after_s) from exc
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
        if error["exc_type"] == UNAVAILABLE:
            raise OutOfService(self.target, str(error.get("value")), self._retry_after_s)
        domain_error = self._errors(error["exc_type"], error.get("exc_args", []), error.get("value", ""))
        if domain_error is not None:
            raise domain_error
        raise RemoteFault(f"{self.target}.{method}: {error['exc_type']}: {error.get('value')}")
