"""An order's page as server-sent events (WHATWG HTML, section 9.2): the present state, then one event a change.

Pure but for waiting: what to show, and when to look again, comes from a follower (`feeds.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from pydantic_core import to_json

RECONNECT_MS = 3000

Page = dict[str, Any]


class Follower(Protocol):
    """What a stream needs of the order that it follows."""

    @property
    def newest(self) -> tuple[Page, bytes]:
        """The page, and the same as `event` makes it."""

    def wait(self, timeout_s: float) -> None:
        """Wait until there may be another page; after so long without one see to it that it is read again."""


def last_event_id(text: str | None) -> int | None:
    """The version in a `Last-Event-ID` header; None where it is missing or none of ours."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
        return None
    return int(text)


def stream(
    follow: Callable[[], AbstractContextManager[Follower]],
    seen: int | None,
    seconds_left: Callable[[], float],
    reread_s: float,
) -> Iterator[bytes]:
    """Yield events until the caller's time is over or the client is gone (the generator is closed then).

    Every `reread_s` seconds without a change there is a comment, which keeps the connection alive and finds out
    whether the client is still there; the page is read again then in case a hint was lost.
    """
    with follow() as follower:
        yield b"retry: %d\n\n" % RECONNECT_MS
        page, text = follower.newest
        shown = key(page)
        if not seen or version(page) > seen:  # version 0 says nothing of what was seen
            yield text
        else:
            shown = (seen, shown[1])
        while (left_s := seconds_left()) > 0:
            follower.wait(min(left_s, reread_s * random.uniform(0.8, 1.2)))
            page, text = follower.newest
            if is_newer(page, shown):
                shown = key(page)
                yield text
            else:
                yield b": keep-alive\n\n"


def event(page: Page) -> bytes:
    """One event; its id is the page's version."""
    return b"id: %d\nevent: order\ndata: %s\n\n" % (version(page), to_json(page))


def version(page: Page) -> int:
    """The page's version; 0 for an order that only the journal knows."""
    return int(page.get("version") or 0)


def key(page: Page) -> tuple[int, str]:
    """What tells one page of an order from another, as far as streams show it."""
    return version(page), str(page["status"])


def is_newer(page: Page, shown: tuple[int, str]) -> bool:
    """Whether the page is to be shown after the one of that key."""
    return version(page) > shown[0] or (version(page) == shown[0] == 0 and page["status"] != shown[1])
