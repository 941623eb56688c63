"""What the gateway's workers share for the life of the process, as Nameko dependencies: intake, identity, limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any

from eventlet.semaphore import Semaphore
from nameko.exceptions import ConfigurationError
from nameko.extensions import DependencyProvider
from prometheus_client import Gauge
from werkzeug.wrappers import Request

from chassis import clock
from chassis.health import register_check
from chassis.logging import get_logger
from chassis.settings import lookup, merged
from chassis.wake import wakes
from contracts.errors import TooManyRequests, Unavailable
from gateway_svc.auth import Caller, Passwords, Tokens
from gateway_svc.intake import FORWARD_LOOP, Intake
from gateway_svc.journal import Journal
from gateway_svc.ratelimit import Places, SignInLock, TokenBuckets

MAX_WAITING = 16
"""Attempts to sign in that may wait for their turn, of each kind."""
HASHED_AT_ONCE = 2
LOOKED_UP_AT_ONCE = 8

_log = get_logger(__name__)

PENDING = Gauge("gateway_journal_pending", "Orders and cancels in the journal that are still to be forwarded")
STREAMS = Gauge("gateway_streams_open", "Streams that clients hold open")
FAILED = Gauge("gateway_journal_failed", "Journalled requests that could not be forwarded and need a person")


class IntakeProvider(DependencyProvider):
    """The intake over its journal file. Settings: `JOURNAL_PATH`, `JOURNAL_MAX_PENDING`, `PLACE_WAIT_S`."""

    def setup(self) -> None:
        config = merged(self.container.config)
        journal = Journal(str(config["JOURNAL_PATH"]), int(lookup(config, "JOURNAL_MAX_PENDING", 200_000)))
        waking = wakes(self.container)
        self.intake = Intake(
            journal,
            wake=lambda: waking.wake(FORWARD_LOOP),
            now=clock.utc_now,
            wait_s=float(lookup(config, "PLACE_WAIT_S", 3.0)),
        )
        PENDING.set_function(lambda: journal.lag()["pending"])
        FAILED.set_function(lambda: journal.lag()["failed"])
        register_check(self.container, "journal", info=self.intake.lag)

    def stop(self) -> None:
        """Write down what was put off, and log what stays: without `journal_left`, nobody knows that nothing does.

        Where the disk refuses, what was put off is found out again after the start.
        """
        journal = self.intake.journal
        try:
            journal.flush()
        except Unavailable as exc:
            _log.warning("journal_not_flushed", why=str(exc))
            return
        lag = journal.lag()
        _log.info("journal_left", pending=lag["pending"], failed=lag["failed"])

    def get_dependency(self, worker_ctx: Any) -> Intake:
        return self.intake


class TokensProvider(DependencyProvider):
    """Signs and reads tokens. Setting: `TOKEN_KEY`, one or more secrets separated by commas, the newest first."""

    def setup(self) -> None:
        try:
            self.tokens = Tokens.from_text(str(lookup(merged(self.container.config), "TOKEN_KEY", "")))
        except ValueError as exc:
            raise ConfigurationError(str(exc)) from exc

    def get_dependency(self, worker_ctx: Any) -> Tokens:
        return self.tokens


class Limits:
    """How often one address may order and fail to sign in, and how many streams may be open."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._orders = TokenBuckets(
            float(lookup(config, "ORDER_RATE_PER_S", 50.0)), int(lookup(config, "ORDER_RATE_BURST", 500))
        )
        window_s = float(lookup(config, "SIGN_IN_WINDOW_S", 300.0))
        failures = int(lookup(config, "SIGN_IN_FAILURES", 5))
        self._user = SignInLock(failures, window_s)
        self._address = SignInLock(int(lookup(config, "SIGN_IN_ADDRESS_FAILURES", 200)), window_s)
        self._proxies = int(lookup(config, "TRUSTED_PROXIES", 0))
        self._hashing, self._looking_up = Semaphore(HASHED_AT_ONCE), Semaphore(LOOKED_UP_AT_ONCE)
        self.streams = Places(
            int(lookup(config, "SSE_MAX_STREAMS", 300)), int(lookup(config, "SSE_MAX_STREAMS_OF_ONE", 20))
        )

    def address(self, request: Request) -> str:
        """Who calls, as limits count: by the connection's address or, behind proxies of ours, the one the outermost of
        them saw. Of an IPv6 address it is the /64 (`2001:db8:0:1::/64`).
        """
        forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
        if 0 < self._proxies <= len(forwarded):
            return _counted_as(forwarded[-self._proxies][:64])
        return _counted_as(request.remote_addr or "unknown")

    def order(self, address: str) -> None:
        """Raise TooManyRequests where this address orders too often."""
        self._orders.take(address, time.monotonic())

    @contextmanager
    def sign_in(self, address: str, username: str) -> Iterator[Callable[[bool], None]]:
        """One attempt to sign in; the block calls the value with whether it succeeded.

        Few passwords are checked at a time, and the lock is looked at again before each, so that many attempts at
        once count like many in a row. Raises TooManyRequests.
        """
        with self._attempt(self._hashing, address, f"{address} {username}") as judged:
            yield judged

    @contextmanager
    def look_up(self, address: str, number: str) -> Iterator[Callable[[bool], None]]:
        """The same for one attempt to find an order by its number: where that waits for mypage, staff do not."""
        with self._attempt(self._looking_up, address, f"{address} order {number}") as judged:
            yield judged

    @contextmanager
    def _attempt(self, turn: Semaphore, address: str, user: str) -> Iterator[Callable[[bool], None]]:
        if turn.balance <= -MAX_WAITING:
            raise TooManyRequests("too many sign-ins at once; come back later", retry_after_s=1.0)
        with turn:
            now_s = time.monotonic()
            self._user.check(user, now_s)
            self._address.check(address, now_s)

            def judged(succeeded: bool) -> None:
                if succeeded:
                    self._user.succeeded(user)
                else:
                    self._user.failed(user, now_s)
                    self._address.failed(address, now_s)

            yield judged

    def stream(self, caller: Caller) -> Callable[[], None]:
        """Take a place for one more stream; returns what gives it back. Raises TooManyRequests, Overloaded."""
        return self.streams.take(caller.subject)


def _counted_as(address: str) -> str:
    """One IPv6 connection is given a /64 at least (RFC 6177), and may call from any address in it."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Network((int(found), 64), strict=False))


class LimitsProvider(DependencyProvider):
    """Settings: `ORDER_RATE_PER_S`, `ORDER_RATE_BURST`, `SIGN_IN_FAILURES` (of one user from one address),
    `SIGN_IN_ADDRESS_FAILURES` (of all users from one address), `SIGN_IN_WINDOW_S`, `SSE_MAX_STREAMS`,
    `SSE_MAX_STREAMS_OF_ONE` (caller), `TRUSTED_PROXIES` (how many proxies of ours add to X-Forwarded-For).
    """

    def setup(self) -> None:
        self.limits = Limits(merged(self.container.config))
        STREAMS.set_function(lambda: len(self.limits.streams))

    def get_dependency(self, worker_ctx: Any) -> Limits:
        return self.limits


class PasswordsProvider(DependencyProvider):
    """Checks passwords."""

    def setup(self) -> None:
        self.passwords = Passwords()

    def get_dependency(self, worker_ctx: Any) -> Passwords:
        return self.passwords


def seconds_until(moment: datetime) -> float:
    """Seconds from now until `moment`; negative where it is over."""
    return (moment.astimezone(UTC) - clock.utc_now()).total_seconds()
