"""A stream shows the present state, then each change once, and goes on through whatever happens behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import eventlet
import pytest

from chassis.rpc_client import NoRoute
from contracts.ids import new_id
from gateway_svc import sse
from gateway_svc.changes import Board
from gateway_svc.feeds import Feeds, Follower, View

ORDER = new_id()
VIEW = View(ORDER, "operator", None)


def a_page(version: int, status: str = "placed") -> dict[str, Any]:
    return {"order_id": str(ORDER), "status": status, "version": version}


class Source:
    """MyPage as the stream sees it: what it answers now, or what it raises."""

    def __init__(self, page: dict[str, Any]) -> None:
        self.page = page
        self.error: Exception | None = None
        self.board = Board()
        self.feeds = Feeds(self.board, at_once=2)

    def read(self) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return self.page

    def becomes(self, page: dict[str, Any]) -> None:
        self.page = page
        self.board.changed("orders", str(ORDER))

    def open(self, seen: int | None = None, left: Callable[[], float] = lambda: 3600.0) -> Iterator[bytes]:
        def follow() -> AbstractContextManager[Follower]:
            return self.feeds.follow(VIEW, ("orders", str(ORDER)), self.read, self.feeds.page(VIEW, self.read))

        return sse.stream(follow, seen, left, reread_s=0.05)


def shown(stream: Iterator[bytes]) -> tuple[int, dict[str, Any]]:
    """The next event, signs of life left out."""
    for chunk in stream:
        fields = dict(line.split(": ", 1) for line in chunk.decode().splitlines() if ": " in line)
        if "data" in fields:
            assert fields["event"] == "order"
            return int(fields["id"]), json.loads(fields["data"])
    raise AssertionError("the stream ended")


def test_the_present_state_comes_first_and_each_change_once() -> None:
    source = Source(a_page(3))
    stream = source.open()
    assert shown(stream) == (3, a_page(3))
    eventlet.spawn_after(0.01, source.becomes, a_page(4, "activated"))
    assert shown(stream) == (4, a_page(4, "activated"))
    source.becomes(a_page(7, "scheduled"))
    assert shown(stream) == (7, a_page(7, "scheduled"))


def test_a_client_that_comes_back_gets_only_what_is_newer() -> None:
    source = Source(a_page(3))
    stream = source.open(seen=3)
    assert [next(stream), next(stream)] == [b"retry: 3000\n\n", b": keep-alive\n\n"]
    source.becomes(a_page(4))
    assert shown(stream) == (4, a_page(4))
    assert shown(source.open(seen=2)) == (4, a_page(4))


def test_an_older_page_never_replaces_a_newer_one() -> None:
    source = Source(a_page(5))
    stream = source.open()
    shown(stream)
    source.becomes(a_page(4))
    assert next(stream) == b": keep-alive\n\n"


def test_an_order_in_the_journal_is_shown_as_it_moves() -> None:
    source = Source(a_page(0, "accepted"))
    stream = source.open()
    assert shown(stream) == (0, a_page(0, "accepted"))
    source.becomes(a_page(0, "placed"))
    assert shown(stream) == (0, a_page(0, "placed"))
    source.becomes(a_page(1, "placed"))
    assert shown(stream) == (1, a_page(1, "placed"))


def test_a_client_that_comes_back_is_told_what_became_of_an_order_in_the_journal() -> None:
    source = Source(a_page(0, "cancelling"))
    stream = source.open(seen=0)
    assert [next(stream), next(stream)] == [b"retry: 3000\n\n", sse.event(source.page)]


def test_a_lost_hint_is_made_up_for() -> None:
    source = Source(a_page(1))
    stream = source.open()
    shown(stream)
    source.page = a_page(2)
    assert shown(stream) == (2, a_page(2))


def test_a_stream_outlives_mypage() -> None:
    source = Source(a_page(1))
    stream = source.open()
    shown(stream)
    source.error = NoRoute("mypage", "gone", 1.0)
    assert next(stream) == b": keep-alive\n\n"
    source.error = None
    source.becomes(a_page(2))
    assert shown(stream) == (2, a_page(2))


def test_a_stream_ends_with_its_token_and_leaves_nothing_behind() -> None:
    source = Source(a_page(1))
    times = iter([10.0, 10.0, 0.0])
    assert len(list(source.open(left=lambda: next(times)))) == 4
    assert len(source.board) == len(source.feeds) == 0

    left = source.open()
    next(left)
    assert len(source.board) == len(source.feeds) == 1
    left.close()  # type: ignore[attr-defined]
    assert len(source.board) == len(source.feeds) == 0


@pytest.mark.parametrize(("text", "version"), [
    (None, None), ("", None), ("7", 7), ("0", 0), ("-1", None), ("x", None), ("7.0", None), ("٣", None),
    ("9" * 30, None),
])
def test_a_last_event_id_that_is_none_of_ours_is_as_good_as_none(text: str | None, version: int | None) -> None:
    assert sse.last_event_id(text) == version


def test_a_hint_wakes_those_who_follow_its_key_or_its_topic_and_nobody_else() -> None:
    board = Board()
    with (
        board.subscribe(("visits", "a")) as one,
        board.subscribe(("visits", None), ("jobs", None)) as every,
        board.subscribe(("orders", "a"), ("visits", "b")) as other,
    ):
        assert len(board) == 3
        board.changed("visits", "a")
        assert [who.wait(0) for who in (one, every, other)] == [True, True, False]
        board.changed("jobs", "tech-1")
        assert [who.wait(0) for who in (one, every, other)] == [False, True, False]
        board.wake_all()
        assert [who.wait(0) for who in (one, every, other)] == [True, True, True]
    assert len(board) == 0
