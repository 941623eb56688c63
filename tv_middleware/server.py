"""HTTP/1.1 with keep-alive on the standard library's server: a thread a connection, the body read whole or refused."""

from __future__ import annotations

import json
import sys
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tv_middleware.api import Answer, Api, Refused, Request

MAX_BODY = 64 * 1024
IDLE_TIMEOUT_S = 75.0


class Server(ThreadingHTTPServer):
    """Serves `api` on `address`; port 0 takes a free one. `shutdown()` from another thread ends it."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, address: tuple[str, int], api: Api) -> None:
        self.api = api
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's error; anything else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "tv-middleware"
    sys_version = ""
    timeout = IDLE_TIMEOUT_S
    # One segment an answer, sent at once: otherwise each would wait for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1

    def _serve(self) -> None:
        try:
            body = self._body()
        except Refused as refused:
            # What follows on this connection may be the rest of that body.
            self.close_connection = True
            self._send(refused.answer)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            answer = self.server.api.answer(Request(self.command, self.path, headers, body))
        except Exception:
            traceback.print_exc()
            answer = Refused(500, "something went wrong here").answer
        self._send(answer)

    do_GET = do_PUT = do_POST = do_DELETE = _serve

    def _body(self) -> bytes:
        if "transfer-encoding" in self.headers:
            raise Refused(411, "a body needs its Content-Length")
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise Refused(400, f"Content-Length {length!r} is not a number")
        if int(length) > MAX_BODY:
            raise Refused(413, f"a body has {MAX_BODY} bytes at most")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionResetError("the client went away within its request")
        return body

    def _send(self, answer: Answer) -> None:
        if answer.silent:
            self.close_connection = True
            return
        body = b"" if answer.body is None else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        if body:
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        for name, value in answer.headers.items():
            if name != "Content-Type":
                self.send_header(name, value)
        if answer.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is not even a request, or has a method nobody knows."""
        self.close_connection = True
        self._send(Refused(code, message or HTTPStatus(code).phrase).answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: there are many, and they name subscribers."""
