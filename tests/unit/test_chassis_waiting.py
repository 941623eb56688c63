"""Waiting in place for what comes at once holds nobody up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import eventlet
import pytest
from eventlet import hubs
from eventlet.patcher import original

from chassis import waiting
from chassis.waiting import InPlace

socket, threading = original("socket"), original("threading")


@pytest.fixture
def pair() -> Iterator[tuple[Any, Any]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture(autouse=True)
def in_place_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """So long that whoever is held up is noticed by the deadline."""
    monkeypatch.setattr(waiting, "IN_PLACE_MS", 60_000)
    eventlet.sleep(0)


def wait_for(sock: Any) -> None:
    with eventlet.Timeout(120):
        InPlace(sock.fileno()).wait()


def test_what_is_there_is_not_waited_for_in_the_loop(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    monkeypatch.setattr(waiting, "nobody_else_can_run", lambda: True)
    monkeypatch.setattr(hubs, "trampoline", None)
    wait_for(ours)


def test_a_greenlet_that_is_ready_goes_first(pair: Any) -> None:
    ours, theirs = pair
    eventlet.spawn(theirs.send, b"x")
    wait_for(ours)
    assert ours.recv(1) == b"x"


def test_a_greenlet_whose_time_comes_soon_goes_first(pair: Any) -> None:
    ours, theirs = pair
    eventlet.spawn_after(0.01, theirs.send, b"x")
    wait_for(ours)
    assert ours.recv(1) == b"x"


def test_a_greenlet_whose_socket_has_something_to_read_goes_on(pair: Any) -> None:
    ours, theirs = pair
    first, second = socket.socketpair()

    def pass_on() -> None:
        hubs.trampoline(first.fileno(), read=True)
        theirs.send(first.recv(1))

    eventlet.spawn(pass_on)
    eventlet.sleep(0)
    timer = threading.Timer(0.02, second.send, [b"x"])
    timer.start()
    wait_for(ours)
    assert ours.recv(1) == b"x"
    first.close()
    second.close()


def test_the_end_of_a_connection_ends_the_wait(pair: Any) -> None:
    ours, theirs = pair
    theirs.shutdown(socket.SHUT_RDWR)
    wait_for(ours)
    assert ours.recv(1) == b""
