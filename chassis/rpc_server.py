"""Answering RPC: a bounded queue that refuses when full, no work for requests that are too late, and a reply
that survives the loss of the broker.

Nameko's own consumer waits at start and at stop for a broker that is down, comes back up to 30 s after it, and
cannot say that a queue has other arguments; this one consumes over a `Link`, like everything else here.
"""

from __future__ import annotations

import inspect
import json
import logging
import sys
import time
import uuid
from functools import partial
from typing import Any

import eventlet
from amqp.exceptions import PreconditionFailed
from kombu import Queue
from nameko.exceptions import ContainerBeingKilled, MethodNotFound, UnserializableValueError, serialize
from nameko.extensions import ProviderCollector, SharedExtension
from nameko.rpc import RPC_QUEUE_TEMPLATE, Rpc, get_rpc_exchange

from chassis import metrics
from chassis.amqp import Link, LinkDown, QueueMismatch, Session
from chassis.amqp_session import declare_exchange, declare_queue
from chassis.db import is_passing
from chassis.health import register_check
from chassis.rpc_request import Interrupted, Lateness, Request
from chassis.settings import merged
from chassis.straight import straight_of

__all__ = ["BoundedRpc", "Lateness", "rpc"]

log = logging.getLogger(__name__)

REPLY_PATIENCE_S = 5.0


class _Answers(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Exception) and getattr(instance, "http_status", 500) < 500


class DomainAnswer(Exception, metaclass=_Answers):
    """Any exception that is an answer to the caller rather than a defect here: it has an HTTP status below 500."""


