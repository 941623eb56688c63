"""The answering side of calls, when something goes wrong: no request ends the service, none spins, none is lost."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import eventlet
import pytest
from kombu import Connection

from chassis.rpc_client import CallFailed, DeadlineExceeded, OutOfService, RpcClient
from contracts.errors import NotFound
from tests.harness.called import Far, answering, calling, close_gate, config_of, outcome, server
from tests.harness.proxy import proxied
from tests.harness.toys import publish, started
from tools.waiting import wait_until


def test_answers_that_json_or_unicode_cannot_hold_end_neither_the_call_nor_the_service(vhost: str) -> None:
    with answering(vhost) as far, calling(vhost) as near:
        assert near.call("echo", text="\ud800 \x00 여보세요") == "\ud800 \x00 여보세요"
        assert isinstance(outcome(near, "missing", text="\udfff"), NotFound)
        assert "UnserializableValueError" in str(outcome(near, "nested", depth=100_000))
        assert near.call("echo", text="alive") == "alive"
        assert not far._being_killed


def test_strange_requests_are_answered_and_end_nothing(vhost: str) -> None:
    def send(body: bytes, method: str = "echo", **headers: Any) -> None:
        publish(vhost, f"far.{method}", body, exchange="nameko-rpc", headers=headers, reply_to=None)

    with answering(vhost) as far, calling(vhost) as near:
        good = json.dumps({"args": [], "kwargs": {"text": "x"}}).encode()
        send(b"\xff not JSON")
        send(b"[" * 100_000)
        send(b'{"args": 5, "kwargs": []}')
        send(b'{"args": [], "kwargs": {"self": 1}}')
        send(good, "unknown")
        send(good, **{"nameko.call_id_stack": 5, "nameko.traceparents": 7, "x-timeout-ms": "soon"})
        assert near.call("echo", text="y") == "y"
        wait_until(lambda: sorted(Far.calls) == ["x", "y"], lambda: f"the readable ones are carried out: {Far.calls}")
        assert not far._being_killed
        assert _waiting(vhost) == 0, "none of them is left in the queue"


def _waiting(vhost: str) -> int:
    with Connection(vhost) as connection:
        return int(connection.default_channel.queue_declare("rpc-far", passive=True).message_count)


def test_a_service_without_its_database_says_when_to_come_back_and_is_left_alone(vhost: str) -> None:
    with answering(vhost), calling(vhost) as near:
        for _ in range(3):
            said = outcome(near, "without_database")
            assert isinstance(said, OutOfService)
            assert said.retry_after_s > 0
        assert near.breaker_state == "open"


def test_a_timeout_that_escapes_from_a_method_is_answered_and_holds_no_worker(vhost: str) -> None:
    with answering(vhost, max_workers=1) as far, calling(vhost) as near:
        for _ in range(3):
            assert "WorkerDied" in str(outcome(near, "out_of_time"))
        assert near.call("echo", text="goes on") == "goes on"
        assert not far._being_killed


def test_while_the_broker_takes_no_replies_a_request_is_carried_out_once(vhost: str) -> None:
    with answering(vhost) as far, calling(vhost) as near:
        replies = server(far)._link
        replies.session.blocked = "short of memory"
        asked = eventlet.spawn(outcome, near, "echo", text="once")
        wait_until(lambda: Far.calls, "carried out")
        near_again = [eventlet.spawn(outcome, near, "echo", text="twice") for _ in range(3)]
        wait_until(lambda: len(Far.calls) == 4, "others too")
        replies._block(None)
        assert asked.wait() == "once"
        assert [call.wait() for call in near_again] == ["twice"] * 3
        assert sorted(Far.calls) == ["once", "twice", "twice", "twice"], "not once more while it waited"


def test_a_service_starts_and_stops_while_there_is_no_broker_and_answers_once_there_is_one(vhost: str) -> None:
    close_gate()
    with proxied(vhost) as proxy:
        proxy.cut()
        with eventlet.Timeout(30):
            with started(Far, config_of(proxy.uri)):
                pass
            with started(Far, config_of(proxy.uri)), calling(vhost) as near:
                proxy.heal()
                wait_until(lambda: near.call("echo", text="up") == "up", "answers", answered=(CallFailed,))
                proxy.cut()
                wait_until(lambda: isinstance(outcome(near, "echo", text="x", timeout_s=0.2), CallFailed), "gone")


def test_stopping_answers_what_is_at_work_and_leaves_the_rest_in_the_queue(vhost: str) -> None:
    close_gate()
    with calling(vhost) as near:
        with started(Far, config_of(vhost, max_workers=1, RPC_PREFETCH=1)) as far:
            wait_until(lambda: server(far)._link.connected, "consuming")
            asked = [eventlet.spawn(outcome, near, "slow", text=str(number)) for number in range(3)]
            wait_until(lambda: Far.calls, "one is at work")
            stopping = eventlet.spawn(far.stop)
            wait_until(lambda: server(far)._stopping, "it takes no more")
            Far.gate.send()
            stopping.wait()
        wait_until(lambda: any(call.dead for call in asked), "the answer has arrived")
        assert [call.wait() for call in asked if call.dead] == Far.calls, "that one, and no other was begun"
        with started(Far, config_of(vhost)):
            assert sorted(call.wait() for call in asked) == ["0", "1", "2"]
        assert sorted(Far.calls) == ["0", "1", "2"], "none was carried out twice"


def test_a_queue_of_another_length_is_made_anew_unless_another_process_consumes_from_it(vhost: str) -> None:
    with answering(vhost, RPC_MAX_QUEUE=50) as old, calling(vhost) as near:
        with answering(vhost, RPC_MAX_QUEUE=60):
            assert near.call("echo", text="both serve") == "both serve"
        assert server(old)._link.connected
    with answering(vhost, RPC_MAX_QUEUE=60), calling(vhost) as near:
        assert near.call("echo", text="the new one") == "the new one"
    declare_requests(vhost, length=60, durable=False)


def test_the_queue_of_requests_is_not_tied_to_a_node_that_may_be_down_and_an_older_one_that_is_gives_way(
    vhost: str,
) -> None:
    declare_requests(vhost, length=50, durable=True)  # as earlier releases made it
    with answering(vhost, RPC_MAX_QUEUE=50), calling(vhost) as near:
        assert near.call("echo", text="the new one") == "the new one"
        declare_requests(vhost, length=50, durable=False)


def declare_requests(uri: str, *, length: int, durable: bool) -> None:
    """Refused by the broker where the queue is there and another one."""
    arguments = {"x-max-length": length, "x-overflow": "reject-publish"}
    with Connection(uri) as connection:
        connection.default_channel.queue_declare("rpc-far", durable=durable, auto_delete=False, arguments=arguments)


def test_a_request_without_a_deadline_that_was_interrupted_is_not_begun_for_ever(vhost: str) -> None:
    body = json.dumps({"args": [], "kwargs": {"text": "x"}}).encode()
    with Connection(vhost) as connection:
        answers = connection.SimpleQueue("answers")
        with answering(vhost) as far:
            publish(vhost, "far.slow", body, exchange="nameko-rpc", reply_to="answers", correlation_id=str(uuid4()))
            with connection.channel() as channel:
                channel.queue_bind("answers", "nameko-rpc", "answers")
            wait_until(lambda: Far.calls == ["x"], "begun")
            server(far)._link.reset()
            error = json.loads(answers.get(timeout=30).body)["error"]
            assert error["exc_type"] == "Interrupted"
            assert Far.calls == ["x"]


@pytest.mark.parametrize("by", ["kill", "timeout"])
def test_a_probe_that_is_ended_from_outside_neither_closes_the_breaker_nor_holds_it(vhost: str, by: str) -> None:
    with calling(vhost) as near:
        for _ in range(3):
            outcome(near, "echo", text="nobody is there")
        assert near.breaker_state == "open"
        with answering(vhost):
            probe = wait_until(lambda: _probe(near, 0.5 if by == "timeout" else 60), "a probe goes through")
            if by == "kill":
                probe.kill()
            wait_until(lambda: probe.dead, "the probe is ended")
            assert near.breaker_state != "closed", "nothing was found out"
            assert near.replies.waiting == 0
            wait_until(lambda: near.call("echo", text="in order") == "in order", "the next one", answered=(CallFailed,))
            assert near.breaker_state == "closed"


def _probe(near: RpcClient, patience_s: float) -> Any:
    def ask() -> None:
        with eventlet.Timeout(patience_s, False):
            outcome(near, "slow", text="probe")

    before = len(Far.calls)
    probe = eventlet.spawn(ask)
    wait_until(lambda: probe.dead or len(Far.calls) > before, "asked, or refused")
    return None if probe.dead else probe


def test_a_thousand_calls_leave_nothing_behind(vhost: str) -> None:
    with answering(vhost) as far, calling(vhost) as near:
        pool = eventlet.GreenPool(20)
        answers = list(pool.imap(lambda number: outcome(near, "echo", text=str(number)), range(1000)))
        assert answers == [str(number) for number in range(1000)]
        for number in range(20):
            asked = outcome(near, "slow", text=str(number), timeout_s=0.01)
            assert isinstance(asked, DeadlineExceeded | CallFailed)
        assert near.replies.waiting == 0
        links = [near.replies.link, server(far)._link]
        wait_until(lambda: not any(link.session.pending for link in links), "no confirm is missing")


def test_stopping_takes_less_than_a_second_when_there_is_nothing_to_do(vhost: str) -> None:
    took_s = []
    for _ in range(3):  # a busy machine may be slow once
        with started(Far, config_of(vhost)) as container:
            wait_until(lambda: server(container)._link.connected, "consuming")
            begun = time.monotonic()
            container.stop()
            took_s.append(time.monotonic() - begun)
    assert min(took_s) < 1
