"""Whether costs grow with the number of stored orders: the same work with a thousand, a hundred thousand, a million.

The orders under way are the same few hundred each time (`stored.py`). CPU time is compared; times are shown too.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from tools.bench import cost
from tools.bench.figures import BROKER, DATABASE, GROWN, GROWTH, MADE_BY, Name, Reading
from tools.bench.host import Host
from tools.bench.load import Size, put_through
from tools.bench.stored import MOST, Stored
from tools.waiting import NotInTime

REQUESTS, WARM_UP = 200, 100
BATCHES = 3
IDLE_S = 5
CONNECTIONS = 32

Paths = Iterator[str]
Ask = Callable[[str], dict[str, Any]]

_CLOSE = {
    "order": "update orders set state = 'cancelled' where state = 'activated' and order_id > %s",
    "activation": "update activations set state = 'reverted' where state = 'active' and order_id > %s",
    "scheduling": "update visits set state = 'cancelled' where state = 'requested' and order_id > %s",
    "mypage": "update pages set status = 'cancelled', waiting_since = null"
    " where status = 'activated' and order_id > %s",
}


def growth(host: Host, size: Size) -> Reading:
    """Measure at each size; then how much dearer each thing is at the largest than at the smallest."""
    stored = Stored(host.query, datetime.now(UTC))
    stored.write_open()
    stored.write(MOST - size.stored[0] + 1, MOST)
    host.settle()
    with closing(Staff(host)) as staff:
        for paths in _reads(host, size.stored[0]).values():
            staff.ask(paths, WARM_UP)
    found: Reading = {}
    there = size.stored[0]
    for orders in size.stored:
        if orders > there:
            stored.write(MOST - orders + 1, MOST - there)
            there = orders
        host.settle()
        for title, (cpu_ms, p50_ms) in _measured(host, orders, size).items():
            found[Name(GROWTH, f"{title}, {orders:,} stored", "CPU ms")] = cpu_ms
            if p50_ms is not None:
                found[Name(GROWTH, f"{title}, {orders:,} stored, p50", "ms")] = p50_ms
    return found | ratios(found, size.stored[0], size.stored[-1])


def ratios(found: Reading, least: int, most: int) -> Reading:
    """Of everything that was measured at both: CPU time with `most` orders by that with `least`."""
    ends = f", {least:,} stored"
    titles = [name.title.removesuffix(ends) for name in found if name.title.endswith(ends)]
    at = {name.title: value for name, value in found.items()}
    return {
        Name(GROWTH, f"{title}, {most:,} by {least:,}", GROWN): at[f"{title}, {most:,} stored"] / at[f"{title}{ends}"]
        for title in titles
    }


def _measured(host: Host, orders: int, size: Size) -> dict[str, tuple[float, float | None]]:
    """By what is done: CPU ms of one, and the median time where somebody waits for it."""
    idle = _idle(host)
    with closing(Staff(host)) as staff:
        found: dict[str, tuple[float, float | None]] = {
            title: staff.timed(paths, idle) for title, paths in _reads(host, orders).items()
        }
    found["an order of a batch"] = _batches(host, size), None
    return found


def _reads(host: Host, orders: int) -> dict[str, Paths]:
    """What is asked, each time of another order, anywhere among those that are stored."""
    serials = [f"HFRN{number:08X}" for number in random.Random(orders).sample(range(MOST - orders + 1, MOST + 1), 300)]
    found = "select order_id::text, phone, ont_serial from pages where ont_serial = any(%s)"
    some = host.query("mypage", found, serials)
    waiting = host.query("scheduling", "select order_id::text from visits where state = 'requested'")
    return {
        "MyPage read": (f"/api/orders/{order_id}" for order_id, _, _ in _again(some)),
        "search by phone": (f"/api/orders?phone={phone}" for _, phone, _ in _again(some)),
        "search by number's end": (f"/api/orders?order_end={order_id[-8:]}" for order_id, _, _ in _again(some)),
        "search by serial": (f"/api/orders?ont_serial={serial}" for _, _, serial in _again(some)),
        # Of another status a thousand orders do not fill a page.
        "newest completed orders": ("/api/orders?status=completed" for _ in _again([None])),
        "call queue": ("/api/visits" for _ in _again([None])),
        "free windows": (f"/api/visits/{order_id}/windows" for (order_id,) in _again(waiting)),
        "technicians": ("/api/technicians" for _ in _again([None])),
    }


def _again(values: list[Any]) -> Iterator[Any]:
    while True:
        yield from values


class Staff:
    """An operator's or dispatcher's kept connection to the gateway."""

    def __init__(self, host: Host) -> None:
        self._host = host
        address = urlsplit(host.url)
        self._http = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        self._headers: dict[str, str] = {}
        signed_in = self._send("POST", "/api/sessions",
                               {"username": "operator", "password": host.env["STAFF_PASSWORD"]})  # fmt: skip
        self._headers = {"Authorization": f"Bearer {signed_in['token']}"}

    def timed(self, paths: Paths, idle: float) -> tuple[float, float]:
        """CPU ms of a request, of all our processes, and the median time in ms.

        `idle`: CPU seconds that they spend in a second without any; what passes in the time it takes is taken off.
        """
        self.ask(paths, WARM_UP // 5)
        before = cost.all_cpu_s(self._host.pids)
        took_s = self.ask(paths, REQUESTS)
        spent = _ours(cost.spent(before, cost.all_cpu_s(self._host.pids))) - idle * sum(took_s)
        return 1000 * spent / REQUESTS, 1000 * statistics.median(took_s)

    def ask(self, paths: Paths, times: int) -> list[float]:
        """Ask so often; the seconds that each took."""
        took_s = []
        for path in itertools.islice(paths, times):
            began = time.perf_counter()
            self._send("GET", path)
            took_s.append(time.perf_counter() - began)
        return took_s

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        headers = self._headers | ({"Content-Type": "application/json"} if body else {})
        self._http.request(method, path, json.dumps(body) if body else None, headers)
        answer = self._http.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise NotInTime(f"{method} {path} was answered with {answer.status}: {content.decode()[:300]}")
        return json.loads(content)

    def close(self) -> None:
        self._http.close()


def _idle(host: Host) -> float:
    """CPU seconds of all our processes in a second in which nothing is asked of them."""
    before = cost.all_cpu_s(host.pids)
    time.sleep(IDLE_S)  # The length of time is what is measured here, not a condition.
    return _ours(cost.spent(before, cost.all_cpu_s(host.pids))) / IDLE_S


def _batches(host: Host, size: Size) -> float:
    """CPU ms an order, the median of some batches after one that warms up; what they leave open is closed again."""
    found = []
    for _ in range(BATCHES + 1):
        [(newest,)] = host.query("order", "select order_id::text from orders order by order_id desc limit 1")
        before = cost.all_cpu_s(host.pids)
        orders, _ = put_through(host, size.batch, CONNECTIONS)
        found.append(1000 * _ours(cost.spent(before, cost.all_cpu_s(host.pids))) / orders)
        for service, statement in _CLOSE.items():
            host.query(service, statement, newest)
        host.settle()
    return statistics.median(found[1:])


def _ours(spent: dict[str, float]) -> float:
    return sum(spent.get(name, 0.0) for name in (*MADE_BY, BROKER, DATABASE))