class BoundedRpcConsumer(SharedExtension, ProviderCollector):
    """The service's RPC queue. Settings: `RPC_MAX_QUEUE`, `RPC_PREFETCH`, `RPC_RETRY_AFTER_S`.

    It takes only as many requests as are really worked on, so that the others expire, or wait, in the broker.
    """

    def setup(self) -> None:
        config = merged(self.container.config)
        name = self.container.service_name
        self._exchange = get_rpc_exchange(config).name
        self._prefetch = int(config["RPC_PREFETCH"])
        self._retry_after_s = float(config["RPC_RETRY_AFTER_S"])
        self.queue = Queue(
            RPC_QUEUE_TEMPLATE.format(name),
            # Requests are transient: their queue must not outlive the node of a cluster that holds it.
            durable=False,
            queue_arguments={"x-max-length": int(config["RPC_MAX_QUEUE"]), "x-overflow": "reject-publish"},
        )
        self._consumer_tag = f"{name}-{uuid.uuid4()}"
        self._lateness = Lateness()
        self._straight = straight_of(self.container)
        self._stopping = False
        self._link = Link.of(
            config,
            f"{name}-rpc-server",
            on_session=self._consume,
            # A reply is transient, and its caller's deadline tells of its loss. It goes out together with the
            # acknowledgement of its request.
            confirms=False,
        )
        register_check(self.container, "rpc", ready=lambda: self._link.connected or self._link.trouble)

    def start(self) -> None:
        """Start connecting; the service starts also while there is no broker."""
        self._link.start(self.container.spawn_managed_thread)

    def unregister_provider(self, provider: Any) -> None:
        """The first method that stops ends the taking of requests; those at work are still answered."""
        if not self._stopping:
            self._stopping = True
            self._link.cancel(self._consumer_tag)
        super().unregister_provider(provider)

    def stop(self) -> None:
        """End the connection: the workers have ended by now. What was not begun goes back to the queue."""
        self._link.stop()

    def _consume(self, session: Session) -> None:
        channel = session.channel
        declare_exchange(channel, self._exchange, "topic")
        self._declare(session)
        channel.queue_bind(self.queue.name, self._exchange, f"{self.container.service_name}.*")
        channel.basic_qos(0, self._prefetch, False)
        if not self._stopping:
            channel.basic_consume(
                self.queue.name, consumer_tag=self._consumer_tag, callback=partial(self._arrived, session)
            )

    def _declare(self, session: Session) -> None:
        """Requests do not live long, so a queue of another length is made anew, unless somebody still consumes."""
        # On channels of their own: the broker closes one on which it refuses something.
        declare = partial(declare_queue, name=self.queue.name, arguments=self.queue.queue_arguments, durable=False)
        try:
            declare(session.connection.channel())
        except QueueMismatch as mismatch:
            other = session.connection.channel()
            try:
                other.queue_delete(self.queue.name, if_unused=True)
            except PreconditionFailed:
                log.warning("used as it is, because another process consumes from it: %s", mismatch)
                return
            declare(other)
            log.warning("queue %s was made anew, with %s", self.queue.name, self.queue.queue_arguments)

    def _arrived(self, session: Session, message: Any) -> None:
        request = Request(session, message)
        if not self._stopping:
            self.container.spawn_managed_thread(partial(self._serve, request), identifier=f"rpc {request.method}")

    def _serve(self, request: Request) -> None:
        if self._stopping:
            return  # its method may have unregistered by now; unacknowledged, it goes back to the queue
        if request.is_late(self._lateness):
            metrics.RPC_SERVER_REFUSED.labels(self.container.service_name, "late").inc()
            log.warning("a request for %s came too late and is not carried out", request.method)
            self._link.ack(request.session, request.tag)
            return
        try:
            if request.redelivered and request.timeout_ms is None:
                # Without a deadline it would come again for ever, also where it is what ends the process.
                raise Interrupted(f"{request.method} was begun before and did not end")
            self._provider(request).serve(request)
        except ContainerBeingKilled:
            log.warning("a request for %s goes back to its queue: the container is being killed", request.method)
        except Exception:
            self.answer(request, None, sys.exc_info())

    def _provider(self, request: Request) -> BoundedRpc:
        for provider in self._providers:
            if provider.method_name == request.method:
                return provider
        raise MethodNotFound(request.method)

    def answer(self, request: Request, result: Any, exc_info: Any) -> None:
        """Reply and acknowledge. Without a broker the request is delivered again; its effect is idempotent."""
        body = self._encoded(result, exc_info)
        if self._straight.waits:
            eventlet.sleep(0)  # What was committed goes out first: more hangs on it than on the reply.
        if request.reply_to and not self._reply(request, body):
            if not request.session.alive:
                return
            # The broker takes nothing at the moment; giving the request back now would be a hot loop.
            if not (self._link.wait(REPLY_PATIENCE_S) and self._reply(request, body)):
                log.warning("a reply to %s could not be sent; its caller has given up by now", request.method)
        self._link.ack(request.session, request.tag)
        self._link.flush()

    def _reply(self, request: Request, body: bytes) -> bool:
        try:
            self._link.publish(
                body,
                self._exchange,
                str(request.reply_to),
                correlation_id=request.correlation_id,
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=1,
            )
        except LinkDown as exc:
            log.warning("a reply to %s cannot be sent: %s", request.method, exc)
            return False
        return True

    def _encoded(self, result: Any, exc_info: Any) -> bytes:
        try:
            error = None if exc_info is None else self._error(exc_info[1])
            # ASCII: a lone surrogate, which a request can bring in, has no other form.
            return json.dumps({"result": result, "error": error}).encode()
        except (TypeError, ValueError, RecursionError):
            log.exception("an RPC answer cannot be sent as JSON")
            unsendable = UnserializableValueError(type(result if exc_info is None else exc_info[1]).__name__)
            return json.dumps({"result": None, "error": serialize(unsendable)}).encode()

    def _error(self, error: BaseException) -> dict[str, Any]:
        if is_passing(error):
            detail = f"{self.container.service_name} has no database at the moment"
            return {"exc_type": "Unavailable", "exc_args": [detail, [], self._retry_after_s], "value": detail}
        return dict(serialize(error))


class BoundedRpc(Rpc):
    """`@rpc`, as Nameko's, on the bounded queue. Repeating a request must be harmless."""

    rpc_consumer = BoundedRpcConsumer()

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("expected_exceptions", (DomainAnswer,))
        super().__init__(**kwargs)

    def setup(self) -> None:
        super().setup()
        # Nameko's check inspects the method anew for each request.
        _, *parameters = inspect.signature(getattr(self.container.service_cls, self.method_name)).parameters.values()
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        self._known = {p.name for p in named}
        self._required = {p.name for p in parameters if p.default is p.empty}

    def serve(self, request: Request) -> None:
        """Carry the request out in a worker, once one is free, and answer it. Raises what is wrong with it."""
        args, kwargs = request.arguments()
        if args or not self._required <= kwargs.keys() <= self._known:
            self.check_signature(args, kwargs)
        handle_result = partial(self._handled, request, time.monotonic())
        self.container.carry_out(self, args, kwargs, context_data=request.context(), handle_result=handle_result)

    def _handled(self, request: Request, started: float, worker_ctx: Any, result: Any, exc_info: Any) -> Any:
        outcome = "ok" if exc_info is None else type(exc_info[1]).__name__
        metrics.RPC_SERVER_DURATION.labels(self.container.service_name, self.method_name, outcome).observe(
            time.monotonic() - started
        )
        self.rpc_consumer.answer(request, result, exc_info)
        return result, exc_info


rpc = BoundedRpc.decorator
