"""A service of HTTP routes only, and a client that sends exactly the bytes it is told."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import eventlet
from werkzeug.wrappers import Response

from chassis import web_server
from chassis.container import Container
from chassis.health import HealthEndpoints
from chassis.logging import Logging, bound
from chassis.tracing import Tracing, current_traceparent
from chassis.web import http, problem

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


@contextmanager
def demo() -> Iterator[Any]:
    """The service in a container, for the length of a block."""
    Demo.closed.clear()
    Demo.release, Demo.entered = eventlet.Event(), eventlet.Event()
    running = Container(Demo, {"WEB_SERVER_ADDRESS": "127.0.0.1:0", "max_workers": 4, "LOG_LEVEL": "DEBUG"})
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
