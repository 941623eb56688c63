"""Calls between services: a deadline, a breaker, a bounded queue, and nothing left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import eventlet
import pytest
from kombu import Connection
from nameko.containers import ServiceContainer
from nameko.rpc import rpc as stock_rpc

from chassis.rpc_client import (
    BreakerOpen,
    CallFailed,
    DeadlineExceeded,
    NoRoute,
    QueueFull,
    RemoteFault,
    RpcClient,
)
from chassis.rpc_server import Lateness
from contracts.errors import Conflict, from_rpc
from tests.harness import called
from tests.harness.called import Far, close_gate, open_gate
from tests.harness.toys import started
from tools.nodes import Nodes
from tools.waiting import wait_until


class Stock:
    name = "stock"

    @stock_rpc
    def echo(self, text: str) -> str:
        return text


class Near(called.Near):
    stock = RpcClient("stock", errors=from_rpc)


TARGET = {"timeout_s": 5, "breaker_failures": 3, "breaker_reset_s": 0.5}


def _config(vhost: str, **more: Any) -> dict[str, Any]:
    """Little room, so that a service is full soon."""
    little = {"RPC_MAX_QUEUE": 3, "RPC_PREFETCH": 1, "max_workers": 5, "RPC": {"far": TARGET, "stock": TARGET}}
    return called.config_of(vhost, **little | more)


def client_of(container: ServiceContainer, name: str = "far") -> RpcClient:
    return next(d for d in container.dependencies if isinstance(d, RpcClient) and d.target == name)


@pytest.fixture(scope="module")
def broker(nodes: Nodes) -> Iterator[str]:
    """One virtual host for these tests."""
    yield nodes.make_vhost("rpc-tests")
    nodes.drop_vhost("rpc-tests")


@pytest.fixture(scope="module")
def near_container(broker: str) -> Iterator[ServiceContainer]:
    with started(Near, _config(broker)) as container:
        yield container


@pytest.fixture
def near(near_container: ServiceContainer) -> Iterator[RpcClient]:
    """The caller's client, its breaker closed at first."""
    client = client_of(near_container)
    wait_until(lambda: client.replies.link.connected, "connected")
    client.breaker.close()
    yield client
    assert client.replies.waiting == 0, "no reply waiter is left behind"


@pytest.fixture(scope="module")
def far_container(broker: str) -> Iterator[ServiceContainer]:
    with started(Far, _config(broker)) as container:
        yield container


@pytest.fixture
def far(far_container: ServiceContainer) -> Iterator[type[Far]]:
    """The called service, its gate closed at first."""
    close_gate()
    yield Far
    open_gate()


@pytest.fixture
def lonely(vhost: str) -> Iterator[RpcClient]:
    """A caller whose service is not there."""
    with started(Near, _config(vhost)) as container:
        client = client_of(container)
        wait_until(lambda: client.replies.link.connected, "connected")
        yield client


def test_an_answer_comes_back(far: type[Far], near: RpcClient) -> None:
    assert near.call("echo", text="여보세요") == "여보세요"


def test_a_service_on_nameko_s_own_rpc_can_be_called_too(
    broker: str, near_container: ServiceContainer, near: RpcClient
) -> None:
    with started(Stock, _config(broker)):
        assert client_of(near_container, "stock").call("echo", text="hello") == "hello"


def test_a_domain_error_arrives_as_itself_and_leaves_the_breaker_closed(far: type[Far], near: RpcClient) -> None:
    for _ in range(5):
        with pytest.raises(Conflict) as caught:
            near.call("conflict")
    assert caught.value.detail == "not now"
    assert caught.value.fields == [{"field": "state", "message": "is closed"}]
    assert caught.value.retry_after_s == 3
    assert near.breaker_state == "closed"


def test_a_defect_over_there_is_named(far: type[Far], near: RpcClient) -> None:
    with pytest.raises(RemoteFault, match="RuntimeError: a defect"):
        near.call("defect")


def test_no_answer_within_the_deadline_is_said_and_the_late_answer_dropped(far: type[Far], near: RpcClient) -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        near.call("slow", text="a", timeout_s=0.5)
    assert 0.4 < time.monotonic() - started < 4
    assert near.replies.waiting == 0
    far.gate.send()
    wait_until(lambda: near.call("echo", text="b") == "b", "the service goes on", answered=(CallFailed,))


def test_a_request_expires_with_its_deadline_and_is_never_carried_out(far: type[Far], near: RpcClient) -> None:
    eventlet.spawn(_swallow, near, "slow", text="holds the worker", timeout_s=30)
    wait_until(lambda: far.calls, "the worker is busy")
    with pytest.raises(DeadlineExceeded):
        near.call("echo", text="too late", timeout_s=0.3)
    far.gate.send()
    assert near.call("echo", text="in time") == "in time"
    assert far.calls == ["holds the worker", "in time"]


