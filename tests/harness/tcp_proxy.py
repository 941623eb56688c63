"""A TCP proxy in front of one server, for networks that misbehave: late, cut, frozen, or swallowing answers.

    with TcpProxy(server.port) as proxy:
        driver = Driver(port=proxy.port)
        proxy.to_server_s = proxy.to_client_s = 0.2      # late, each way
        proxy.drop_answers()                             # requests go through, no answer ever comes back
        proxy.drop_answers(after_bytes=100)              # the next 100 bytes of answers still come
        proxy.drop_answer_to(b"PUT /entitlements/x")     # only that answer is lost; its effect happens
        proxy.drop_answer_to(b"PUT /", then="cut")       # the connection is reset when the answer would come
        proxy.wait_until_lost()                          # the server has answered, so the effect is there
        proxy.freeze()                                   # connections stay and open, nothing is carried
        proxy.cut()                                      # every connection is reset, new ones are refused
        proxy.heal()                                     # all is well again

It runs on greenlets of this process, so its client must be cooperative too, or another process. What is encrypted
(SSH) cannot be matched by its bytes: use `drop_answers`.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

import eventlet
from eventlet.event import Event
from eventlet.green import socket
from eventlet.queue import LightQueue

from tools.ports import free_port
from tools.waiting import wait_until

Then = Literal["hang", "cut"]
_CHUNK = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Link:
    """One client's connection and the proxy's own to the server; `mute` once its answers are to be lost."""

    def __init__(self, client: Any, server: Any) -> None:
        self.client = client
        self.server = server
        self.mute: Then | None = None
        self.torn = False
        self.seen = b""
        self.greenlets: list[Any] = []

    def reset(self) -> None:
        """End both halves at once, without a goodbye (RST)."""
        for greenlet in self.greenlets:
            if greenlet is not eventlet.getcurrent():
                greenlet.kill()
        for end in (self.client, self.server):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            end.close()


class TcpProxy:
    """Listens on `port` of 127.0.0.1 and carries everything to `target_port`; see the module for its use.

    `to_server_s` and `to_client_s` delay what passes that way, without reordering or adding up.
    `lost_bytes` counts what the server answered and the client never saw.
    """

    def __init__(self, target_port: int, target_host: str = "127.0.0.1") -> None:
        self.target = (target_host, target_port)
        self.port = free_port()
        self.to_server_s = 0.0
        self.to_client_s = 0.0
        self.lost_bytes = 0
        self._links: list[_Link] = []
        self._flowing: Event | None = None
        self._left: int | None = None
        self._left_then: Then = "hang"
        self._request: tuple[bytes, Then] = (b"", "hang")
        self._times = 0
        self._listener: Any = None
        self._accepting: Any = None
        self._listen()

    @property
    def connections(self) -> int:
        """How many clients are connected through it now."""
        return len(self._links)

    def cut(self) -> None:
        """Reset every connection and refuse new ones, until `heal`."""
        self._deafen()
        self._reset(self._links)

    def freeze(self) -> None:
        """Carry nothing more, either way, until `heal`; what is under way is carried then."""
        if self._flowing is None:
            self._flowing = Event()

    def drop_answers(self, after_bytes: int = 0, *, then: Then = "hang") -> None:
        """Lose every answer after the next `after_bytes` bytes, while requests go through, until `heal`."""
        self._left, self._left_then = after_bytes, then

    def drop_answer_to(self, request: bytes, *, times: int = 1, then: Then = "hang") -> None:
        """Lose what is answered on a connection once bytes that contain `request` went through on it.

        This happens to the first `times` such connections. `then`: the client waits in vain, or is cut off.
        """
        self._request, self._times = (request, then), times
        for link in self._links:
            link.seen = b""

    def wait_until_lost(self, timeout_s: float = 60.0) -> None:
        """Wait until an answer has been lost since the last `heal`: the server has done what it was asked."""
        wait_until(lambda: self.lost_bytes, "an answer was lost in the proxy", timeout_s=timeout_s, interval_s=0.005)

    def heal(self) -> None:
        """Carry everything again. Connections that lost bytes are reset: half a stream is of no use to anybody."""
        self.to_server_s = self.to_client_s = 0.0
        self._left, self._times, self.lost_bytes = None, 0, 0
        self._reset([link for link in self._links if link.mute or link.torn])
        if (frozen := self._flowing) is not None:
            self._flowing = None
            frozen.send()
        if self._listener is None:
            self._listen()

    def close(self) -> None:
        """End it with all its connections."""
        self.cut()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        self._listener = eventlet.listen(("127.0.0.1", self.port), backlog=128, reuse_port=False)
        self._accepting = eventlet.spawn(self._accept, self._listener)

    def _deafen(self) -> None:
        if self._listener is not None:
            self._accepting.kill()
            self._listener.close()
            self._listener = None

    def _accept(self, listener: Any) -> None:
        while True:
            client, _ = listener.accept()
            eventlet.spawn(self._open, client)

    def _open(self, client: Any) -> None:
        try:
            server = socket.create_connection(self.target, 10.0)
        except OSError:
            # What the client would see without a proxy, as nearly as it can be after its connection was taken.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            client.close()
            return
        server.settimeout(None)
        link = _Link(client, server)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._listener is None:
            link.reset()
            return
        self._links.append(link)
        there, back = LightQueue(), LightQueue()
        link.greenlets = [
            eventlet.spawn(self._read, link, client, there, lambda: self.to_server_s),
            eventlet.spawn(self._read, link, server, back, lambda: self.to_client_s),
            eventlet.spawn(self._carry, link, server, there, self._request_passes),
            eventlet.spawn(self._carry, link, client, back, self._answer_passes),
        ]

    def _read(self, link: _Link, source: Any, queue: Any, delay_s: Callable[[], float]) -> None:
        """Take bytes off one end, to be carried when their time has come; b"" is the end of the stream."""
        chunk = b"-"
        while chunk:
            try:
                chunk = source.recv(_CHUNK)
            except OSError:
                self._reset([link])
                return
            queue.put((time.monotonic() + delay_s(), chunk))

    def _carry(self, link: _Link, target: Any, queue: Any, passes: Callable[[_Link, bytes], bytes]) -> None:
        while True:
            due, chunk = queue.get()
            eventlet.sleep(max(due - time.monotonic(), 0.0))
            while self._flowing is not None:
                self._flowing.wait()
            try:
                if not chunk:
                    self._end_of_stream(link, target)
                    return
                if chunk := passes(link, chunk):
                    target.sendall(chunk)
            except OSError:
                self._reset([link])
                return
            if link.torn and link.mute == "cut":
                self._reset([link])
                return

    def _end_of_stream(self, link: _Link, target: Any) -> None:
        if target is link.server:
            target.shutdown(socket.SHUT_WR)
        elif link.mute is None:
            target.shutdown(socket.SHUT_WR)
            self._forget(link)
        # Else not even the server's goodbye comes through: the client waits until `heal`.

    def _request_passes(self, link: _Link, chunk: bytes) -> bytes:
        if self._times > 0 and link.mute is None:
            wanted, then = self._request
            link.seen += chunk
            if wanted in link.seen:
                self._times -= 1
                link.mute = then
            link.seen = link.seen[-len(wanted):]
        return chunk

    def _answer_passes(self, link: _Link, chunk: bytes) -> bytes:
        if self._left is not None and link.mute is None:
            passing, self._left = chunk[:self._left], max(self._left - len(chunk), 0)
            if len(passing) < len(chunk):
                link.mute = self._left_then
        else:
            passing = b"" if link.mute else chunk
        if len(passing) < len(chunk):
            self.lost_bytes += len(chunk) - len(passing)
            link.torn = True
        return passing

    def _forget(self, link: _Link) -> None:
        if link in self._links:
            self._links.remove(link)
        for end in (link.client, link.server):
            end.close()
        for greenlet in link.greenlets:
            if greenlet is not eventlet.getcurrent():
                greenlet.kill()

    def _reset(self, links: list[_Link]) -> None:
        for link in list(links):
            if link in self._links:
                self._links.remove(link)
                link.reset()
