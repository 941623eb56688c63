"""Promises of the change feed: a hint never holds anybody up."""

from __future__ import annotations

from types import SimpleNamespace

import eventlet
import pytest
from eventlet.queue import Queue
from prometheus_client import REGISTRY

from chassis.hints import WAITING_MAX, Hints
from contracts.changes import EXCHANGE, Change, decode_all


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
    assert decode_all(hint.encode()) == [hint]


def test_hints_that_come_together_travel_together_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    feed, sent = a_feed_without_a_broker(), Queue()
    monkeypatch.setattr(feed._link, "publish", lambda body, *_, **__: sent.put(body))
    hints = [Change("orders", f"order-{number}", number) for number in range(9)]
    feed.announce(hints[:1])
    running = eventlet.spawn(feed._run)
    assert decode_all(sent.get(timeout=5)) == hints[:1]
    for hint in hints[1:]:
        feed.announce([hint])
    assert decode_all(sent.get(timeout=5)) == hints[1:]
    running.kill()


@pytest.mark.parametrize("body", [
    b"", b"[]", b"{}", b"1",
    b"\xff", b'{"topic": "orders", "key": 1, "version": 1}',
    b'{"topic": "weather", "key": "a", "version": 1}', b'{"topic": [], "key": "a", "version": 1}',
    b'{"topic": "orders", "key": "a", "version": "x"}',
])
def test_what_is_no_hint_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        Change.decode(body)
    if body != b"[]":
        with pytest.raises(ValueError):
            decode_all(body)
    with pytest.raises(ValueError):
        decode_all(b'[%s, {"topic": "orders", "key": "a", "version": 1}]' % body)
