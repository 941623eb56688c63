"""Promises of the change feed: a hint never holds anybody up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from chassis.hints import WAITING_MAX, Hints
from contracts.changes import EXCHANGE, Change


def a_feed_without_a_broker() -> Hints:
    feed = Hints(EXCHANGE)
    feed.container = SimpleNamespace(config={"AMQP_URI": "amqp://127.0.0.1:1/"}, service_name="toy")
    feed.setup()
    return feed


def dropped() -> float:
    return REGISTRY.get_sample_value("oss_change_hints_dropped_total", {"service": "toy"}) or 0.0


def test_hints_beyond_the_bound_are_dropped_and_counted() -> None:
    feed = a_feed_without_a_broker()
    before = dropped()
    for version in range(WAITING_MAX + 3):
        feed.announce([Change("orders", "a", version), Change("visits", "b", version)])
    assert dropped() - before == 3 * 2


def test_hint_without_a_broker_is_dropped_and_counted() -> None:
    feed = a_feed_without_a_broker()
    before = dropped()
    feed.publish([Change("orders", "a", 1), Change("jobs", "tech-1", 2)])
    assert not feed.connected
    assert dropped() - before == 2


def test_hint_crosses_as_it_was() -> None:
    hint = Change("visits", "an-order", 7)
    assert Change.decode(hint.encode()) == hint


@pytest.mark.parametrize("body", [
    b"", b"[]", b"{}", b"1",
    b"\xff", b'{"topic": "orders", "key": 1, "version": 1}',
    b'{"topic": "weather", "key": "a", "version": 1}', b'{"topic": [], "key": "a", "version": 1}',
    b'{"topic": "orders", "key": "a", "version": "x"}',
])
def test_what_is_no_hint_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        Change.decode(body)
