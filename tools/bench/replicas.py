"""What one, two and three processes of a service do: the whole system, and each consumer alone with its backlog.

On a machine with few processors more processes do not make the whole system faster, so each hop of an order is also
measured alone: everything else is stopped, what waits is its backlog. And what can be there only once at a time (a
relay, a queue, activation, a journal) is driven as fast as it goes. `tools.scaling` extrapolates from these figures.
"""

from __future__ import annotations

import time

from prometheus_client.parser import text_string_to_metric_families
from requests import get

from tools.bench import limits, load
from tools.bench.chain import Chain
from tools.bench.drain import commit_ms, costs, used_s
from tools.bench.figures import IDLE_ALONE, ONE, RATE, SERIAL, VISIBLE, WHOLE, Name, Reading, of_each
from tools.bench.gateway import placed_orders
from tools.bench.host import Host
from tools.bench.load import MANY, Size
from tools.bench.watch import Watch

SEVERAL = ("order", "scheduling", "fieldwork", "mypage")
"""Services that may have several processes behind one address; gateways would need a balancer here."""
AT_MOST = 3
QUEUE_MESSAGES = 20_000


def replicas(host: Host, size: Size) -> Reading:
    """All of it, with 1, 2 and 3 processes; at the end everything runs once, as before."""
    found = _idle(host, size) | _one(host, size) | _serial(host, size)
    for processes in range(1, AT_MOST + 1):
        if processes > 1:
            host.tell("add", *SEVERAL)
        host.settle()
        found |= _whole(host, size, processes)
        host.settle()
        found |= Chain(host, processes).run(size)
    host.tell("remove", *[name for name in host.pids if name.rpartition("-")[0] in SEVERAL])
    return found


def _idle(host: Host, size: Size) -> Reading:
    before, began = used_s(host), time.perf_counter()
    time.sleep(size.idle_s)  # The length of time is what is measured here, not a condition.
    seconds = time.perf_counter() - began
    found = costs(IDLE_ALONE, before, used_s(host), seconds, "")
    return {Name(IDLE_ALONE, name.title, "CPU ms a second"): value for name, value in found.items()}


def _one(host: Host, size: Size) -> Reading:
    """Each order alone in the system: what it costs where nothing can be done together."""
    watch, before, orders = Watch(host), used_s(host), 0
    began = time.perf_counter()
    for orders, _ in enumerate(placed_orders(host, 100_000), 1):  # noqa: B007
        if time.perf_counter() - began > size.seconds:
            break
    watch.all_visible(orders)
    seconds = time.perf_counter() - began
    return {Name(ONE, RATE, "orders/s"): orders / seconds} | costs(ONE, before, used_s(host), orders, "")


def _whole(host: Host, size: Size, processes: int) -> Reading:
    """A batch through the whole system, how large its batches were, and what the first order took alone."""
    before, sizes, began = used_s(host), _Sizes(host), time.perf_counter()
    orders, last = load.put_through(host, size.batch, MANY)
    many = of_each(processes)
    found = {Name(WHOLE, f"{VISIBLE}, {many}", "orders/s"): orders / (last - began)}
    found |= costs(WHOLE, before, used_s(host), orders, f"{many}, ")
    return found | {Name(WHOLE, f"{many}, batch of {name}", "orders"): value for name, value in sizes.mean().items()}


class _Sizes:
    """Mean sizes of batches since this was made, by who handles them, from the services' own metrics."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._before = self._now()

    def _now(self) -> dict[str, tuple[float, float]]:
        found: dict[str, tuple[float, float]] = {}
        for name, url in self._host.urls.items():
            if name == "elements":
                continue
            for family in text_string_to_metric_families(get(f"{url}/metrics", timeout=10).text):
                for sample in family.samples:
                    service = sample.labels.get("service", "")
                    many, batches = found.get(service, (0.0, 0.0))
                    if sample.name == "oss_batch_size_sum":
                        found[service] = (many + sample.value, batches)
                    elif sample.name == "oss_batch_size_count":
                        found[service] = (many, batches + sample.value)
        return found

    def mean(self) -> dict[str, float]:
        """By service, messages a batch."""
        after, nothing = self._now(), (0.0, 0.0)
        many = {name: [now - then for now, then in zip(both, self._before.get(name, nothing), strict=True)]
                for name, both in after.items()}  # fmt: skip
        return {name: messages / batches for name, (messages, batches) in many.items() if batches}


def _serial(host: Host, size: Size) -> Reading:
    """What a queue's leader, and a disk, do at most."""
    messages = min(QUEUE_MESSAGES, 10 * size.limit_orders)
    seconds, cpu_s = limits.broker(host, messages, events=1, transient=0, queues=1)
    return {
        Name(SERIAL, "quorum queue", "messages/s"): messages / seconds,
        Name(SERIAL, "quorum queue, RabbitMQ", "CPU ms a message"): 1000 * cpu_s / messages,
        Name(SERIAL, "commit on this disk", "ms"): commit_ms(host),
    }
