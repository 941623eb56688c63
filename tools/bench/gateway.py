"""A lean HTTP client of the gateway for where wrk cannot be used; its own time is part of what it measures."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from tools.bench.host import Host
from tools.waiting import NotInTime

_NUMBERS = itertools.count(1)
_RUN = uuid.uuid4().hex


@dataclass(frozen=True)
class Placed:
    """An order that was taken."""

    order_id: str
    token: str

    @property
    def path(self) -> str:
        """Where its subscriber reads it."""
        return f"/api/orders/{self.order_id}"


class Gateway:
    """One kept connection; one for a thread."""

    def __init__(self, host: Host) -> None:
        self._address = urlsplit(host.url).netloc
        name, _, port = self._address.partition(":")
        self._socket = socket.create_connection((name, int(port)), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def place(self) -> Placed:
        """Place an order for one internet line, another one each time, as `intake.lua` does. Raises NotInTime."""
        return self.ready_to_place()()

    def ready_to_place(self) -> Callable[[], Placed]:
        """The same, once what this returns is called: by then only the request's bytes are left to be sent.

        All at once, as wrk and curl do; `http.client` sends the body by itself, which wakes the gateway twice.
        """
        number = next(_NUMBERS)
        body = {
            "customer": {"name": f"이바다 {number}", "phone": f"010-{number // 10000 % 10000:04}-{number % 10000:04}",
                         "email": f"sea{number}@example.com"},
            "address": {"postcode": "06236", "line1": f"서울특별시 강남구 테헤란로 {number}", "line2": "101동 1203호"},
            "items": [{"product": "internet-500", "quantity": 1}],
        }  # fmt: skip
        content = json.dumps(body).encode()
        head = "\r\n".join([
            "POST /api/orders HTTP/1.1", f"Host: {self._address}", "Content-Type: application/json",
            f"Content-Length: {len(content)}", f"Idempotency-Key: {_RUN}-{number}", "", "",
        ])  # fmt: skip
        return partial(self._placed, head.encode() + content)

    def _placed(self, request: bytes) -> Placed:
        self._socket.sendall(request)
        answer = http.client.HTTPResponse(self._socket, method="POST")
        answer.begin()
        content = answer.read()
        if answer.status not in (201, 202):
            raise NotInTime(f"an order was answered with {answer.status}: {content.decode(errors='replace')[:500]}")
        taken = json.loads(content)
        return Placed(taken["order_id"], taken["token"])

    def close(self) -> None:
        self._socket.close()


def placed_orders(host: Host, number: int) -> Iterator[Placed]:
    """So many orders, placed one after another."""
    gateway = Gateway(host)
    try:
        for _ in range(number):
            yield gateway.place()
    finally:
        gateway.close()
