"""Event streams: how soon a change reaches everybody who follows an order, and what open streams cost.

Plain sockets in one selector; a stream is looked at only as far as needed to see what status it shows.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tools.bench import cost
from tools.bench.figures import STREAMS, Name, Reading
from tools.bench.gateway import placed_orders
from tools.bench.host import Host
from tools.bench.load import Size
from tools.bench.watch import VISIBLE
from tools.client import Client
from tools.waiting import NotInTime

WAVE = 50
"""Streams that are opened at once; the next ones when these have shown the order."""
PATIENCE_S = 60.0


class Stream:
    """One open stream. `status` is the last one that it showed, `shown_at` when that came (`time.perf_counter`)."""

    def __init__(self, url: str, path: str, token: str) -> None:
        address = urlsplit(url)
        self.socket = socket.create_connection((address.hostname or "", address.port or 80), timeout=30)
        head = f"GET {path}/stream HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n"
        self.socket.sendall(head.encode())
        self.socket.setblocking(False)
        self.status: str | None = None
        self.shown_at = 0.0
        self._kept = b""

    def read(self) -> None:
        """Take in what has come. Raises NotInTime where it is a refusal, or the end."""
        text = self.socket.recv(1 << 16)
        if not text:
            raise NotInTime(f"a stream ended: {self._kept[-500:].decode(errors='replace')}")
        self._kept += text
        if self._kept.startswith(b"HTTP/1.1 ") and not self._kept.startswith(b"HTTP/1.1 200"):
            raise NotInTime(f"a stream was refused: {self._kept[:500].decode(errors='replace')}")
        if (found := status_in(self._kept)) is not None:
            self.status, self.shown_at = found, time.perf_counter()
        # What may still become a whole event; the head of the answer is gone with the first.
        self._kept = self._kept[-8192:] if found is None else self._kept[self._kept.rfind(b"\n\n"):]


def status_in(text: bytes) -> str | None:
    """The order's status in the last whole event of a stream; None where there is none yet."""
    end = text.rfind(b"\n\n")
    begin = text.rfind(b"data: {", 0, max(end, 0))
    if begin < 0:
        return None
    mark = b'"status":"'
    at = text.find(mark, begin, end)
    return None if at < 0 else text[at + len(mark):text.index(b'"', at + len(mark))].decode()


class Crowd:
    """Many streams that follow one order."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self._selector = selectors.DefaultSelector()

    def add(self, stream: Stream) -> None:
        """One more; it is read from now on."""
        self.streams.append(stream)
        self._selector.register(stream.socket, selectors.EVENT_READ, stream)

    def wait(self, statuses: Collection[str]) -> None:
        """Read until each shows one of these. Raises NotInTime."""
        self._read(lambda: all(stream.status in statuses for stream in self.streams))

    def pass_time(self, seconds: float) -> None:
        """Read for so long: that nothing happens is what is measured."""
        end = time.perf_counter() + seconds
        self._read(lambda: time.perf_counter() >= end)

    def close(self) -> None:
        """Hang up."""
        self._selector.close()
        for stream in self.streams:
            stream.socket.close()

    def _read(self, is_over: Callable[[], bool]) -> None:
        deadline = time.perf_counter() + PATIENCE_S
        while not is_over():
            for key, _ in self._selector.select(timeout=0.05):
                key.data.read()
            if time.perf_counter() > deadline:
                counts = {status: sum(one.status == status for one in self.streams)
                          for status in {one.status for one in self.streams}}
                raise NotInTime(f"within {PATIENCE_S:g} s the streams came only so far: {counts}")


@contextmanager
def _open_streams(host: Host, path: str, token: str, number: int) -> Iterator[Crowd]:
    crowd = Crowd()
    try:
        while len(crowd.streams) < number:
            for _ in range(min(WAVE, number - len(crowd.streams))):
                crowd.add(Stream(host.url, path, token))
            crowd.wait((VISIBLE,))
        yield crowd
    finally:
        crowd.close()


def streams(host: Host, size: Size) -> Reading:
    """Everybody follows one order: first nothing happens, then its visit is agreed, and all are to see that."""
    client = Client(host.url, staff_password=host.env["STAFF_PASSWORD"])
    [order] = placed_orders(host, 1)
    client.remember(order.order_id, order.token)
    client.wait_for_status(order.order_id, VISIBLE)
    windows = client.call("GET", f"/api/visits/{order.order_id}/windows", as_="dispatcher")["items"]
    wanted = {name: windows[0][name] for name in ("window_start", "window_end")}
    with _open_streams(host, order.path, order.token, size.streams) as crowd:
        before, began = cost.all_cpu_s(host.pids), time.perf_counter()
        crowd.pass_time(size.idle_s)
        idle_s = sum(cost.spent(before, cost.all_cpu_s(host.pids)).values())
        seconds = time.perf_counter() - began
        before, asked = cost.all_cpu_s(host.pids), time.perf_counter()
        client.call("PUT", f"/api/visits/{order.order_id}/appointment", as_="dispatcher", json=wanted)
        crowd.wait(("scheduled",))
        spent = cost.spent(before, cost.all_cpu_s(host.pids))
        shown = [stream.shown_at for stream in crowd.streams]
    return {
        Name(STREAMS, f"change to first of {size.streams}", "ms"): (min(shown) - asked) * 1000,
        Name(STREAMS, f"change to last of {size.streams}", "ms"): (max(shown) - asked) * 1000,
        Name(STREAMS, "a change", "CPU ms a stream"): 1000 * sum(spent.values()) / size.streams,
        Name(STREAMS, "nothing happens", "CPU ms a second"): 1000 * idle_s / seconds,
    }
