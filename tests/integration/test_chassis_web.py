"""HTTP entrypoints in a real container, seen through a plain socket: no client, however broken, gets a 5xx."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import eventlet
import pytest

from chassis.health import register_check
from tests.harness.web import DEADLINE_S, Connection, Demo, ask, demo, server_of

GET = b"GET /things/7 HTTP/1.1\r\nHost: x\r\n"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def container() -> Iterator[Any]:
    with demo() as running:
        yield running


def test_request_id_and_trace_are_carried_through(container: Any) -> None:
    status, headers, thing = ask(container, "GET", "/things/7", traceparent=TRACEPARENT, X_Request_ID="mine-1")
    assert (status, headers["x-request-id"], thing["thing"]) == (200, "mine-1", "7")
    assert thing["request"] == "mine-1"
    assert thing["trace"].startswith(TRACEPARENT[:36]) and thing["trace"] != TRACEPARENT
    _, other, _ = ask(container, "GET", "/things/7", X_Request_ID="no good")
    assert re.fullmatch("[0-9a-f]{32}", other["x-request-id"])


def test_no_piece_of_an_answer_waits_for_the_acknowledgement_of_another(container: Any) -> None:
    connection = Connection(container).send(GET + b"\r\n")
    assert connection.answer()[0] == 200
    [(_, served, _)] = server_of(container)._connections.values()
    assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_result_forms(container: Any) -> None:
    status, headers, made = ask(container, "POST", "/things", b"12345")
    assert (status, headers["location"], made) == (201, "/things/1", {"bytes": 5})


def test_nobody_keeps_an_answer_or_takes_it_for_something_else(container: Any) -> None:
    for path in ("/", "/nowhere", "/livez", "/metrics"):
        _, headers, _ = ask(container, "GET", path)
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff"), path


def test_unknown_path_wrong_method_options_and_head(container: Any) -> None:
    for method, path, status in [("GET", "/nothing", 404), ("DELETE", "/things/7", 405), ("OPTIONS", "/nothing", 404)]:
        answered, headers, document = ask(container, method, path)
        assert (answered, document["status"]) == (status, status)
        assert headers["content-type"] == "application/problem+json"
        assert document["request_id"] == headers["x-request-id"]
    assert ask(container, "DELETE", "/things/7")[1]["allow"] == "GET, HEAD, OPTIONS"
    status, headers, body = ask(container, "OPTIONS", "/things")
    assert (status, headers["allow"], body) == (204, "OPTIONS, POST", b"")
    connection = Connection(container).send(b"HEAD /things/7 HTTP/1.1\r\nHost: x\r\n\r\n")
    status, headers, _ = connection.answer(head_only=True)
    assert status == 200 and int(headers["content-length"]) > 0
    assert connection.send(b"GET /things/8 HTTP/1.1\r\nHost: x\r\n\r\n").answer()[0] == 200, "HEAD sent a body"


def test_defect_says_nothing_but_its_request_id(container: Any) -> None:
    status, headers, document = ask(container, "GET", "/defect")
    assert (status, headers["content-type"]) == (500, "application/problem+json")
    assert headers["x-request-id"] in document["detail"]
    assert "hunter2" not in json.dumps(document) and "Traceback" not in json.dumps(document)
    assert ask(container, "GET", "/escaped")[0] == 500
    assert ask(container, "GET", "/things/7")[0] == 200


def test_failed_call_says_when_to_come_back(container: Any) -> None:
    status, headers, document = ask(container, "GET", "/gone")
    assert (status, headers["retry-after"], document["detail"]) == (503, "3", "order: no answer")
    status, _, document = ask(container, "GET", "/problem")
    assert (status, document["errors"]) == (409, [{"field": "state", "message": "closed"}])


def test_body_over_the_limit_is_refused_unless_the_route_raises_it(container: Any) -> None:
    assert ask(container, "POST", "/things", b"x" * 65536)[2] == {"bytes": 65536}
    assert ask(container, "POST", "/things", b"x" * 65537)[0] == 413
    assert ask(container, "POST", "/things", b"x" * 900_000)[0] == 413
    assert ask(container, "POST", "/big", b"x" * 200_000)[2] == {"bytes": 200_000}
    connection = Connection(container).send(b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
    status, headers, _ = connection.answer()
    assert (status, headers["connection"]) == (413, "close")
    chunked = b"POST /things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    assert Connection(container).send(chunked + chunk * 6 + b"0\r\n\r\n").answer()[0] == 413
    assert json.loads(Connection(container).send(chunked + b"3\r\nabc\r\n0\r\n\r\n").answer()[2]) == {"bytes": 3}


def test_a_form_with_a_file_is_taken(container: Any) -> None:
    # The standard library calls such header fields defective, because it misses the parts after them.
    body = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\nx\r\n--b--\r\n'
    content_type = "multipart/form-data; boundary=b"
    assert ask(container, "POST", "/things", body, Content_Type=content_type)[2] == {"bytes": len(body)}


def test_expect_continue_is_answered_before_the_body(container: Any) -> None:
    connection = Connection(container)
    connection.send(b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert connection.file.readline().startswith(b"HTTP/1.1 100")
    assert connection.file.readline() == b"\r\n"
    assert connection.send(b"ab").answer()[0] == 201


def test_full_service_refuses_at_once_and_is_still_seen_alive(container: Any) -> None:
    container.config["HTTP_MAX_WAITING"] = 0
    busy = []
    for _ in range(4):
        Demo.entered = eventlet.Event()
        busy.append(Connection(container).send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"))
        Demo.entered.wait()
    status, headers, _ = ask(container, "GET", "/things/7")
    assert (status, headers["retry-after"]) == (503, "1")
    assert ask(container, "GET", "/livez")[0] == 200
    Demo.release.send()
    assert [connection.answer()[0] for connection in busy] == [200] * 4


def test_stream_arrives_piece_by_piece_and_ends_when_the_client_leaves(container: Any) -> None:
    stream = Connection(container).send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    status, headers, _ = stream.answer(head_only=True)
    assert (status, headers["content-type"], headers["transfer-encoding"]) == (200, "text/event-stream", "chunked")
    assert [stream.file.readline() for _ in range(4)][1] == b"data: 1\n"
    assert Connection(container).send(b"HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n").answer(head_only=True)[0] == 200


def test_stop_lets_running_requests_finish_ends_streams_and_closes_idle_connections(container: Any) -> None:
    idle, silent = Connection(container), Connection(container)
    assert idle.send(GET + b"\r\n").answer()[0] == 200
    running = Connection(container).send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    Demo.entered.wait()
    stream = Connection(container).send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    stream.answer(head_only=True)
    port = server_of(container).port
    waiting = Connection(container).send(GET + b"\r\n")  # may still be in the listener's backlog
    stopping = eventlet.spawn(container.stop)
    with eventlet.Timeout(DEADLINE_S):
        assert waiting.answer()[0] == 200
        assert b"".join(stream.file).endswith(b"0\r\n\r\n")
        assert idle.is_closed() and silent.is_closed()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        assert not stopping.dead
        Demo.release.send()
        status, headers, body = running.answer()
        assert (status, headers["connection"], body) == (200, "close", b"done")
        stopping.wait()
    assert Demo.closed == ["stream"]


def test_readiness_names_what_is_missing_and_liveness_sees_a_killed_container(container: Any) -> None:
    for path in ("/livez", "/readyz"):
        status, headers, body = ask(container, "GET", path)
        assert (status, body["status"], body["service"]) == (200, "ok", "demo")
        assert headers["cache-control"] == "no-store"
    register_check(container, "broker", ready=lambda: False)
    with eventlet.Timeout(DEADLINE_S):
        while ask(container, "GET", "/readyz")[0] == 200:  # the last second's answer is remembered
            eventlet.sleep(0.05)
    status, _, body = ask(container, "GET", "/readyz")
    assert (status, body["checks"]["broker"], body["checks"]["container"]) == (503, "not well", "ok")
    container._being_killed = True
    try:
        with eventlet.Timeout(DEADLINE_S):
            while ask(container, "GET", "/livez")[0] == 200:
                eventlet.sleep(0.05)
        assert ask(container, "GET", "/livez")[2]["checks"]["container"] == "the container is being killed"
        assert ask(container, "GET", "/things/7")[0] == 503
    finally:
        container._being_killed = False


def test_metrics_count_requests_by_route_and_not_by_path(container: Any) -> None:
    ask(container, "GET", "/things/secret-id")
    ask(container, "GET", "/no/such/path")
    _, headers, text = ask(container, "GET", "/metrics")
    assert headers["content-type"].startswith("text/plain")
    assert b'route="/things/<thing_id>"' in text and b'route="unmatched"' in text
    assert b"secret-id" not in text and b"/no/such/path" not in text
