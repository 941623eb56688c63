"""The HTTP server under `chassis.web`: listening, connections, streams, draining. It knows no route and no service.

What Nameko's server lacks: an accept loop and connections that survive any client, and a stop that ends quickly
with nothing lost. Built on eventlet's WSGI server.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import eventlet
from eventlet import greenio, wsgi
from nameko.web.server import WebServer as NamekoWebServer
from nameko.web.server import parse_address

from chassis import metrics
from chassis.logging import get_logger
from chassis.settings import setting
from chassis.web_protocol import Protocol

KEEPALIVE_S = 75
SOCKET_TIMEOUT_S = 30
LAST_REQUEST_GRACE_S = 0.2
DRAIN_S = 15.0
MAX_CONNECTIONS = 1000

_log = get_logger(__name__)


class StreamEnded(BaseException):
    """Thrown into a streaming answer's generator when the server stops; its `finally` blocks run."""


class Stream:
    """A streaming answer that the stopping server can end cleanly: the client sees a finished body."""

    def __init__(self, server: WebServer, source: Any, request_id: str) -> None:
        self._server, self._source, self._items = server, source, iter(source)
        self._request_id = request_id
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
            _log.exception("http_stream_failed", request_id=self._request_id)
            raise StopIteration from None
        finally:
            self._server.streams.discard(self._greenlet)
        return item if isinstance(item, bytes) else str(item).encode()

    def close(self) -> None:
        """Close the generator, also where it never ran."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


class _EventletLog:
    """eventlet writes what goes wrong with a client here; ours says it better, so this is for debugging."""

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
            sock, sock.getsockname(), wsgi_app, protocol=protocol, debug=False, log=_EventletLog(), log_output=False,
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
        if len(self._connections) >= int(setting(self.container, "HTTP_MAX_CONNECTIONS", MAX_CONNECTIONS)):
            _log.warning("http_connection_refused", open=len(self._connections))
            sock.close()
            return
        state = [address, sock, wsgi.STATE_IDLE]
        self._connections[id(state)] = state
        sock.settimeout(self._serv.socket_timeout)
        # An answer of more than 16 KiB leaves in two pieces: without this, the second one waits for the client's
        # acknowledgement of the first, which clients put off by 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
