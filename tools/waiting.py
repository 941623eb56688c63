"""Waiting for a condition with a deadline. Nothing here waits for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NotInTime(Exception):
    """A condition did not come true before its deadline; the text says which, and what was seen last."""


def wait_until(
    condition: Callable[[], T],
    what: str | Callable[[], str],
    *,
    timeout_s: float = 60.0,
    interval_s: float = 0.05,
    answered: tuple[type[BaseException], ...] = (OSError,),
) -> T:
    """Return the first truthy value of `condition()`.

    Exceptions of the types in `answered` count as "not yet". Raises NotInTime after `timeout_s`, with `what`
    (text, or a function that makes it at that moment) and the last such exception.
    """
    deadline = time.monotonic() + timeout_s
    last: BaseException | None = None
    while True:
        try:
            value = condition()
        except answered as error:
            last = error
        else:
            last = None
            if value:
                return value
        if time.monotonic() >= deadline:
            text = what if isinstance(what, str) else what()
            raise NotInTime(f"not within {timeout_s:g} s: {text}" + (f" ({last!r})" if last else ""))
        time.sleep(interval_s)
