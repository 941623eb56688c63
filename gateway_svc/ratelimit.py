"""How often one caller may ask, and how much they may hold: orders, failed sign-ins, open streams.

Kept in memory and bounded; a restart forgets them, which errs on the caller's side. Time comes in as an argument.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from contracts.errors import Overloaded, TooManyRequests

MAX_CALLERS = 50_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


class TokenBuckets:
    """One bucket a caller: `burst` at once, `rate_per_s` in the long run."""

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self.rate_per_s, self.burst = rate_per_s, burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: str, now_s: float) -> None:
        """Take one token; raise TooManyRequests with the seconds until the next one is there."""
        bucket = self._buckets.pop(caller, None) or _Bucket(float(self.burst), now_s)
        bucket.tokens = min(float(self.burst), bucket.tokens + max(0.0, now_s - bucket.at_s) * self.rate_per_s)
        bucket.at_s = now_s
        self._buckets[caller] = bucket
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1:
            wait_s = (1 - bucket.tokens) / self.rate_per_s
            raise TooManyRequests(f"too many orders from {caller}; come back later", retry_after_s=wait_s)
        bucket.tokens -= 1


@dataclass(slots=True)
class _Failures:
    count: int
    first_s: float


class SignInLock:
    """Locks a caller out for `window_s` after `limit` failures within it (OWASP ASVS 2.2.1)."""

    def __init__(self, limit: int, window_s: float) -> None:
        self.limit, self.window_s = limit, window_s
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def check(self, caller: str, now_s: float) -> None:
        """Raise TooManyRequests where `caller` is locked out, with the seconds until it ends."""
        found = self._failures.get(caller)
        if found is None:
            return
        left_s = found.first_s + self.window_s - now_s
        if left_s <= 0:
            del self._failures[caller]
        elif found.count >= self.limit:
            raise TooManyRequests("too many failed sign-ins; come back later", retry_after_s=left_s)

    def failed(self, caller: str, now_s: float) -> None:
        """Count one failure."""
        found = self._failures.get(caller)
        if found is None or found.first_s + self.window_s <= now_s:
            found = _Failures(0, now_s)
        found.count += 1
        self._failures[caller] = found
        self._failures.move_to_end(caller)
        if len(self._failures) > MAX_CALLERS:
            self._failures.popitem(last=False)

    def succeeded(self, caller: str) -> None:
        """Forget the failures of a caller who has signed in."""
        self._failures.pop(caller, None)


class Places:
    """A number of places of which one caller may hold only some."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self.most, self.most_of_one = most, most_of_one
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many are held."""
        return self._held.total()

    def take(self, caller: str) -> Callable[[], None]:
        """Take a place; returns what gives it back (once, however often it is called).

        Raises TooManyRequests where this caller has no more, Overloaded where nobody has.
        """
        if self._held[caller] >= self.most_of_one:
            detail = f"you hold {self.most_of_one} streams open, which is as many as one caller may; close one first"
            raise TooManyRequests(detail, retry_after_s=10.0)
        if len(self) >= self.most:
            raise Overloaded(f"{self.most} streams are open, which is all there are", retry_after_s=10.0)
        self._held[caller] += 1
        is_held = True

        def give_back() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._held[caller] -= 1
                if not self._held[caller]:
                    del self._held[caller]

        return give_back
