"""One life of a broker connection: its channel, and what was published on it and has no answer yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile
from typing import Any

import eventlet
from amqp import spec
from amqp.exceptions import NotFound, PreconditionFailed
from kombu import Connection

from chassis.amqp_wire import Wire

POLL_S = 0.005


class Outcome(Enum):
    """What became of a published message."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"  # no queue is bound for it
    REFUSED = "refused"  # the queue is full (basic.nack)
    LOST = "lost"  # the connection broke before the broker answered: unknown


class QueueMismatch(Exception):
    """A queue exists with other arguments than ours; connecting again will not help, a person must decide."""


@dataclass(slots=True)
class _Pending:
    on_outcome: Callable[[Outcome], None] | None
    name: tuple[str, str, str]
    returned: bool = False


class Session:
    """Delivery tags and pending outcomes mean something only within one session.

    It is `alive` before the link calls itself connected: messages are delivered while `on_session` still consumes.
    `blocked` says why the broker takes no messages at the moment; None where it does.
    `on_broken(session, error)` is called where what was written cannot be sent. Without `confirms` the broker says
    nothing of what is published, and nothing waits for that.
    """

    def __init__(
        self, connection: Connection, on_broken: Callable[[Session, Exception], None], confirms: bool = True
    ) -> None:
        self.connection = connection
        self.wire = Wire(connection.connection, lambda error: on_broken(self, error))
        self.channel = connection.channel()
        # Bodies stay bytes: decoding by a stranger's content encoding would lose some of them.
        self.channel.auto_decode = False
        self._confirms = confirms
        if confirms:
            self.channel.confirm_select()
        self.channel.events["basic_ack"].add(lambda tag, multiple: self.settle(tag, multiple, Outcome.CONFIRMED))
        self.channel.events["basic_nack"].add(lambda tag, multiple: self.settle(tag, multiple, Outcome.REFUSED))
        self.channel.events["basic_return"].add(self.returned)
        self.alive = True
        self.blocked: str | None = None
        self.pending: dict[int, _Pending] = {}
        self.published = 0

    def finish(self, has_acked: bool) -> None:
        """Wait until all is sent, and answered by the broker; with `has_acked` until it has also ended the channel.

        It does that behind all it was told over it. Nothing else confirms an acknowledgement, and the broker may forget
        the last one with the connection.
        """
        while self.alive and (self.wire.busy or (self.pending and not self.blocked)):
            eventlet.sleep(POLL_S)
        if has_acked and self.alive and self.channel.is_open and not self.blocked:
            self.channel.send_method(spec.Channel.Close, "BsBB", (0, "", 0, 0))
            while self.alive and self.channel.is_open:
                eventlet.sleep(POLL_S)

    def expect(self, name: tuple[str, str, str], on_outcome: Callable[[Outcome], None] | None) -> int:
        """Note that a message (its id, exchange, routing key) is about to be published; return its tag, or 0."""
        if not self._confirms:
            return 0
        self.published += 1
        self.pending[self.published] = _Pending(on_outcome, name)
        return self.published

    def settle(self, tag: int, multiple: bool, outcome: Outcome) -> None:
        """The broker's answer to one message, or to all up to it. Tags are pending in the order of their numbers."""
        tags = list(takewhile(lambda known: known <= tag, self.pending)) if multiple else [tag]
        for known in tags:
            entry = self.pending.pop(known, None)
            if entry is not None and entry.on_outcome is not None:
                entry.on_outcome(Outcome.RETURNED if entry.returned else outcome)

    def returned(self, _exc: Exception, exchange: str, routing_key: str, message: Any) -> None:
        """A return comes before its confirm and tells the message's id and address, but not its tag."""
        message_id = message.properties.get("message_id") or message.properties.get("correlation_id")
        name = (str(message_id), exchange, routing_key)
        for entry in self.pending.values():
            if entry.name == name and not entry.returned:
                entry.returned = True
                return

    def lose_all(self) -> None:
        """The connection is gone: nobody will answer any more."""
        self.settle(self.published, True, Outcome.LOST)


def declare_exchange(channel: Any, name: str, kind: str) -> None:
    """Make a durable exchange of that kind where there is none.

    Asked for first, which needs no permission: a service's own broker user may neither make nor remove what services
    share (tools/broker_users.py). On a channel of its own, because the broker closes one on which it says no.
    """
    probe = channel.connection.channel()
    try:
        probe.exchange_declare(name, kind, passive=True)
    except NotFound:
        channel.exchange_declare(name, kind, durable=True, auto_delete=False)
    else:
        probe.close()


def declare_queue(channel: Any, name: str, arguments: dict[str, Any], *, durable: bool = True) -> None:
    """Declare a queue; repeating it changes nothing. Raises QueueMismatch saying what to do.

    A durable queue that is no quorum queue cannot be used, nor made anew, while the node of a cluster is down on which
    it lies; one that is not durable is gone with that node, and can be made anew on another at once.
    """
    try:
        channel.queue_declare(name, durable=durable, auto_delete=False, arguments=arguments)
    except PreconditionFailed as exc:
        raise QueueMismatch(
            f"queue {name!r} exists with other arguments than the settings ask for ({exc.reply_text}): put the setting"
            f" back, or let the queue run empty, delete it (rabbitmqctl delete_queue {name}) and it is made anew"
        ) from exc