def test_lateness_is_told_without_trusting_that_two_clocks_agree() -> None:
    lateness = Lateness()
    five_minutes = 300_000
    assert lateness.of("caller", 1000, 1000 + five_minutes) == 0
    assert lateness.of("caller", 2000, 2050 + five_minutes) == 50
    assert lateness.of("caller", 3000, 6000 + five_minutes) == 3000
    assert lateness.of("another", 3000, 3000 - five_minutes) == 0


def test_where_the_service_is_not_there_the_call_fails_at_once(lonely: RpcClient) -> None:
    started = time.monotonic()
    with pytest.raises(NoRoute):
        lonely.call("echo", text="x")
    assert time.monotonic() - started < 3, "it does not wait for the deadline of 5 s"


def test_a_full_service_refuses_at_once_with_when_to_come_back(far: type[Far], near: RpcClient) -> None:
    callers = [eventlet.spawn(_outcome, near, "slow", text=str(n), timeout_s=60) for n in range(12)]
    refused = wait_until(lambda: [c for c in callers if c.dead and isinstance(c.wait(), QueueFull)], "some are refused")
    assert refused[0].wait().retry_after_s > 0
    far.gate.send()
    answers = [caller.wait() for caller in callers]
    assert any(isinstance(answer, str) for answer in answers), "those that were taken are answered"
    assert all(isinstance(answer, str | QueueFull | BreakerOpen) for answer in answers)


def test_a_failing_service_is_left_alone_and_asked_again_later(vhost: str, lonely: RpcClient) -> None:
    for _ in range(3):
        with pytest.raises(NoRoute):
            lonely.call("echo", text="x")
    assert lonely.breaker_state == "open"
    # Where this is slower than the breaker, a probe comes in between.
    left_alone = wait_until(lambda: _refused(_outcome(lonely, "echo", text="x")), "no call goes out")
    assert left_alone.retry_after_s >= 0.5
    close_gate()
    with started(Far, _config(vhost)):
        wait_until(lambda: lonely.call("echo", text="back") == "back", "works again", answered=(CallFailed,))
        assert lonely.breaker_state == "closed"
        assert Far.calls == ["back"]


def test_while_half_open_one_call_finds_out_and_the_others_are_spared(vhost: str, lonely: RpcClient) -> None:
    for _ in range(3):
        _swallow(lonely, "echo", text="x")
    wait_until(lambda: not isinstance(_outcome(lonely, "echo", text="x"), BreakerOpen), "a probe goes through")
    close_gate()
    with started(Far, _config(vhost)):
        def probes() -> list[Any]:
            callers = [eventlet.spawn(_outcome, lonely, "slow", text=str(n), timeout_s=1) for n in range(10)]
            return [caller.wait() for caller in callers]

        answers = wait_until(
            lambda: (a := probes()) and any(isinstance(x, DeadlineExceeded) for x in a) and a, "one went through"
        )
        assert sum(isinstance(answer, DeadlineExceeded) for answer in answers) == 1
        Far.gate.send()


def test_the_fallback_s_value_takes_the_place_of_the_failure(lonely: RpcClient) -> None:
    assert lonely.call("echo", text="x", fallback=lambda failed: f"kept: {failed.why}") == "kept: no_route"


def test_calls_work_again_after_the_broker_cut_every_connection(far: type[Far], near: RpcClient) -> None:
    near.replies.link.reset()
    far_answers = wait_until(lambda: near.call("echo", text="again"), "works again", answered=(CallFailed,))
    assert far_answers == "again"


def test_a_request_without_a_reply_address_harms_nobody(far: type[Far], near: RpcClient, broker: str) -> None:
    with Connection(broker) as connection:
        producer = connection.Producer(serializer="json")
        producer.publish({"args": [], "kwargs": {"text": "x"}}, exchange="nameko-rpc", routing_key="far.echo")
        producer.publish({"no": "args"}, exchange="nameko-rpc", routing_key="far.echo")
        producer.publish({"args": [], "kwargs": {}}, exchange="nameko-rpc", routing_key="far.unknown")
    assert near.call("echo", text="y") == "y"


def _swallow(client: RpcClient, method: str, **arguments: Any) -> None:
    _outcome(client, method, **arguments)


def _refused(outcome: Any) -> BreakerOpen | None:
    return outcome if isinstance(outcome, BreakerOpen) else None


def _outcome(client: RpcClient, method: str, **arguments: Any) -> Any:
    try:
        return client.call(method, **arguments)
    except CallFailed as failed:
        return failed
