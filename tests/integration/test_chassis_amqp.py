"""The kept broker connection: nothing waits for ever, and each message's outcome is its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import eventlet
import pytest
from eventlet.event import Event
from kombu import Connection

from chassis.amqp import LAST_CONFIRMS_S, Link, LinkDown, Outcome, Session
from chassis.topology import Topology
from tests.harness.proxy import proxied
from tools.waiting import wait_until

DEADLINE_S = 30
ROUNDS = 60


@contextmanager
def kept(uri: str, **options: Any) -> Iterator[Link]:
    """A link that is kept for the length of a block, connected at first."""
    link = Link(uri, "test", **options)
    link.start(eventlet.spawn)
    wait_until(lambda: link.connected, "connected")
    try:
        yield link
    finally:
        link.stop()


def test_a_broker_that_takes_and_answers_nothing_is_given_up_also_while_somebody_writes(vhost: str) -> None:
    def flood(link: Link) -> Exception | None:
        try:
            for _ in range(200):
                link.publish(b"x" * 1_000_000, "", "nowhere")
        except LinkDown as down:
            return down
        return None

    with proxied(vhost) as proxy, kept(proxy.uri, heartbeat_s=1) as link:
        first = link.session
        proxy.freeze()
        writers = [eventlet.spawn(flood, link) for _ in range(3)]
        with eventlet.Timeout(DEADLINE_S):
            assert all(isinstance(writer.wait(), LinkDown) for writer in writers), "nobody waits for ever"
        proxy.heal()
        wait_until(lambda: link.connected and link.session is not first, "a new connection", timeout_s=DEADLINE_S)


def test_stopping_takes_no_longer_because_the_broker_is_away(vhost: str) -> None:
    took_s = []
    for _ in range(3):  # a busy machine may be slow once
        with proxied(vhost) as proxy, kept(proxy.uri) as link:
            proxy.cut()
            wait_until(lambda link=link: not link.connected, "it notices")
            started = time.monotonic()
            link.stop()
            took_s.append(time.monotonic() - started)
    assert min(took_s) < 1


def test_what_was_published_last_is_confirmed_before_the_connection_ends(vhost: str) -> None:
    outcomes: list[Outcome] = []
    with kept(vhost) as link:
        for _ in range(20):
            link.publish(b"x", "", "nowhere", mandatory=True, on_outcome=outcomes.append, message_id="m")
    assert outcomes == [Outcome.RETURNED] * 20


def acknowledged(uri: str, queue: str) -> Link:
    """A link over which a message of this queue has been acknowledged, behind some replies; nothing is sent yet."""
    done = Event()

    def come(session: Session, message: Any) -> None:
        done.send((session, message.delivery_tag))

    def consume(session: Session) -> None:
        session.channel.basic_qos(0, 1, False)
        session.channel.basic_consume(queue, callback=partial(come, session))

    link = Link(uri, "test", on_session=consume, confirms=False)
    link.start(eventlet.spawn)
    with eventlet.Timeout(DEADLINE_S):
        session, tag = done.wait()
    for _ in range(50):
        link.publish(b"x" * 1000, "", "replies")
    link.ack(session, tag)
    return link


def test_what_was_acknowledged_last_does_not_come_again(vhost: str) -> None:
    with Connection(vhost) as connection:
        queue = connection.SimpleQueue("acknowledged")
        connection.SimpleQueue("replies").queue.queue_declare()
        for _ in range(ROUNDS):
            queue.put("x")
        for _ in range(ROUNDS):
            link = acknowledged(vhost, "acknowledged")
            link.flush()
            link.stop()
        assert queue.qsize() == 0


def test_a_frozen_broker_that_says_nothing_of_what_was_acknowledged_is_not_waited_for(vhost: str) -> None:
    with Connection(vhost) as connection, proxied(vhost) as proxy:
        connection.SimpleQueue("acknowledged").put("x")
        link = acknowledged(proxy.uri, "acknowledged")
        proxy.freeze()
        with eventlet.Timeout(LAST_CONFIRMS_S + DEADLINE_S / 2):
            link.stop()


def test_messages_of_the_same_id_have_an_outcome_each(vhost: str) -> None:
    outcomes: dict[str, Outcome] = {}

    def send(link: Link, queue: str, name: str) -> None:
        link.publish(b"x", "", queue, mandatory=True, message_id="same",
                     on_outcome=lambda outcome: outcomes.update({name: outcome}))

    with Connection(vhost) as connection:
        connection.default_channel.queue_declare("here", durable=True, auto_delete=False)
    with kept(vhost) as link:
        send(link, "here", "first")
        send(link, "nowhere", "second")
        send(link, "here", "third")
        wait_until(lambda: len(outcomes) == 3, lambda: f"three outcomes, got {outcomes}")
    assert outcomes == {"first": Outcome.CONFIRMED, "second": Outcome.RETURNED, "third": Outcome.CONFIRMED}


def test_a_queue_with_other_arguments_is_said_with_what_to_do_and_not_only_tried_again(
    vhost: str, caplog: pytest.LogCaptureFixture
) -> None:
    def topology(limit: int) -> Topology:
        return Topology("toy", "toy.events", ("x",), (1.0,), limit)

    def declared(limit: int) -> Callable[[Any], None]:
        return lambda session: topology(limit).declare(session.channel)

    with kept(vhost, on_session=declared(20)):
        pass
    link = Link(vhost, "test", on_session=declared(21))
    link.start(eventlet.spawn)
    try:
        wait_until(lambda: "toy.events" in str(link.trouble), lambda: f"it is said; {link.trouble}")
        assert "rabbitmqctl delete_queue toy.events" in str(link.trouble)
        assert "x-delivery-limit" in str(link.trouble), "which argument, in the broker's words"
        assert [r.levelname for r in caplog.records if "delete_queue" in r.getMessage()] == ["ERROR"]
        with Connection(vhost) as connection:
            connection.default_channel.queue_delete("toy.events")
        wait_until(lambda: link.connected, "mended without a restart")
        assert link.trouble is None
    finally:
        link.stop()
