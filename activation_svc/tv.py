"""The TV middleware over HTTP: entitlements by subscriber, as JSON. Implements `driver.Driver`.

Keys are `entitlement/<subscriber>`. Every request is idempotent, so what got no answer at all is simply sent again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.parse import quote

import eventlet
import requests
import tenacity
import urllib3
from eventlet.semaphore import Semaphore
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from activation_svc.driver import Change, Content, ElementError, ElementRefused, ElementUnreachable

TRIES = 4
PAGE = 500
BACKSTOP_S = 0.5
"""An answer that trickles in is cut off this much after its time (requests counts only the pauses)."""
_KEY = re.compile(r"entitlement/([A-Za-z0-9][A-Za-z0-9._~-]*)")
_NOTHING_THERE = "urn:problem:tv-middleware:no-entitlement"
_AGAIN_LATER = frozenset({408, 425, 429})

T = TypeVar("T")
R = TypeVar("R")


class _Again(ElementUnreachable):
    """Worth another try, `retry_after_s` from now at the earliest."""

    def __init__(self, element: str, words: str, retry_after_s: float = 0.0) -> None:
        super().__init__(element, words)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class _Reply:
    """What the middleware answered: `found` is False where it said that nothing is there."""

    body: Any
    found: bool = True


class TvMiddleware:
    """One middleware at `url`, asked with the bearer `key` over at most `sessions` connections.

    One answer may take `answer_timeout_s`; after that much silence the request is not repeated, its effect is unknown.
    """

    def __init__(
        self, element: str, url: str, key: str, *, sessions: int = 8, answer_timeout_s: float = 2.0
    ) -> None:
        self.element = element
        self._url = url.rstrip("/")
        self._sessions = sessions
        self._answer_timeout_s = answer_timeout_s
        self._free = Semaphore(sessions)
        self._http = requests.Session()
        # No proxies and no netrc of whoever runs this.
        self._http.trust_env = False
        self._http.headers["Authorization"] = f"Bearer {key}"
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=sessions)
        self._http.mount("http://", adapter)
        self._http.mount("https://", adapter)

    def read(self, keys: Sequence[str], deadline: float) -> dict[str, Content | None]:
        """See Driver."""
        found = self._side_by_side(lambda key: self._read(key, deadline), keys)
        for result in found:
            if isinstance(result, ElementError):
                raise result
        return {key: result for key, result in zip(keys, found, strict=True) if not isinstance(result, ElementError)}

    def write(self, works: Sequence[Sequence[Change]], deadline: float) -> list[ElementError | None]:
        """See Driver. Works run side by side, the changes of one work one after another."""
        return self._side_by_side(lambda work: self._work(work, deadline), works)

    def entries(self, deadline: float) -> dict[str, Content]:
        """See Driver."""
        found: dict[str, Content] = {}
        after: str | None = ""
        while after is not None:
            page = self._ask("GET", f"/entitlements?limit={PAGE}&after={quote(after)}", deadline).body
            if not isinstance(page, dict) or not isinstance(page.get("entitlements"), dict):
                raise ElementUnreachable(self.element, "its list of entitlements is not one")
            found |= {f"entitlement/{subscriber}": content for subscriber, content in page["entitlements"].items()}
            after = page.get("next") and str(page["next"])
        return found

    def close(self) -> None:
        """See Driver."""
        self._http.close()

    def _side_by_side(self, ask: Callable[[T], R], items: Sequence[T]) -> list[R | ElementError]:
        def one(item: T) -> R | ElementError:
            try:
                return ask(item)
            except ElementError as error:
                return error

        if len(items) < 2:
            return [one(item) for item in items]
        return list(eventlet.GreenPool(self._sessions).imap(one, items))

    def _work(self, work: Sequence[Change], deadline: float) -> None:
        """Carry out one order's changes; where one is refused, those before it are undone, the last one first."""
        written: list[Change] = []
        try:
            for at, change in enumerate(work, start=1):
                # The last change needs no way back: refused, it had no effect.
                before = Change(change.key, self._read(change.key, deadline)) if at < len(work) else change
                self._put(change, deadline)
                written.append(before)
        except ElementRefused as refused:
            self._undo(written, refused, deadline)
            raise

    def _undo(self, written: Sequence[Change], refused: ElementRefused, deadline: float) -> None:
        try:
            for before in reversed(written):
                self._put(before, deadline)
        except ElementError as error:
            words = f"{refused}; and what was written before it could not be undone: {error}"
            raise ElementUnreachable(self.element, words) from error

    def _read(self, key: str, deadline: float) -> Content | None:
        reply = self._ask("GET", self._path(key), deadline)
        if reply.found and not isinstance(reply.body, dict):
            raise ElementUnreachable(self.element, f"what it answered for {key} is not an entitlement")
        return reply.body if reply.found else None

    def _put(self, change: Change, deadline: float) -> None:
        if change.content is None:
            self._ask("DELETE", self._path(change.key), deadline)
        else:
            self._ask("PUT", self._path(change.key), deadline, change.content)

    def _path(self, key: str) -> str:
        if (parts := _KEY.fullmatch(key)) is None:
            raise ElementRefused(self.element, f"{key!r} is not the key of an entitlement")
        return f"/entitlements/{parts[1]}"

    def _ask(self, method: str, path: str, deadline: float, content: Content | None = None) -> _Reply:
        """Ask until there is an answer, as often and as long as it makes sense; raises ElementError."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=tenacity.stop_after_attempt(TRIES) | tenacity.stop_before_delay(self._left_s(deadline)),
            wait=_pause_s,
            reraise=True,
        )
        return retrying(self._once, method, path, deadline, content)

    def _once(self, method: str, path: str, deadline: float, content: Content | None) -> _Reply:
        if not self._free.acquire(timeout=self._left_s(deadline)):
            raise ElementUnreachable(self.element, f"all {self._sessions} connections to it are in use")
        timeout_s = min(self._answer_timeout_s, self._left_s(deadline))
        backstop = eventlet.Timeout(timeout_s + BACKSTOP_S)
        try:
            answer = self._http.request(
                method, self._url + path, json=content, timeout=timeout_s, allow_redirects=False
            )
        except (requests.Timeout, eventlet.Timeout) as exc:
            if isinstance(exc, eventlet.Timeout) and exc is not backstop:
                raise
            raise ElementUnreachable(self.element, f"no answer within {timeout_s:.3g} s") from exc
        except (requests.RequestException, urllib3.exceptions.HTTPError) as exc:
            raise _Again(self.element, f"cannot be reached ({_cause(exc)})") from exc
        finally:
            backstop.cancel()
            self._free.release()
        return self._understood(answer)

    def _understood(self, answer: requests.Response) -> _Reply:
        status = answer.status_code
        if status in (201, 204):
            return _Reply(None)
        body = _json(answer)
        if status == 200 and body is not None:
            return _Reply(body)
        problem = body if isinstance(body, dict) else {}
        if status == 404 and problem.get("type") == _NOTHING_THERE:
            return _Reply(None, found=False)
        words = str(problem.get("detail") or f"HTTP {status} {answer.reason}")
        if status >= 500 or status in _AGAIN_LATER:
            raise _Again(self.element, words, _retry_after_s(answer))
        if status >= 400:
            raise ElementRefused(self.element, words)
        raise ElementUnreachable(self.element, f"what answers there is no TV middleware (HTTP {status})")

    def _left_s(self, deadline: float) -> float:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise ElementUnreachable(self.element, "the time for this step is over")
        return left_s


_jitter_s = tenacity.wait_random_exponential(multiplier=0.05, max=1.0)


def _pause_s(state: tenacity.RetryCallState) -> float:
    """As long as the middleware asked for, and a random while more, so that not everybody comes back together."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked_s = error.retry_after_s if isinstance(error, _Again) else 0.0
    return asked_s + float(_jitter_s(state))


def _retry_after_s(answer: requests.Response) -> float:
    given = answer.headers.get("Retry-After")
    if given is None:
        return 0.0
    try:
        return max(Retry().parse_retry_after(given), 0.0)
    except urllib3.exceptions.InvalidHeader:
        return 0.0


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except requests.JSONDecodeError:
        return None


def _cause(exc: BaseException) -> str:
    """The innermost reason: what the libraries wrap around it names addresses of objects, not the trouble."""
    wrapping = (OSError, HTTPException, urllib3.exceptions.HTTPError)
    while isinstance(inner := exc.__cause__ or exc.__context__, wrapping):
        exc = inner
    return str(exc) or type(exc).__name__
