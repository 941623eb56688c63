"""A lean HTTP client of the gateway for where wrk cannot be used; its own time is part of what it measures."""

from __future__ import annotations

import http.client
import itertools
import json
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
        address = urlsplit(host.url)
        self._http = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)

    def place(self) -> Placed:
        """Place an order for one internet line, another one each time, as `intake.lua` does. Raises NotInTime."""
        return self.ready_to_place()()

    def ready_to_place(self) -> Callable[[], Placed]:
        """The same, once what this returns is called: by then only the request's bytes are left to be sent."""
        number = next(_NUMBERS)
        body = {
            "customer": {"name": f"이바다 {number}", "phone": f"010-{number // 10000 % 10000:04}-{number % 10000:04}",
                         "email": f"sea{number}@example.com"},
            "address": {"postcode": "06236", "line1": f"서울특별시 강남구 테헤란로 {number}", "line2": "101동 1203호"},
            "items": [{"product": "internet-500", "quantity": 1}],
        }  # fmt: skip
        content = json.dumps(body).encode()
        self._http.putrequest("POST", "/api/orders")
        self._http.putheader("Content-Type", "application/json")
        self._http.putheader("Content-Length", str(len(content)))
        self._http.putheader("Idempotency-Key", f"{_RUN}-{number}")
        return partial(self._placed, content)

    def _placed(self, body: bytes) -> Placed:
        self._http.endheaders(body)
        answer = self._http.getresponse()
        content = answer.read()
        if answer.status not in (201, 202):
            raise NotInTime(f"an order was answered with {answer.status}: {content.decode(errors='replace')[:500]}")
        taken = json.loads(content)
        return Placed(taken["order_id"], taken["token"])

    def close(self) -> None:
        self._http.close()


def placed_orders(host: Host, number: int) -> Iterator[Placed]:
    """So many orders, placed one after another."""
    gateway = Gateway(host)
    try:
        for _ in range(number):
            yield gateway.place()
    finally:
        gateway.close()
