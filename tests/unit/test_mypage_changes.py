"""Promises of the change feed: a hint never holds anybody up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from contracts.changes import OrderChanged
from contracts.ids import new_id
from mypage_svc.changes import WAITING_MAX, Changes


def a_feed_without_a_broker() -> Changes:
    feed = Changes()
    feed.container = SimpleNamespace(config={"AMQP_URI": "amqp://127.0.0.1:1/"})
    feed.setup()
    return feed


def dropped() -> float:
    return REGISTRY.get_sample_value("mypage_change_hints_dropped_total") or 0.0


def test_hints_beyond_the_bound_are_dropped_and_counted() -> None:
    feed = a_feed_without_a_broker()
    before = dropped()
    for version in range(WAITING_MAX + 3):
        feed.announce([OrderChanged(new_id(), version), OrderChanged(new_id(), version)])
    assert dropped() - before == 3 * 2


def test_hint_without_a_broker_is_dropped_and_counted() -> None:
    feed = a_feed_without_a_broker()
    before = dropped()
    feed.publish([OrderChanged(new_id(), 1), OrderChanged(new_id(), 2)])
    assert not feed.connected
    assert dropped() - before == 2


def test_hint_crosses_as_it_was() -> None:
    hint = OrderChanged(new_id(), 7)
    assert OrderChanged.decode(hint.encode()) == hint


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"1", b'{"order_id": 1, "version": 1}', b"\xff"])
def test_what_is_no_hint_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        OrderChanged.decode(body)
