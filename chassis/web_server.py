"""The HTTP server under `chassis.web`: connections, framing, draining. It knows no route and no service.

What Nameko's server lacks: problem documents instead of raw text for broken requests, time limits for slow
clients, an accept loop and connections that survive any client, and a stop that ends quickly with nothing lost.
Built on eventlet's WSGI server; rules of framing are RFC 9112.
"""

from __future__ import annotations

import http
import json
import re
import socket
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import eventlet
from eventlet import greenio, wsgi
from nameko.web.server import HttpOnlyProtocol, parse_address
from nameko.web.server import WebServer as NamekoWebServer

from chassis import metrics
from chassis.logging import get_logger
from chassis.settings import setting

KEEPALIVE_S = 75
SOCKET_TIMEOUT_S = 30
HEADERS_TIMEOUT_S = 20
LINGER_S = 1.0
LINGER_BYTES = 1 << 20
LAST_REQUEST_GRACE_S = 0.2
DRAIN_S = 15.0
MAX_CONNECTIONS = 1000

_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_log = get_logger(__name__)


def sane_request_id(given: str | None) -> str:
    """Return the client's request id where it is short and plain ASCII, else a new one."""
    return given if given and _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def problem_document(status: int, title: str, detail: str, **members: Any) -> bytes:
    """Return an RFC 9457 problem document as JSON; members that are None or empty are left out."""
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    document |= {key: value for key, value in members.items() if value}
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


class StreamEnded(BaseException):
    """Thrown into a streaming answer's generator when the server stops; its `finally` blocks run."""


