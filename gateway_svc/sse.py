"""An order's page as server-sent events (WHATWG HTML, section 9.2): the present state, then one event a change.

Pure but for waiting: what to read, and whom to wait for, come in as arguments.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from pydantic_core import to_json

from chassis.rpc_client import CallFailed, RemoteFault
from contracts.errors import DomainError
from gateway_svc.changes import Subscription

RECONNECT_MS = 3000

Page = dict[str, Any]


def last_event_id(text: str | None) -> int | None:
    """The version in a `Last-Event-ID` header; None where it is missing or none of ours."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
        return None
    return int(text)


def stream(
    first: Page,
    read: Callable[[], Page],
    subscribe: Callable[[], AbstractContextManager[Subscription]],
    seen: int | None,
    seconds_left: Callable[[], float],
    reread_s: float,
) -> Iterator[bytes]:
    """Yield events until the caller's time is over or the client is gone (the generator is closed then).

    The page is read when woken, and every `reread_s` seconds in case a hint was lost; each read without a change
    is a comment, which keeps the connection alive and finds out whether the client is still there.
    """
    with subscribe() as subscription:
        yield b"retry: %d\n\n" % RECONNECT_MS
        shown: tuple[int, str] | None = None
        if seen is None or version(first) > seen:
            yield event(first)
            shown = _key(first)
        else:
            shown = (seen, str(first["status"]))
        while (left_s := seconds_left()) > 0:
            page = _read(read)
            if page is not None and _is_newer(page, shown):
                yield event(page)
                shown = _key(page)
            else:
                yield b": keep-alive\n\n"
            subscription.wait(min(left_s, reread_s * random.uniform(0.8, 1.2)))


def event(page: Page) -> bytes:
    """One event; its id is the page's version."""
    return b"id: %d\nevent: order\ndata: %s\n\n" % (version(page), to_json(page))


def version(page: Page) -> int:
    """The page's version; 0 for an order that only the journal knows."""
    return int(page.get("version") or 0)


def _key(page: Page) -> tuple[int, str]:
    return version(page), str(page["status"])


def _is_newer(page: Page, shown: tuple[int, str]) -> bool:
    return version(page) > shown[0] or (version(page) == shown[0] == 0 and page["status"] != shown[1])


def _read(read: Callable[[], Page]) -> Page | None:
    """The page, or None while it cannot be read: the stream stays open, and the next read may succeed."""
    try:
        return read()
    except (CallFailed, RemoteFault, DomainError):
        return None
