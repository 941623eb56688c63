"""Open loop: orders come at fixed times, whether or not the last is answered, and are followed until they are visible.

A time counts from the moment at which the order was due, so an answer that keeps the next one waiting is not hidden.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tools.bench.figures import ARRIVALS, P50, P99, VISIBLE, Name, Reading, percentile
from tools.bench.gateway import Gateway
from tools.bench.host import Host
from tools.bench.load import Size
from tools.bench.watch import Eye
from tools.waiting import NotInTime

RATE_PER_S = 10
CALLERS = 16
FIRST_LOOK_S = 0.015
"""Nobody looks sooner: looking takes from the processors what the order needs, and none is visible by then."""
LOOK_S = 0.01
"""For so long one look goes on, before orders that have come meanwhile are looked for as well."""
PATIENCE_S = 60.0


class Followed:
    """Orders under way, and how long those took that have become visible: ms."""

    def __init__(self, host: Host) -> None:
        self._eye = Eye(host)
        self._due: dict[str, float] = {}
        self._changed = threading.Condition()
        self.all_sent = False
        self.taken_ms: list[float] = []

    def add(self, order_id: str, due: float) -> None:
        """Follow this order, which was due then (`time.perf_counter`)."""
        with self._changed:
            self._due[order_id] = due
            self._changed.notify()

    def end(self) -> None:
        """No more will come."""
        with self._changed:
            self.all_sent = True
            self._changed.notify()

    def run(self) -> None:
        """Look until all have come and are visible. Raises NotInTime for one that does not become so."""
        while True:
            with self._changed:
                while not self._due and not self.all_sent:
                    self._changed.wait()
                under_way = dict(self._due)
            if not under_way:
                self._eye.close()
                return
            time.sleep(max(0.0, min(under_way.values()) + FIRST_LOOK_S - time.perf_counter()))
            visible, now = self._eye.visible(under_way, LOOK_S), time.perf_counter()
            self.taken_ms += [(now - under_way[order_id]) * 1000 for order_id in visible]
            with self._changed:
                for order_id in visible:
                    del self._due[order_id]
            late = [order_id for order_id, due in under_way.items() if now - due > PATIENCE_S]
            if late:
                raise NotInTime(f"not visible within {PATIENCE_S:g} s: order {late[0]}")


def arrivals(host: Host, size: Size) -> Reading:
    """10 orders a second, for three times as long as a closed loop, so that there is a 99th percentile."""
    followed = Followed(host)
    callers = threading.local()
    opened: list[Gateway] = []
    answered_ms: list[float] = []

    def open_gateway() -> None:
        callers.gateway = Gateway(host)
        opened.append(callers.gateway)

    def place(due: float) -> None:
        order_id = callers.gateway.place().order_id
        answered_ms.append((time.perf_counter() - due) * 1000)
        followed.add(order_id, due)

    with ThreadPoolExecutor(1) as eye, ThreadPoolExecutor(CALLERS, initializer=open_gateway) as pool:
        seen = eye.submit(followed.run)
        try:
            start = time.perf_counter() + 0.1
            sent = []
            for number in range(3 * size.seconds * RATE_PER_S):
                due = start + number / RATE_PER_S
                time.sleep(max(0.0, due - time.perf_counter()))
                sent.append(pool.submit(place, due))
            for each in sent:
                each.result()
        finally:
            followed.end()
        seen.result()
    for gateway in opened:
        gateway.close()
    return {
        Name(ARRIVALS, f"answered, {P50}", "ms"): percentile(answered_ms, 50),
        Name(ARRIVALS, f"answered, {P99}", "ms"): percentile(answered_ms, 99),
        Name(ARRIVALS, f"{VISIBLE}, {P50}", "ms"): percentile(followed.taken_ms, 50),
        Name(ARRIVALS, f"{VISIBLE}, {P99}", "ms"): percentile(followed.taken_ms, 99),
    }
