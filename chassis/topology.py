"""The queues of one service on the broker: work, retry and parked, and how they are declared.

A retry is a confirmed publish to the queue of that delay, whose messages the broker hands back to the work queue
when the delay is over. A message that kills its process again and again is taken away by the broker's delivery
limit and lands in the parked queue. `python -m chassis.topology order_svc.service ...` declares the queues of
services before they first start, so that no event is published while a consumer's queue does not exist yet.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chassis import broker
from chassis.amqp_session import QueueMismatch, declare_exchange, declare_queue


def direct_exchange(service: str) -> str:
    """The exchange over which a service sends to its own queues, by their names: retries and replays.

    Not the default exchange: who may publish there reaches the queues of every service.
    """
    return f"{service}.direct"


@dataclass(frozen=True)
class Topology:
    """Names and limits of one service's queues. Delays in seconds, one for each retry."""

    service: str
    exchange: str
    routing_keys: tuple[str, ...]
    delays_s: tuple[float, ...]
    delivery_limit: int

    @classmethod
    def of(cls, service: str, routing_keys: Iterable[str], config: dict[str, Any]) -> Topology:
        return cls(
            service=service,
            exchange=str(config["EVENTS_EXCHANGE"]),
            routing_keys=tuple(routing_keys),
            delays_s=tuple(float(delay) for delay in config["RETRY_DELAYS_S"]),
            delivery_limit=int(config["DELIVERY_LIMIT"]),
        )

    @property
    def work(self) -> str:
        return f"{self.service}.events"

    @property
    def parked(self) -> str:
        return f"{self.service}.parked"

    @property
    def direct(self) -> str:
        return direct_exchange(self.service)

    def retry(self, attempt: int) -> str:
        """The queue in which a message waits before attempt number `attempt` + 1 (the first attempt is 1)."""
        return f"{self.service}.retry.{int(self.delays_s[attempt - 1] * 1000)}ms"

    def declare(self, channel: Any) -> None:
        """Declare everything on an open amqp channel; repeating it changes nothing. Raises QueueMismatch."""
        declare_exchange(channel, self.exchange, "topic")
        declare_exchange(channel, self.direct, "direct")
        declare_queue(channel, self.parked, {"x-queue-type": "quorum"})
        declare_queue(
            channel,
            self.work,
            {
                "x-queue-type": "quorum",
                "x-delivery-limit": self.delivery_limit,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self.parked,
                # At-least-once dead lettering needs reject-publish, so that a full queue says so.
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        )
        for attempt in range(1, len(self.delays_s) + 1):
            declare_queue(
                channel,
                self.retry(attempt),
                {
                    "x-queue-type": "quorum",
                    "x-message-ttl": int(self.delays_s[attempt - 1] * 1000),
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": self.work,
                    "x-dead-letter-strategy": "at-least-once",
                    "x-overflow": "reject-publish",
                },
            )
        for key in self.routing_keys:
            channel.queue_bind(self.work, self.exchange, key)
        for queue in (self.work, *(self.retry(attempt) for attempt in range(1, len(self.delays_s) + 1))):
            channel.queue_bind(queue, self.direct, queue)


def service_topologies(module_name: str, config: dict[str, Any]) -> list[Topology]:
    """The topologies of the services in a module, read from their batch handlers."""
    from chassis.batch import BatchHandler

    module = importlib.import_module(module_name)
    found = []
    for _, cls in inspect.getmembers(module, inspect.isclass):
        for _, method in inspect.getmembers(cls, inspect.isfunction):
            for entrypoint in getattr(method, "nameko_entrypoints", ()):
                name = getattr(cls, "name", None)
                if isinstance(entrypoint, BatchHandler) and name:
                    found.append(Topology.of(name, entrypoint.routing_keys, config))
    return found


def shared_exchanges(module_names: Iterable[str], config: dict[str, Any]) -> dict[str, str]:
    """The exchanges that several services use, beside that of the events, and their types: RPC, and change hints."""
    from nameko.rpc import get_rpc_exchange

    from chassis.hints import Hints

    found = {str(get_rpc_exchange(config).name): "topic"}
    for module_name in module_names:
        for _, cls in inspect.getmembers(importlib.import_module(module_name), inspect.isclass):
            found |= {it.exchange: "fanout" for _, it in inspect.getmembers(cls) if isinstance(it, Hints)}
    return found


def main(argv: list[str]) -> int:
    """`python -m chassis.topology CONFIG MODULE...`: declare what the services in these modules need, as the broker
    user in AMQP_URI, who may do more than theirs."""
    import eventlet

    eventlet.monkey_patch()
    import yaml
    from nameko.cli.main import setup_yaml_parser

    from chassis.settings import merged

    setup_yaml_parser()
    with open(argv[0], encoding="utf-8") as file:
        config = merged(yaml.safe_load(file))
    with broker.configured(config, connect_timeout=5) as connection:
        connection.ensure_connection(max_retries=10, interval_start=0.5, interval_step=0.5)
        channel = connection.channel()
        for exchange, kind in shared_exchanges(argv[1:], config).items():
            declare_exchange(channel, exchange, kind)
        for module_name in argv[1:]:
            for topology in service_topologies(module_name, config):
                try:
                    topology.declare(channel)
                except QueueMismatch as mismatch:
                    print(mismatch, file=sys.stderr)
                    return 1
                print(f"declared {topology.work} with {len(topology.routing_keys)} bindings")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
