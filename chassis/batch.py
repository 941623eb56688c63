"""The event handler of a service, as a Nameko entrypoint: it takes what is waiting, together.

A batch is decoded, handled by one worker in one transaction, and acknowledged at once. When it fails, its
messages are handled one by one, so that a poison message spoils only itself. What goes on failing is retried
through the broker with growing delays, and then parked with its error. While the database is away nothing
counts as an attempt: the batch waits for it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import eventlet
from eventlet.queue import Empty, LightQueue
from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import Entrypoint

from chassis import metrics
from chassis.acks import Acks
from chassis.amqp import Link, Session
from chassis.db import Store, is_passing, store_of
from chassis.delivery import Delivery, Undecodable
from chassis.health import register_check
from chassis.logging import bind
from chassis.retry import Retrier
from chassis.rush import Rush
from chassis.settings import merged
from chassis.topology import Topology
from chassis.wake import Wakes

log = logging.getLogger(__name__)

DATABASE_PAUSE_S = (0.2, 5.0)
STUCK_S = 300.0
"""A handler that takes longer than this hangs, and only a restart of its process helps."""
SUSPECT_AFTER = 2
"""Interrupted that often, a message may be what ends its process: it is handled alone from then on."""
SUSPECTS_S = 0.1
"""For so long the others are waited for that come again with a suspect."""
_FULL = "full"


class BatchHandler(Entrypoint):
    """`@batch_handler(decode, "order_placed", ...)` on `def on_events(self, events)`.

    `decode(body) -> event` raises ValueError for bytes that can never become an event; these are parked at once.
    `linger_s`: so long the first waits for others, where nobody waits for what comes of them.
    Settings: `AMQP_URI`, `EVENTS_EXCHANGE`, `BATCH_MAX`, `GATHER_S`, `RETRY_DELAYS_S`, `DELIVERY_LIMIT`.
    """

    def __init__(
        self, decode: Callable[[bytes], Any], *routing_keys: str, linger_s: float = 0.0, **kwargs: Any
    ) -> None:
        self.decode = decode
        self.linger_s = linger_s
        self.routing_keys = routing_keys
        super().__init__(**kwargs)

    def setup(self) -> None:
        config = merged(self.container.config)
        self._service = self.container.service_name
        self._batch_max = int(config["BATCH_MAX"])
        self._rush = Rush(float(config["GATHER_S"]))
        self.topology = Topology.of(self._service, self.routing_keys, config)
        self._arrived: LightQueue = LightQueue()
        self._stopping = False
        self._wakes = Wakes()
        self._working_since: float | None = None
        self._gt: Any = None
        self._link = Link.of(
            config,
            f"{self._service}-events",
            on_session=self._consume,
        )
        self._acks = Acks(self._link)
        register_check(
            self.container, "events", ready=lambda: self._link.connected or self._link.trouble, live=self._alive
        )

    def start(self) -> None:
        self._store: Store = store_of(self.container)
        self._retrier = Retrier(self.topology, self._link, self._store, self.method_name, lambda: self._stopping)
        self._link.start(self.container.spawn_managed_thread)
        self._gt = self.container.spawn_managed_thread(self._run, identifier="batch-handler")

    def stop(self) -> None:
        """Finish the batch at hand; what has arrived beyond it goes back to the queue."""
        self._stopping = True
        self._arrived.put(None)
        self._wakes.wake("stop")
        self._wakes.wake(_FULL)
        if self._gt is not None:
            self._gt.wait()
        self._acks.send()
        self._link.stop()

    def _alive(self) -> bool | str:
        if self._gt is not None and self._gt.dead:
            return False
        if self._working_since is not None and time.monotonic() - self._working_since > STUCK_S:
            return f"{self.method_name} has been working on one batch for more than {STUCK_S:.0f} s"
        return True

    def _consume(self, session: Session) -> None:
        self._forget_the_dead()
        self.topology.declare(session.channel)
        session.channel.basic_qos(0, self._batch_max, False)
        for queue in (self.topology.work, self.topology.parked):
            session.channel.basic_consume(
                queue,
                callback=lambda message, queue=queue: self._arrive(Delivery(session, queue, message)),
            )

    def _arrive(self, delivery: Delivery) -> None:
        self._arrived.put(delivery)
        if self._arrived.qsize() + 1 >= self._batch_max:
            self._wakes.wake(_FULL)

    def _forget_the_dead(self) -> None:
        """What waits here came over connections that are gone, and is delivered again."""
        while self._arrived.qsize():
            self._arrived.get_nowait()
        if self._stopping:
            self._arrived.put(None)

    def _run(self) -> None:
        while not self._stopping:
            batch = self._take()
            if batch:
                self._handle(batch)

    def _take(self) -> list[Delivery]:
        """Wait for one message, then take along whatever else has arrived by now."""
        first = self._arrived.get()
        self._gather(first)
        batch = [first]
        while len(batch) < self._batch_max:
            try:
                batch.append(self._arrived.get_nowait())
            except Empty:
                break
        self._rush.took(len(batch))
        # A message whose connection is gone is delivered again; handling this copy would be waste.
        return [delivery for delivery in batch if delivery is not None and delivery.session.alive]

    def _gather(self, first: Delivery | None) -> None:
        """Let others arrive that come together with the first; in a rush also those that come a moment later."""
        if first is not None and first.interrupted >= SUSPECT_AFTER:
            eventlet.sleep(SUSPECTS_S)
            return
        # What the socket already holds, which the reading greenlet hands over.
        eventlet.sleep(0)
        wait_s, seen = max(self.linger_s, self._rush.wait_s()), self._wakes.seen(_FULL)
        if wait_s and not self._stopping and self._arrived.qsize() + 1 < self._batch_max:
            self._wakes.wait(_FULL, seen, wait_s)

    def _handle(self, batch: Sequence[Delivery]) -> None:
        # Before the others, whose one acknowledgement says that everything before their last one is settled.
        for delivery in _in_turn([delivery for delivery in batch if delivery.interrupted >= SUSPECT_AFTER]):
            self._handle_together([delivery])
            eventlet.sleep(0)  # Its acknowledgement leaves before the next one is begun, which may end the process.
        self._handle_together([delivery for delivery in batch if delivery.interrupted < SUSPECT_AFTER])

    def _handle_together(self, batch: Sequence[Delivery]) -> None:
        work = []
        for delivery in batch:
            if delivery.queue == self.topology.parked:
                self._retrier.park(delivery, "delivery limit reached: its handler's process died each time")
                continue
            try:
                delivery.event = delivery.decode(self.decode)
            except Undecodable as exc:
                log.error("parking a message that cannot be read: %s", exc, extra={"message_id": delivery.message_id})
                self._retrier.park(delivery, str(exc))
                continue
            work.append(delivery)
        if work:
            self._handle_readable(work)

    def _handle_readable(self, batch: Sequence[Delivery]) -> None:
        if not batch[0].session.alive:
            return  # delivered again, over the next connection
        error = self._attempt(batch)
        if error is None:
            metrics.BATCH_OUTCOME.labels(self._service, self.method_name, "done").inc()
            self._acknowledge(batch)
        elif isinstance(error, ContainerBeingKilled) or is_passing(error):
            self._give_back(batch, error)
        elif len(batch) == 1:
            self._retrier.retry_or_park(batch[0], error)
        else:
            metrics.BATCH_OUTCOME.labels(self._service, self.method_name, "split").inc()
            log.warning("a batch of %d failed, handling its messages one by one: %r", len(batch), error)
            for delivery in batch:
                self._handle_readable([delivery])

    def _attempt(self, batch: Sequence[Delivery]) -> BaseException | None:
        """Run the handler until the database is there to judge it; return the error it raised, or None.

        The error of a database that is away is returned only where the service, or the connection, ends meanwhile.
        """
        pause_s = DATABASE_PAUSE_S[0]
        while True:
            self._working_since = started = time.monotonic()
            error = self._run_worker(batch)
            self._working_since = None
            metrics.BATCH_DURATION.labels(self._service, self.method_name).observe(time.monotonic() - started)
            metrics.BATCH_SIZE.labels(self._service, self.method_name).observe(len(batch))
            if not is_passing(error) or self._stopping or not batch[0].session.alive:
                return error
            log.warning("the database is away or busy, the batch waits %.1f s: %s", pause_s, error)
            self._wakes.wait("stop", 0, pause_s)
            pause_s = min(pause_s * 2, DATABASE_PAUSE_S[1])

    def _run_worker(self, batch: Sequence[Delivery]) -> BaseException | None:
        events = [delivery.event for delivery in batch]
        data = {"traceparents": [event.traceparent for event in events if event.traceparent]}
        if len(batch) == 1:
            data["traceparent"] = events[0].traceparent
        try:
            with bind(**_context(events)):
                _, exc_info = self.container.carry_out(self, (events,), {}, context_data=data)
        except ContainerBeingKilled as exc:
            return exc
        error: BaseException | None = None if exc_info is None else exc_info[1]
        return error

    def _acknowledge(self, batch: Sequence[Delivery]) -> None:
        """One acknowledgement for a batch: everything before its last message has been settled by now."""
        last = batch[-1]
        if last.interrupted >= SUSPECT_AFTER:
            # Handled before its turn, and the next one may end the process.
            self._link.ack(last.session, last.tag)
        else:
            self._acks.settled(last, is_alone=len(batch) == 1)

    def _give_back(self, batch: Sequence[Delivery], error: BaseException | None) -> None:
        """Leave everything that is not settled to the broker, which delivers it again; acknowledge no more of it."""
        log.warning("a batch of %d goes back to the broker: %r", len(batch), error)
        if batch[0].session.alive:
            self._link.reset()


def _in_turn(suspects: list[Delivery]) -> list[Delivery]:
    """Forwards, the next time backwards: so all get done but those from the first deadly one to the last.

    From then on in any order, so that each time the process ends some of what lies between has got done before.
    """
    times = max((delivery.interrupted for delivery in suspects), default=0) - SUSPECT_AFTER
    if times >= 2:
        return random.sample(suspects, len(suspects))
    return suspects[::-1] if times == 1 else suspects


def _context(events: Sequence[Any]) -> dict[str, str]:
    if len(events) == 1:
        return {"order_id": str(events[0].order_id), "message_id": events[0].message_id}
    return {}


batch_handler = BatchHandler.decorator
