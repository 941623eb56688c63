"""Tells an open page that something it shows has changed (server-sent events); the page then fetches itself anew.

A hint says nothing of what has changed, so nothing can be told to whom it does not concern.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import eventlet
from werkzeug.wrappers import Response

from gateway_svc.changes import Board, Interest, Subscription
from gateway_svc.extensions import Limits, seconds_until
from gateway_svc.pages.view import View
from gateway_svc.sse import RECONNECT_MS

KEEP_ALIVE_S = 10.0
COALESCE_S = 0.1
"""Several changes within this time are one hint: a command is often several events."""

CHANGE = b"event: change\ndata: {}\n\n"
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}


def stream(
    view: View, board: Board, limits: Limits, settings: dict[str, Any], *interests: Interest,
    coalesce_s: float = COALESCE_S,
) -> Response:
    """An event stream that says `change` whenever one of `interests` changes, until the caller's token ends.

    coalesce_s: changes within this time are one hint; long for a page that shows the work of everybody. Raises
    TooManyRequests or Overloaded where too many streams are open.
    """
    give_back = limits.stream(view.by)
    events = hints(
        lambda: board.subscribe(*interests),
        lambda: seconds_until(view.by.expires_at),
        float(settings.get("PAGE_KEEP_ALIVE_S", KEEP_ALIVE_S)),
        coalesce_s,
    )
    response = Response(events, mimetype="text/event-stream", headers=STREAM_HEADERS)
    response.call_on_close(give_back)
    return response


def hints(
    subscribe: Callable[[], AbstractContextManager[Subscription]],
    seconds_left: Callable[[], float],
    keep_alive_s: float,
    coalesce_s: float = COALESCE_S,
) -> Iterator[bytes]:
    """Yield CHANGE at each wake-up, and a comment every `keep_alive_s` seconds, which finds out who is gone."""
    with subscribe() as subscription:
        yield b"retry: %d\n\n" % RECONNECT_MS
        while (left_s := seconds_left()) > 0:
            if subscription.wait(min(left_s, keep_alive_s * random.uniform(0.8, 1.2))):
                yield CHANGE
                eventlet.sleep(coalesce_s)
            else:
                yield b": keep-alive\n\n"
