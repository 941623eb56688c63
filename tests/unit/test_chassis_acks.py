"""Acknowledgements that wait a moment: none is lost, none is given for what has not been settled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import eventlet
import pytest

from chassis import acks
from chassis.acks import Acks


class Link:
    """Notes what is acknowledged."""

    def __init__(self) -> None:
        self.told: list[tuple[int, bool]] = []
        self.heard = eventlet.Event()

    def ack(self, session: Any, tag: int, multiple: bool = False) -> None:
        self.told.append((tag, multiple))
        if not self.heard.ready():
            self.heard.send(None)


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def waiting(link: Link) -> Acks:
    return Acks(link)  # type: ignore[arg-type]


def delivery(tag: int) -> Any:
    return SimpleNamespace(session=None, tag=tag)


def test_a_lone_message_is_acknowledged_a_moment_later(link: Link, waiting: Acks) -> None:
    waiting.settled(delivery(1), is_alone=True)
    assert link.told == []
    with eventlet.Timeout(5):
        link.heard.wait()
    assert link.told == [(1, True)]


def test_lone_messages_of_one_moment_share_an_acknowledgement(link: Link, waiting: Acks) -> None:
    for tag in (1, 2, 3):
        waiting.settled(delivery(tag), is_alone=True)
    with eventlet.Timeout(5):
        link.heard.wait()
    assert link.told == [(3, True)]


def test_several_together_are_acknowledged_now_with_what_waited_and_nothing_twice(
    link: Link, waiting: Acks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acks, "LATER_S", 0.001)
    waiting.settled(delivery(1), is_alone=True)
    waiting.settled(delivery(4), is_alone=False)
    assert link.told == [(4, True)]
    waiting.settled(delivery(5), is_alone=True)
    link.heard = eventlet.Event()
    with eventlet.Timeout(5):
        link.heard.wait()
    assert link.told == [(4, True), (5, True)]


def test_what_waits_is_acknowledged_before_the_end(link: Link, waiting: Acks) -> None:
    waiting.send()
    assert link.told == [], "there was nothing"
    waiting.settled(delivery(7), is_alone=True)
    waiting.send()
    assert link.told == [(7, True)]