class Stream:
    """A streaming answer that the stopping server can end cleanly: the client sees a finished body."""

    def __init__(self, server: WebServer, source: Any) -> None:
        self._server, self._source, self._items = server, source, iter(source)
        self._greenlet = eventlet.getcurrent()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._server.stopping:
            raise StopIteration
        self._server.streams.add(self._greenlet)
        try:
            item = next(self._items)
        except StreamEnded:
            raise StopIteration from None
        except StopIteration:
            raise
        except Exception:
            _log.exception("http_stream_failed")
            raise StopIteration from None
        finally:
            self._server.streams.discard(self._greenlet)
        return item if isinstance(item, bytes) else str(item).encode()

    def close(self) -> None:
        """Close the generator, also where it never ran."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


class Protocol(HttpOnlyProtocol):
    """One connection. Whatever is wrong with a request's framing is a 4xx problem document and the end of it."""

    linger = False
    headers: Any
    path: str

    def refuse(self, status: int, detail: str) -> None:
        """Answer before routing and close. 5xx becomes 400: a client's mistake is never a server's failure."""
        status = 400 if status >= 500 else status
        phrase = http.HTTPStatus(status).phrase
        headers = getattr(self, "headers", None)
        request_id = sane_request_id(headers.get("X-Request-ID") if headers is not None else None)
        body = problem_document(status, phrase, detail, request_id=request_id)
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
            f"X-Request-ID: {request_id}\r\nConnection: close\r\n\r\n"
        )
        self.wfile.write(head.encode("latin-1") + body)
        self.close_after(linger=True)
        service = self.server.service_name
        metrics.HTTP_DURATION.labels(service, "other", "unreadable", str(status)).observe(0)
        _log.info("http_refused", status=status, detail=detail, request_id=request_id)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Standard library's way to refuse a request line."""
        self.refuse(int(code), message or "The request cannot be read")

    def close_after(self, linger: bool = False) -> None:
        """Close the connection after this answer; `linger` swallows what the client still sends, so it reads it."""
        self.close_connection = True
        self.linger = self.linger or linger

    def _read_request_line(self) -> Any:
        line = super()._read_request_line()
        if len(line) >= self.server.url_length_limit:
            self.refuse(414, f"The request line may have at most {self.server.url_length_limit} bytes")
            return b""
        return line

    def parse_request(self) -> bool:
        """Read the headers, within a time limit, and check the framing. False: refused, or nothing was there."""
        self.headers = None
        limit = eventlet.Timeout(HEADERS_TIMEOUT_S)
        try:
            if not super().parse_request():
                return False
        except (wsgi.HeaderLineTooLong, wsgi.HeadersTooLarge):
            self.refuse(431, "The header fields are too large")
            return False
        except eventlet.Timeout as raised:
            if raised is not limit:
                raise
            self.refuse(408, f"The header fields did not arrive within {HEADERS_TIMEOUT_S} seconds")
            return False
        finally:
            limit.cancel()
        flaw = self._framing_flaw()
        if flaw:
            self.refuse(400, flaw)
            return False
        self.path = re.sub(r"(?i)^https?://[^/?#]*", "", self.path) or "/"  # absolute-form, RFC 9112 3.2.2
        return True

    def _framing_flaw(self) -> str | None:
        """What would let two parties read this request differently (RFC 9112 sections 3.2, 5.1, 6.1, 6.3)."""
        lengths = set(self.headers.get_all("Content-Length", []))
        codings = self.headers.get_all("Transfer-Encoding", [])
        if self.headers.defects:
            return "A header line is malformed"
        if any(not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) for name in self.headers):
            return "A header name is malformed"
        if self.request_version == "HTTP/1.1" and len(self.headers.get_all("Host", [])) != 1:
            return "Exactly one Host header field is required"
        if lengths and codings:
            return "Content-Length and Transfer-Encoding are not allowed together"
        if len(lengths) > 1 or any(not re.fullmatch(r"[0-9]{1,15}", length.strip()) for length in lengths):
            return "Content-Length must be one decimal number"
        if codings and [coding.strip().lower() for coding in codings] != ["chunked"]:
            return "The only Transfer-Encoding understood here is chunked"
        return None

    def get_environ(self) -> dict[str, Any]:
        """The WSGI environment, with this connection under "chassis.connection"."""
        environ: dict[str, Any] = super().get_environ()
        environ["chassis.connection"] = self
        return environ

    def finish(self) -> None:
        """Close; a lingering close first reads on for a moment, or the reset would destroy our answer."""
        if self.linger:
            with eventlet.Timeout(LINGER_S, False):
                try:
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_WR)
                    left = LINGER_BYTES
                    while left > 0 and (read := self.connection.recv(min(left, 65536))):
                        left -= len(read)
                except (OSError, ValueError) as error:
                    _log.debug("http_client_gone", error=str(error))
        super().finish()


class _EventletLog:
    """eventlet writes its own access lines and client errors here; ours are better, so these are for debugging."""

    def _debug(self, message: str, *args: Any) -> None:
        _log.debug("eventlet_wsgi", detail=message % args if args else message)

    debug = info = error = _debug


