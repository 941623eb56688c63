"""Two toy services: one is called, the other calls it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import eventlet
import sqlalchemy as sa
from eventlet.event import Event

from chassis.container import Container
from chassis.rpc_client import CallFailed, RemoteFault, RpcClient
from chassis.rpc_server import BoundedRpcConsumer, rpc
from contracts.errors import Conflict, NotFound, from_rpc
from tests.harness.toys import started
from tools.waiting import wait_until


class Far:
    """The called service. `gate` holds back `slow` until the test opens it."""

    name = "far"
    gate: ClassVar[Event]
    calls: ClassVar[list[str]]

    @rpc
    def echo(self, text: Any) -> Any:
        self.calls.append(str(text))
        return text

    @rpc
    def slow(self, text: str) -> str:
        self.calls.append(text)
        self.gate.wait()
        return text

    @rpc
    def missing(self, text: str) -> None:
        raise NotFound(f"there is no {text}")

    @rpc
    def conflict(self) -> None:
        raise Conflict("not now", [{"field": "state", "message": "is closed"}], 3)

    @rpc
    def defect(self) -> None:
        raise RuntimeError("a defect")

    @rpc
    def nested(self, depth: int) -> Any:
        made: list[Any] = []
        for _ in range(depth):
            made = [made]
        return made

    @rpc
    def without_database(self) -> None:
        raise sa.exc.OperationalError("select 1", {}, ConnectionError("connection refused"))

    @rpc
    def out_of_time(self) -> None:
        with eventlet.Timeout(0.01):
            eventlet.sleep(30)


class Near:
    """The calling service."""

    name = "near"
    far = RpcClient("far", errors=from_rpc)

    @rpc
    def nothing(self) -> None:
        """An entrypoint, so that this is a service."""


def config_of(vhost: str, **more: Any) -> dict[str, Any]:
    return {
        "AMQP_URI": vhost,
        "RPC_MAX_QUEUE": 100,
        "RPC_PREFETCH": 20,
        "RPC_RETRY_AFTER_S": 1,
        "RPC": {"far": {"timeout_s": 10, "breaker_failures": 3, "breaker_reset_s": 0.2}},
        "max_workers": 20,
    } | more


@contextmanager
def calling(vhost: str) -> Iterator[RpcClient]:
    """A caller, connected."""
    with started(Near, config_of(vhost)) as container:
        [client] = [d for d in container.dependencies if isinstance(d, RpcClient)]
        wait_until(lambda: client.replies.link.connected, "connected")
        yield client


def close_gate() -> None:
    """The called service begins anew: its gate closed, no call made."""
    Far.gate, Far.calls = Event(), []


def open_gate() -> None:
    """What waits at the gate may end."""
    if not Far.gate.ready():
        Far.gate.send()


@contextmanager
def answering(uri: str, **more: Any) -> Iterator[Container]:
    """The called service, its queue consumed."""
    close_gate()  # before it starts: something may wait in its queue
    with started(Far, config_of(uri, **more)) as container:
        wait_until(lambda: server(container)._link.connected, "consuming")
        try:
            yield container
        finally:
            open_gate()


def server(container: Container) -> Any:
    return container.shared_extensions[BoundedRpcConsumer]


def outcome(client: RpcClient, method: str, **arguments: Any) -> Any:
    try:
        return client.call(method, **arguments)
    except (CallFailed, RemoteFault, NotFound) as error:
        return error
