"""However many follow an order, it is read once a change; however many orders change, few are read at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

import eventlet
import pytest
from eventlet.event import Event

from chassis.rpc_client import NoRoute
from contracts.errors import Unavailable
from contracts.ids import new_id
from gateway_svc.changes import Board
from gateway_svc.feeds import TOLD_AT_ONCE, Feeds, Follower, View
from tools.waiting import wait_until

PATIENCE_S = 5.0


class Orders:
    """MyPage as a gateway sees it: it answers when it is told to, and counts."""

    def __init__(self, at_once: int = 3) -> None:
        self.board = Board()
        self.feeds = Feeds(self.board, at_once)
        self.versions: dict[UUID, int] = {}
        self.reads = self.at_once = self.most_at_once = 0
        self.error: Exception | None = None
        self.gate: Event | None = None

    def reader(self, order_id: UUID) -> Callable[[], dict[str, Any]]:
        def read() -> dict[str, Any]:
            self.reads += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            version = self.versions[order_id]
            try:
                if self.gate is not None:
                    self.gate.wait()
                eventlet.sleep(0)
                if self.error is not None:
                    raise self.error
                return {"order_id": str(order_id), "status": "placed", "version": version}
            finally:
                self.at_once -= 1

        return read

    def changes(self, order_id: UUID) -> None:
        self.versions[order_id] += 1
        self.board.changed("orders", str(order_id))

    @contextmanager
    def followed(self, *orders: UUID, by: int = 1, role: Any = "operator") -> Iterator[list[Follower]]:
        """Each of these orders by so many; what their beginning costs is over and not counted."""
        with ExitStack() as stack:
            followers = []
            for order_id in orders:
                view, read = View(order_id, role, None), self.reader(order_id)
                self.versions.setdefault(order_id, 1)
                for _ in range(by):
                    first = self.feeds.page(view, read)
                    follow = self.feeds.follow(view, ("orders", str(order_id)), read, first)
                    followers.append(stack.enter_context(follow))
            settle()
            self.reads = self.most_at_once = 0
            yield followers


def settle() -> None:
    """Let every greenlet run that can."""
    for _ in range(200):
        eventlet.sleep(0)


def versions(followers: list[Follower]) -> set[int]:
    return {follower.newest[0]["version"] for follower in followers}


def test_a_change_is_read_once_for_all_who_follow_the_order() -> None:
    orders, order_id = Orders(), new_id()
    with orders.followed(order_id, by=1000) as followers:
        waiting = [eventlet.spawn(follower.wait, PATIENCE_S) for follower in followers]
        settle()
        orders.changes(order_id)
        with eventlet.Timeout(PATIENCE_S):
            for greenlet in waiting:
                greenlet.wait()
        assert versions(followers) == {2}
        assert orders.reads == 1


def test_who_comes_later_joins_without_a_read() -> None:
    orders, order_id = Orders(), new_id()
    with orders.followed(order_id):
        view = View(order_id, "operator", None)
        page = orders.feeds.page(view, orders.reader(order_id))
        with orders.feeds.follow(view, ("orders", str(order_id)), orders.reader(order_id), page) as late:
            settle()
            assert late.newest[0] == page and orders.reads == 0


def test_changes_during_a_read_ask_for_one_more_and_the_newest_wins() -> None:
    orders, order_id = Orders(), new_id()
    with orders.followed(order_id, by=10) as followers:
        orders.gate = Event()
        orders.changes(order_id)
        settle()
        for _ in range(5):
            orders.changes(order_id)
        gate, orders.gate = orders.gate, None
        gate.send(None)
        settle()
        assert versions(followers) == {7}
        assert (orders.reads, orders.most_at_once) == (2, 1)


def test_many_orders_that_change_at_once_are_read_a_few_at_a_time() -> None:
    orders = Orders(at_once=3)
    several = [new_id() for _ in range(100)]
    with orders.followed(*several) as followers:
        for order_id in several:
            orders.changes(order_id)
        wait_until(lambda: versions(followers) == {2}, "all are shown")
        assert (orders.reads, orders.most_at_once) == (100, 3)


def test_roles_that_see_an_order_differently_have_reads_of_their_own() -> None:
    orders, order_id = Orders(), new_id()
    with orders.followed(order_id, by=5), orders.followed(order_id, by=5, role="technician") as technicians:
        orders.changes(order_id)
        settle()
        assert versions(technicians) == {2} and orders.reads == 2
        assert len(orders.feeds) == 2
    assert len(orders.feeds) == len(orders.board) == 0


@pytest.mark.parametrize("error", [NoRoute("mypage", "gone", 1.0), Unavailable("no database"), ZeroDivisionError()])
def test_a_read_that_fails_is_nobodys_answer_and_the_next_one_counts(error: Exception) -> None:
    orders, order_id, other = Orders(at_once=1), new_id(), new_id()
    with orders.followed(order_id, other, by=2) as followers:
        orders.error = error
        orders.changes(order_id)
        settle()
        assert versions(followers) == {1}
        orders.error = None
        orders.changes(order_id)
        orders.changes(other)
        settle()
        assert versions(followers) == {3, 2}


def test_a_lost_hint_is_made_up_for_by_one_of_all_who_wait() -> None:
    orders, order_id = Orders(), new_id()
    with orders.followed(order_id, by=100) as followers:
        orders.versions[order_id] = 2
        eventlet.sleep(0.05)
        for waiting in [eventlet.spawn(follower.wait, 0.05) for follower in followers]:
            waiting.wait()
        wait_until(lambda: versions(followers) == {2}, "the change is shown")
        assert orders.reads == 1


def test_a_change_that_a_crowd_is_told_of_leaves_others_their_turn() -> None:
    orders, order_id = Orders(), new_id()
    written = longest = 0

    def write(follower: Follower) -> None:
        nonlocal written
        follower.wait(PATIENCE_S)
        written += 1

    def another_request() -> None:
        nonlocal longest
        seen = 0
        while written < 1000:
            longest, seen = max(longest, written - seen), written
            eventlet.sleep(0)

    with orders.followed(order_id, by=1000) as followers:
        for follower in followers:
            eventlet.spawn(write, follower)
        settle()
        orders.changes(order_id)
        with eventlet.Timeout(PATIENCE_S):
            eventlet.spawn(another_request).wait()
        assert 0 < longest <= 2 * TOLD_AT_ONCE


def test_an_order_that_nobody_follows_any_more_is_not_read() -> None:
    orders, order_id = Orders(at_once=1), new_id()
    with orders.followed(order_id):
        orders.changes(order_id)
    settle()
    assert orders.reads == 0
