"""A circuit breaker for one element: an element that does not answer is left alone for a while, others go on.

pybreaker keeps the state. Calls run outside of it, because its own `call` holds a lock for as long as the call takes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pybreaker

from activation_svc.driver import ElementUnreachable
from chassis import metrics

log = logging.getLogger(__name__)

T = TypeVar("T")


def _settle(failure: ElementUnreachable | None) -> None:
    """What the breaker counts: it raises, or it does not."""
    if failure is not None:
        raise failure


class _Gauge(pybreaker.CircuitBreakerListener):
    def __init__(self, element: str) -> None:
        self._element = element
        metrics.set_breaker_state("activation", element, "closed")

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        log.warning("breaker for %s: %s -> %s", self._element, old_state and old_state.name, new_state.name)
        metrics.set_breaker_state("activation", self._element, new_state.name)


class ElementBreaker:
    """Opens after `failures` calls in a row without an answer; after `reset_s` one call at a time finds out more."""

    def __init__(
        self, element: str, failures: int = 3, reset_s: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.element = element
        self._reset_s = reset_s
        self._clock = clock
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=failures, reset_timeout=reset_s, throw_new_error_on_trip=False, name=element,
            listeners=[_Gauge(element)],
        )
        self._probing = False
        self._opened_at = 0.0
        self._words = ""

    @property
    def state(self) -> str:
        """`closed`, `open` or `half-open`."""
        return str(self._breaker.current_state)

    def call(self, ask: Callable[[], T], failure_in: Callable[[T], ElementUnreachable | None]) -> T:
        """`ask()`, unless the element is left alone: then ElementUnreachable at once.

        It counts as a failure where `ask` raises ElementUnreachable or its result is one, as `failure_in` says.
        """
        probe = self.state != "closed"
        if probe:
            if self._probing or self._clock() < self._opened_at + self._reset_s:
                raise ElementUnreachable(self.element, f"left alone while it recovers, because: {self._words}")
            self._probing = True
            self._breaker.half_open()
        failure: ElementUnreachable | None = None
        try:
            result = ask()
            failure = failure_in(result)
            return result
        except ElementUnreachable as exc:
            failure = exc
            raise
        finally:
            self._record(failure, probe)

    def _record(self, failure: ElementUnreachable | None, probe: bool) -> None:
        if probe:
            self._probing = False
        elif self.state != "closed":
            return  # the outcome of a call from before the breaker opened
        elif failure is None and self._breaker.fail_counter == 0:
            return  # all is well, as it was
        if failure is not None:
            self._words = str(failure)
        try:
            self._breaker.call(_settle, failure)
        except (ElementUnreachable, pybreaker.CircuitBreakerError):
            if self.state == "open":
                self._opened_at = self._clock()
