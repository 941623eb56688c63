"""Open loop: orders come at fixed times, whether or not the last is answered. Afterwards we ask when each was visible.

A time counts from the moment at which the order was due, so an answer that keeps the next one waiting is not hidden.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from tools.bench.figures import ARRIVALS, P50, P99, VISIBLE, Name, Reading, percentile
from tools.bench.gateway import Gateway
from tools.bench.host import Host
from tools.bench.load import Size
from tools.bench.watch import Eye
from tools.waiting import wait_until

RATE_PER_S = 10
CALLERS = 16
"""They take turns. Each makes its next order ready before it is due, so that of its own time little is measured."""
PATIENCE_S = 60.0


def arrivals(host: Host, size: Size) -> Reading:
    """10 orders a second, for three times as long as a closed loop, so that there is a 99th percentile.

    Raises NotInTime where one is not visible PATIENCE_S after the last was answered.
    """
    orders = 3 * size.seconds * RATE_PER_S
    start = time.time() + 0.5
    due: dict[str, float] = {}
    answered_ms: list[float] = []

    def call(first: int) -> None:
        gateway = Gateway(host)
        for number in range(first, orders, CALLERS):
            due_at = start + number / RATE_PER_S
            place = gateway.ready_to_place()
            time.sleep(max(0.0, due_at - time.time()))
            placed = place()
            answered_ms.append((time.time() - due_at) * 1000)
            due[placed.order_id] = due_at
        gateway.close()

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(call, range(CALLERS)))
    taken_ms = [(at - due[order_id]) * 1000 for order_id, at in _visible(host, list(due)).items()]
    return {
        Name(ARRIVALS, f"answered, {P50}", "ms"): percentile(answered_ms, 50),
        Name(ARRIVALS, f"answered, {P99}", "ms"): percentile(answered_ms, 99),
        Name(ARRIVALS, f"{VISIBLE}, {P50}", "ms"): percentile(taken_ms, 50),
        Name(ARRIVALS, f"{VISIBLE}, {P99}", "ms"): percentile(taken_ms, 99),
    }


def _visible(host: Host, order_ids: list[str]) -> dict[str, float]:
    """Wait until all are visible: since when each is, in seconds as `time.time` counts them."""
    eye = Eye(host)
    wait_until(lambda: len(eye.visible(order_ids)) == len(order_ids), "all orders are visible", timeout_s=PATIENCE_S)
    found = eye.visible(order_ids)
    eye.close()
    return found
