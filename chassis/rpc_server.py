"""Answering RPC: a bounded queue that refuses when full, no work for requests that are too late, and a reply
that survives the loss of the broker.
"""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from typing import Any

from kombu import Queue
from nameko.exceptions import ContainerBeingKilled, MalformedRequest, UnserializableValueError, serialize
from nameko.messaging import QueueConsumer, QueueConsumerStopped
from nameko.rpc import RPC_QUEUE_TEMPLATE, Rpc, RpcConsumer, get_rpc_exchange

from chassis import metrics
from chassis.amqp import LinkDown
from chassis.health import register_check
from chassis.rpc_replies import DEADLINE_HEADER, SENT_AT_HEADER, ReplyLink
from chassis.settings import merged

log = logging.getLogger(__name__)


class _Answers(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Exception) and getattr(instance, "http_status", 500) < 500


class DomainAnswer(Exception, metaclass=_Answers):
    """Any exception that is an answer to the caller rather than a defect here: it has an HTTP status below 500."""


class Lateness:
    """How late a request is, without trusting that two machines' clocks agree.

    Each caller's smallest difference between its clock and ours, so far, counts as not late.
    """

    def __init__(self) -> None:
        self._smallest_ms: dict[str, int] = {}

    def of(self, caller: str, sent_at_ms: int, now_ms: int) -> int:
        """Milliseconds by which this request took longer than the quickest one of the same caller."""
        if len(self._smallest_ms) > 1000:
            self._smallest_ms.clear()
        difference = now_ms - sent_at_ms
        smallest = min(self._smallest_ms.get(caller, difference), difference)
        self._smallest_ms[caller] = smallest
        return difference - smallest


class BoundedQueueConsumer(QueueConsumer):
    """Takes only as many requests as are really worked on, so that the others expire, or wait, in the broker."""

    @property
    def prefetch_count(self) -> int:
        return int(merged(self.container.config)["RPC_PREFETCH"])

    def run(self) -> None:
        """Consume until stopped; a stop before the first connection is no error, as it is in Nameko's own."""
        try:
            super().run()
        except QueueConsumerStopped as stopped:
            if not self._consumers_ready.ready():
                self._consumers_ready.send_exception(stopped)


class BoundedRpcConsumer(RpcConsumer):
    """The service's RPC queue. Settings: `RPC_MAX_QUEUE`, `RPC_PREFETCH`."""

    queue_consumer = BoundedQueueConsumer()
    replies = ReplyLink()
    queue: Queue | None

    def setup(self) -> None:
        if self.queue is not None:
            return
        config = merged(self.container.config)
        name = self.container.service_name
        self.queue = Queue(
            RPC_QUEUE_TEMPLATE.format(name),
            exchange=get_rpc_exchange(config),
            routing_key=f"{name}.*",
            durable=True,
            queue_arguments={"x-max-length": int(config["RPC_MAX_QUEUE"]), "x-overflow": "reject-publish"},
        )
        self.lateness = Lateness()
        self.queue_consumer.register_provider(self)
        self._registered = True
        register_check(self.container, "rpc", ready=self._ready, live=self._alive)

    def _ready(self) -> bool:
        consumers = self.queue_consumer._consumers
        return self._alive() and bool(consumers) and all(
            consumer.channel is not None and consumer.channel.is_open for consumer in consumers.values()
        )

    def _alive(self) -> bool:
        gt = self.queue_consumer._gt
        return gt is None or not gt.dead

    def handle_result(self, message: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
        """Reply and acknowledge. Without a broker the request is delivered again; its effect is idempotent."""
        try:
            result, exc_info = self._reply(message, result, exc_info)
        except LinkDown as exc:
            log.warning("a reply could not be sent, the request will be delivered again: %s", exc)
            self.queue_consumer.requeue_message(message)
            return result, exc_info
        self.queue_consumer.ack_message(message)
        return result, exc_info

    def _reply(self, message: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
        error = None if exc_info is None else serialize(exc_info[1])
        try:
            body = json.dumps({"result": result, "error": error}, ensure_ascii=False)
        except (TypeError, ValueError):
            log.exception("an RPC result cannot be sent as JSON")
            body = json.dumps({"result": None, "error": serialize(UnserializableValueError(result))})
        reply_to = message.properties.get("reply_to")
        if reply_to:
            self.replies.link.publish(
                body.encode(),
                get_rpc_exchange(self.container.config).name,
                reply_to,
                correlation_id=message.properties.get("correlation_id"),
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=1,
            )
        return result, exc_info


class BoundedRpc(Rpc):
    """`@rpc`, as Nameko's, on the bounded queue. Repeating a request must be harmless."""

    rpc_consumer = BoundedRpcConsumer()

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("expected_exceptions", (DomainAnswer,))
        super().__init__(**kwargs)

    def handle_message(self, body: Any, message: Any) -> None:
        if self._too_late(message):
            metrics.RPC_SERVER_REFUSED.labels(self.container.service_name, "late").inc()
            log.warning("a request for %s came too late and is not carried out", self.method_name)
            self.rpc_consumer.queue_consumer.ack_message(message)
            return
        try:
            args, kwargs = body["args"], body["kwargs"]
        except (KeyError, TypeError) as exc:
            raise MalformedRequest("Message missing `args` or `kwargs`") from exc
        self.check_signature(args, kwargs)
        try:
            self.container.spawn_worker(
                self,
                args,
                kwargs,
                context_data=self.unpack_message_headers(message),
                handle_result=partial(self._handled, message, time.monotonic()),
            )
        except ContainerBeingKilled:
            self.rpc_consumer.requeue_message(message)

    def _too_late(self, message: Any) -> bool:
        headers = message.properties.get("application_headers") or {}
        timeout_ms, sent_at_ms = headers.get(DEADLINE_HEADER), headers.get(SENT_AT_HEADER)
        if not isinstance(timeout_ms, int) or not isinstance(sent_at_ms, int):
            return False
        caller = str(message.properties.get("reply_to"))
        return self.rpc_consumer.lateness.of(caller, sent_at_ms, int(time.time() * 1000)) > timeout_ms

    def _handled(self, message: Any, started: float, worker_ctx: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
        outcome = "ok" if exc_info is None else type(exc_info[1]).__name__
        metrics.RPC_SERVER_DURATION.labels(self.container.service_name, self.method_name, outcome).observe(
            time.monotonic() - started
        )
        return self.rpc_consumer.handle_result(message, result, exc_info)


rpc = BoundedRpc.decorator