class WebServer(NamekoWebServer):
    """One listener a container, shared by its HTTP entrypoints and its health endpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.stopping = False
        self.streams: set[Any] = set()
        self._connections: dict[int, list[Any]] = {}
        self._drained: Any = None

    @property
    def bind_addr(self) -> Any:
        """WEB_SERVER_ADDRESS ("host:port" or a port) from the merged settings."""
        return parse_address(str(setting(self.container, "WEB_SERVER_ADDRESS", "0.0.0.0:8000")))

    @property
    def port(self) -> int:
        """The port listened on; useful where the setting says 0."""
        return int(self._sock.getsockname()[1])

    def get_wsgi_app(self) -> Any:
        """Route with `chassis.web`."""
        from chassis.web import App

        return App(self)

    def get_wsgi_server(self, sock: Any, wsgi_app: Any, protocol: Any = Protocol, debug: bool = False) -> Any:
        """Eventlet's server with time limits, and without tracebacks or access lines of its own."""
        server = wsgi.Server(
            sock, sock.getsockname(), wsgi_app, protocol=protocol, debug=False, log=_EventletLog(), log_format="",
            keepalive=KEEPALIVE_S, socket_timeout=SOCKET_TIMEOUT_S, log_x_forwarded_for=False,
        )  # fmt: skip
        server.service_name = self.container.service_name
        server.capitalize_response_headers = False  # `X-Request-ID` stays as it is written
        return server

    def context_data_from_headers(self, request: Any) -> dict[str, Any]:
        """What a worker inherits from a request: its traceparent and its request id."""
        data = {"traceparent": request.headers.get("traceparent"), "request_id": request.environ["chassis.request_id"]}
        return {key: value for key, value in data.items() if value}

    def run(self) -> None:
        """Accept for ever; running out of file descriptors is waited out, not died of."""
        while self._is_accepting:
            try:
                sock, address = self._sock.accept()
            except OSError as error:
                if not self._is_accepting:
                    return
                _log.warning("http_accept_failed", error=str(error))
                eventlet.sleep(0.1)
                continue
            self._spawn(sock, address)

    def _spawn(self, sock: Any, address: Any) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            _log.warning("http_connection_refused", open=len(self._connections))
            sock.close()
            return
        state = [address, sock, wsgi.STATE_IDLE]
        self._connections[id(state)] = state
        sock.settimeout(self._serv.socket_timeout)
        self.container.spawn_managed_thread(partial(self._serve, state), identifier="http connection")

    def _serve(self, state: list[Any]) -> None:
        """Serve one connection. Nothing that a client does may end the container."""
        open_connections = metrics.HTTP_OPEN.labels(self.container.service_name)
        open_connections.inc()
        try:
            self._serv.process_request(state)
        except (OSError, eventlet.Timeout, StreamEnded) as error:
            _log.debug("http_connection_broken", error=repr(error))
        except Exception:
            _log.exception("http_connection_failed")
        finally:
            open_connections.dec()
            self._connections.pop(id(state), None)
            greenio.shutdown_safe(state[1])
            state[1].close()

    def unregister_provider(self, provider: Any) -> None:
        """The first entrypoint that stops drains the server; every one returns when it is drained."""
        self.drain()
        super().unregister_provider(provider)

    def drain(self) -> None:
        """Stop listening, end streams, let running requests finish (at most DRAIN_S), close idle connections.

        eventlet listens with SO_REUSEPORT, so a successor can already have the port; what waits in our backlog
        is still served.
        """
        if self._drained is not None:
            self._drained.wait()
            return
        self._drained = eventlet.Event()
        try:
            if self._serv is not None:
                self._drain()
        finally:
            self._drained.send(None)

    def _drain(self) -> None:
        self._is_accepting = False
        self.stopping = True
        self._serv.keepalive = False
        self._gt.kill()
        self._take_backlog()
        self._sock.close()
        for stream in list(self.streams):
            eventlet.kill(stream, StreamEnded)
        eventlet.sleep(LAST_REQUEST_GRACE_S)
        for state in list(self._connections.values()):
            if state[2] == wsgi.STATE_IDLE:
                self._shut(state, socket.SHUT_RD)
        with eventlet.Timeout(DRAIN_S, False):
            while self._connections:
                eventlet.sleep(0.02)
        for state in list(self._connections.values()):
            _log.warning("http_connection_cut", client=str(state[0]))
            self._shut(state, socket.SHUT_RDWR)

    def _take_backlog(self) -> None:
        listener: Any = self._sock.fd
        listener.setblocking(False)
        while True:
            try:
                raw, address = listener.accept()
            except OSError:  # nothing waits
                return
            self._spawn(greenio.GreenSocket(raw), address)

    @staticmethod
    def _shut(state: list[Any], how: int) -> None:
        try:
            state[1].shutdown(how)
        except OSError as error:
            _log.debug("http_client_gone", error=str(error))

    def stop(self) -> None:
        """Wait until every provider has gone; the listener is closed by then."""
        self.drain()
        self.wait_for_providers()
