"""Reads orders for the streams that follow them: one read an order and change, shared by all who see it alike.

What to read comes in as a function, and the board (`changes.py`) says when; it knows no HTTP and no RPC.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import eventlet
from nameko.extensions import DependencyProvider

from chassis.logging import get_logger
from chassis.rpc_client import CallFailed, RemoteFault
from chassis.settings import lookup, merged
from contracts.errors import DomainError
from gateway_svc import sse
from gateway_svc.auth import Role
from gateway_svc.changes import Board, Interest, Subscription, board_of
from gateway_svc.sse import Page

TOLD_AT_ONCE = 50
"""Streams that are told of a change before everybody else gets a turn: each of them has an event to write then."""

Read = Callable[[], Page]

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class View:
    """An order as somebody sees it: equal views show the same. For `accepted_at` see `ordering.page`."""

    order_id: UUID
    role: Role
    accepted_at: datetime | None


class Feed:
    """What all streams of one view share: the newest page, and the same as an event."""

    def __init__(self, read: Read, first: Page, ask: Callable[[Feed], None], now_s: float) -> None:
        self.read, self._ask, self.read_at_s = read, ask, now_s
        self.page, self.event = first, sse.event(first)
        self.followers: set[Subscription] = set()
        self.is_waiting = self.is_being_read = self.is_outdated = False

    def wake(self) -> None:
        """The board says that something may have changed."""
        self._ask(self)

    def take(self, page: Page) -> bool:
        """Keep a page that was read, unless it is older than ours; whether it shows something new."""
        is_news = sse.is_newer(page, sse.key(self.page))
        if sse.version(page) >= sse.version(self.page):
            self.page, self.event = page, sse.event(page)
        return is_news


class Follower:
    """One stream's place at a feed (`sse.Follower`)."""

    def __init__(self, feed: Feed, woken: Subscription, reread: Callable[[Feed, float], None]) -> None:
        self._feed, self._woken, self._reread = feed, woken, reread

    @property
    def newest(self) -> tuple[Page, bytes]:
        return self._feed.page, self._feed.event

    def wait(self, timeout_s: float) -> None:
        if not self._woken.wait(timeout_s):
            self._reread(self._feed, 0.8 * timeout_s)


class Feeds:
    """The feeds that are followed. At most `at_once` reads are under way, and one of each feed.

    A read that fails is nobody's answer: the feed stays as it was, and the next hint or reread tries again.
    """

    def __init__(self, board: Board, at_once: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._board, self._at_once, self._now_s = board, at_once, now_s
        self._feeds: dict[View, Feed] = {}
        self._waiting: deque[Feed] = deque()
        self._readers = 0

    def __len__(self) -> int:
        """How many feeds are followed."""
        return len(self._feeds)

    def page(self, view: View, read: Read) -> Page:
        """The page to begin a stream with: the one its feed has, else read now. Raises what `read` raises."""
        feed = self._feeds.get(view)
        return read() if feed is None else feed.page

    @contextmanager
    def follow(self, view: View, interest: Interest, read: Read, first: Page) -> Iterator[Follower]:
        """A place at the view's feed for as long as the block runs. `first`: its page, as far as it is known."""
        feed = self._feeds.get(view)
        if feed is None:
            feed = self._feeds[view] = Feed(read, first, self._ask, self._now_s())
            self._board.add(feed, interest)
            # What changed between the first read and now has woken nobody.
            self._ask(feed)
        woken = Subscription()
        feed.followers.add(woken)
        try:
            yield Follower(feed, woken, self._reread)
        finally:
            feed.followers.discard(woken)
            if not feed.followers:
                self._board.remove(feed, interest)
                del self._feeds[view]

    def _reread(self, feed: Feed, older_than_s: float) -> None:
        """In case a hint was lost. The first of many streams who asks does it for all."""
        if self._now_s() - feed.read_at_s >= older_than_s:
            self._ask(feed)

    def _ask(self, feed: Feed) -> None:
        if feed.is_being_read:
            feed.is_outdated = True  # what it will show may be from before this change
        elif not feed.is_waiting:
            feed.is_waiting = True
            self._waiting.append(feed)
            if self._readers < self._at_once:
                self._readers += 1
                eventlet.spawn(self._work)

    def _work(self) -> None:
        try:
            while self._waiting:
                feed = self._waiting.popleft()
                feed.is_waiting = False
                if feed.followers and self._refresh(feed):
                    self._tell(feed)
        finally:
            self._readers -= 1

    def _refresh(self, feed: Feed) -> bool:
        """Read the feed's page; whether it shows something new."""
        feed.is_being_read, feed.is_outdated, feed.read_at_s = True, False, self._now_s()
        try:
            return feed.take(feed.read())
        except (CallFailed, RemoteFault, DomainError):
            return False
        except Exception:
            _log.exception("a followed order cannot be read")
            return False
        finally:
            feed.is_being_read = False
            if feed.is_outdated:
                self._ask(feed)

    @staticmethod
    def _tell(feed: Feed) -> None:
        for number, follower in enumerate(list(feed.followers), start=1):
            follower.wake()
            if number % TOLD_AT_ONCE == 0:
                eventlet.sleep(0)


class FeedsProvider(DependencyProvider):
    """`self.feeds` is `Feeds`. Setting: `SSE_READS_AT_ONCE`."""

    def start(self) -> None:
        at_once = int(lookup(merged(self.container.config), "SSE_READS_AT_ONCE", 8))
        self.feeds = Feeds(board_of(self.container), at_once)

    def get_dependency(self, worker_ctx: Any) -> Feeds:
        return self.feeds
