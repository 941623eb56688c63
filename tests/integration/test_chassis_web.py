"""HTTP entrypoints in a real container, seen through a plain socket: no client, however broken, gets a 5xx."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import eventlet
import pytest
from nameko.containers import ServiceContainer
from werkzeug.wrappers import Response

from chassis import web_body, web_protocol, web_server
from chassis.health import HealthEndpoints, register_check
from chassis.logging import Logging, bound
from chassis.tracing import Tracing, current_traceparent
from chassis.web import http, problem

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DEADLINE_S = 30


class Gone(Exception):
    http_status, title, detail, retry_after_s = 503, "Unavailable", "order: no answer", 2.5
    fields: list[dict[str, str]] = []  # noqa: RUF012


class Demo:
    name = "demo"
    logging, tracing, health = Logging(), Tracing(), HealthEndpoints()
    closed: list[str] = []  # noqa: RUF012
    release: Any = None
    entered: Any = None

    @http("GET", "/things/<thing_id>")
    def thing(self, request: Any, thing_id: str) -> Any:
        return {"thing": thing_id, "trace": current_traceparent(), "request": bound("request_id")}

    @http("POST", "/things")
    def make(self, request: Any) -> Any:
        return 201, {"Location": "/things/1"}, {"bytes": len(request.get_data())}

    @http("POST", "/big", max_body=200_000)
    def big(self, request: Any) -> Any:
        return {"bytes": len(request.get_data())}

    @http("GET", "/defect")
    def defect(self, request: Any) -> Any:
        raise RuntimeError("the password is hunter2")

    @http("GET", "/gone")
    def gone(self, request: Any) -> Any:
        raise Gone()

    @http("GET", "/problem")
    def refuses(self, request: Any) -> Any:
        return problem(409, "Conflict", "already closed", [{"field": "state", "message": "closed"}])

    @http("GET", "/escaped")
    def escaped(self, request: Any) -> Any:
        raise eventlet.Timeout(1)

    @http("GET", "/slow")
    def slow(self, request: Any) -> Any:
        Demo.entered.send()
        Demo.release.wait()
        return "done"

    @http("GET", "/stream")
    def stream(self, request: Any) -> Any:
        def events() -> Iterator[str]:
            try:
                yield "data: 1\n\n"
                yield "data: 하나\n\n"
                eventlet.Event().wait()
            finally:
                Demo.closed.append("stream")

        return Response(events(), content_type="text/event-stream")


@pytest.fixture
def container() -> Iterator[Any]:
    Demo.closed.clear()
    Demo.release, Demo.entered = eventlet.Event(), eventlet.Event()
    running = ServiceContainer(Demo, {"WEB_SERVER_ADDRESS": "127.0.0.1:0", "max_workers": 4, "LOG_LEVEL": "DEBUG"})
    running.start()
    yield running
    if not Demo.release.ready():
        Demo.release.send()
    with eventlet.Timeout(DEADLINE_S):
        running.stop()


def server_of(container: Any) -> Any:
    return container.shared_extensions[web_server.WebServer]


class Connection:
    """A client that sends exactly what it is told."""

    def __init__(self, container: Any) -> None:
        self.sock = socket.create_connection(("127.0.0.1", server_of(container).port), timeout=DEADLINE_S)
        self.file = self.sock.makefile("rb")

    def send(self, data: bytes) -> Connection:
        self.sock.sendall(data)
        return self

    def answer(self, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        status_line = self.file.readline().decode()
        assert status_line, "the connection was closed without an answer"
        headers = {}
        while line := self.file.readline().decode("latin-1").strip():
            name, value = line.split(":", 1)
            assert name.lower() not in headers, f"{name} twice"
            headers[name.lower()] = value.strip()
        body = b"" if head_only else self.file.read(int(headers.get("content-length", 0)))
        return int(status_line.split()[1]), headers, body

    def is_closed(self) -> bool:
        try:
            return self.file.read(1) == b""
        except ConnectionError:
            return True


def ask(container: Any, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], Any]:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    connection = Connection(container).send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
    status, answered, content = connection.answer(head_only=method == "HEAD")
    is_json = "json" in answered.get("content-type", "") and content
    return status, answered, json.loads(content) if is_json else content


def test_request_id_and_trace_are_carried_through(container: Any) -> None:
    status, headers, thing = ask(container, "GET", "/things/7", traceparent=TRACEPARENT, X_Request_ID="mine-1")
    assert (status, headers["x-request-id"], thing["thing"]) == (200, "mine-1", "7")
    assert thing["request"] == "mine-1"
    assert thing["trace"].startswith(TRACEPARENT[:36]) and thing["trace"] != TRACEPARENT
    _, other, _ = ask(container, "GET", "/things/7", X_Request_ID="no good")
    assert re.fullmatch("[0-9a-f]{32}", other["x-request-id"])


def test_result_forms(container: Any) -> None:
    status, headers, made = ask(container, "POST", "/things", b"12345")
    assert (status, headers["location"], made) == (201, "/things/1", {"bytes": 5})


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


def test_expect_continue_is_answered_before_the_body(container: Any) -> None:
    connection = Connection(container)
    connection.send(b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert connection.file.readline().startswith(b"HTTP/1.1 100")
    assert connection.file.readline() == b"\r\n"
    assert connection.send(b"ab").answer()[0] == 201


POST = b"POST /things HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /things/7 HTTP/1.1\r\nHost: x\r\n"
BROKEN = {
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
    "no version number": (b"GET / HTTP/x\r\n\r\n", {400}),
    "HTTP/2": (b"GET / HTTP/2.0\r\n\r\n", {400}),
    "PRI": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "four words": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "unknown method": (b"BREW /things HTTP/1.1\r\nHost: x\r\n\r\n", {405}),
    "hostile method": (b"<script> /things HTTP/1.1\r\nHost: x\r\n\r\n", {405}),
    "request line too long": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {414}),
    "header line too long": (GET + b"A: " + b"a" * 9000 + b"\r\n\r\n", {431}),
    "headers too large": (GET + b"".join(b"A%d: %s\r\n" % (n, b"a" * 900) for n in range(90)) + b"\r\n", {431}),
    "too many headers": (GET + b"".join(b"A%d: a\r\n" % n for n in range(200)) + b"\r\n", {431}),
    "header without colon": (GET + b"nonsense\r\nContent-Length: 3\r\n\r\nabc", {400}),
    "space before colon": (POST + b"Content-Length : 3\r\n\r\nabc", {400}),
    "no host": (b"GET /things/7 HTTP/1.1\r\n\r\n", {400}),
    "two hosts": (GET + b"Host: y\r\n\r\n", {400}),
    "hostile host": (b"GET /things/7 HTTP/1.1\r\nHost: \xff..[::1\x00\r\n\r\n", {200, 400}),
    "negative length": (POST + b"Content-Length: -1\r\n\r\n", {400}),
    "length with sign": (POST + b"Content-Length: +3\r\n\r\nabc", {400}),
    "length with underscore": (POST + b"Content-Length: 1_0\r\n\r\n0123456789", {400}),
    "length not a number": (POST + b"Content-Length: three\r\n\r\n", {400}),
    "length beyond all": (POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n", {400}),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", {400}),
    "length and chunked": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    "unknown coding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", {400}),
    "chunk size not hex": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", {400}),
    "negative chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", {400}),
    "chunk size with prefix": (POST + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", {400}),
    "chunk longer than said": (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", {400}),
    "chunk without end": (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + b"a: b\r\n" * 99, {400}),
    "body nobody asked for": (b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nGET / HTTP", {404}),
    "path not UTF-8": (b"GET /things/%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "raw bytes in the path": (b"GET /things/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "overlong UTF-8": (b"GET /things/%c0%af HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "NUL in the path": (b"GET /things/a%00b HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "half an escape": (b"GET /things/%f HTTP/1.1\r\nHost: x\r\n\r\n", {200}),
    "broken query": (b"GET /things/7?%ff=%zz&&==&a HTTP/1.1\r\nHost: x\r\n\r\n", {200}),
    "dots": (b"GET /things/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
    "two slashes": (b"GET //things//7 HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
    "absolute form": (b"GET http://elsewhere/things/7 HTTP/1.1\r\nHost: x\r\n\r\n", {200}),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", {204, 404}),
    "connect": (b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", {404, 405}),
    "hostile traceparent": (GET + b"traceparent: \xff\x00'; drop table\r\n\r\n", {200}),
    "HTTP/1.0": (b"GET /things/7 HTTP/1.0\r\n\r\n", {200}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_request_is_the_clients_fault(container: Any, case: str) -> None:
    request, statuses = BROKEN[case]
    status, headers, body = Connection(container).send(request).answer()
    assert status in statuses
    assert headers["x-request-id"]
    if status >= 400:
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["status"] == status
    assert ask(container, "GET", "/things/7")[0] == 200


def test_client_that_hangs_up_at_any_point_harms_nobody(container: Any) -> None:
    whole = POST + b"Content-Length: 10\r\n\r\n0123456789"
    for length in range(0, len(whole), 7):
        connection = Connection(container).send(whole[:length])
        connection.file.close()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        connection.sock.close()
    half = Connection(container).send(whole[:-4])
    half.sock.shutdown(socket.SHUT_WR)
    assert half.answer()[0] == 400
    assert ask(container, "GET", "/things/7")[0] == 200


def test_slow_clients_run_out_of_time_and_hold_no_worker(container: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_protocol, "HEADERS_TIMEOUT_S", 0.3)
    monkeypatch.setattr(web_body, "BODY_TIMEOUT_S", 0.3)
    slow_headers = Connection(container).send(b"GET /things/7 HTTP/1.1\r\nHost:")
    slow_bodies = [Connection(container).send(POST + b"Content-Length: 5\r\n\r\nab") for _ in range(8)]
    assert ask(container, "GET", "/things/7")[0] == 200, "slow clients took all workers"
    assert slow_headers.answer()[0] == 408
    assert [slow.answer()[0] for slow in slow_bodies] == [408] * 8


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
