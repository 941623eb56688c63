"""A TCP proxy between a service under test and its broker, to cut, freeze and heal the way between the two alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import eventlet
from eventlet.event import Event
from eventlet.greenio import shutdown_safe


class Proxy:
    """`uri` leads through the proxy to where the given URI leads."""

    def __init__(self, uri: str) -> None:
        there = urlsplit(uri)
        self._target = (there.hostname, there.port)
        self._listener = eventlet.listen(("127.0.0.1", 0))
        login = there.netloc.rpartition("@")[0]
        self.uri = urlunsplit(there._replace(netloc=f"{login}@127.0.0.1:{self._listener.getsockname()[1]}"))
        self._sockets: set[Any] = set()
        self._is_cut = False
        self._flows = Event()
        self._flows.send(None)
        self._accepting = eventlet.spawn(self._accept)

    def cut(self) -> None:
        """Cut every connection and let no new one through."""
        self._is_cut = True
        for sock in list(self._sockets):
            shutdown_safe(sock)

    def freeze(self) -> None:
        """Forward nothing more in either direction: connections stay, nobody answers, nobody reads."""
        if self._flows.ready():
            self._flows = Event()

    def heal(self) -> None:
        """Let everything through again."""
        self._is_cut = False
        if not self._flows.ready():
            self._flows.send(None)

    def close(self) -> None:
        self.heal()
        self.cut()
        self._accepting.kill()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            if self._is_cut:
                near.close()
                continue
            far = eventlet.connect(self._target)
            self._sockets |= {near, far}
            eventlet.spawn(self._pump, near, far)
            eventlet.spawn(self._pump, far, near)

    def _pump(self, source: Any, target: Any) -> None:
        try:
            while data := source.recv(65536):
                self._flows.wait()
                target.sendall(data)
        except OSError:
            data = b""  # one side is gone; the other one learns of it below
        finally:
            for sock in (source, target):
                shutdown_safe(sock)
                self._sockets.discard(sock)


@contextmanager
def proxied(uri: str) -> Iterator[Proxy]:
    """A proxy for the length of a block."""
    proxy = Proxy(uri)
    try:
        yield proxy
    finally:
        proxy.close()
