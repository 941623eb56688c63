"""The broker's part of a restore: what waits in a service's queues is read, or removed. Nothing runs meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import amqp
import yaml

from chassis import broker
from chassis.settings import load_yaml
from chassis.topology import Topology
from contracts.events import Event, UnreadableEvent, decode
from tools.paths import ROOT, SERVICES


def base_config(env: Mapping[str, str]) -> dict[str, Any]:
    """What all services' settings say of exchange and queues; `env` is the environment that they run with."""
    names = ("AMQP_URI", "AMQP_CA_FILE", "EVENTS_EXCHANGE", "RETRY_DELAYS_S", "DELIVERY_LIMIT")
    config = load_yaml(ROOT / "config" / "base.yaml")
    return {name: yaml.safe_load(env[name]) if name in env else config.get(name) for name in names}


def queues(service: str, config: dict[str, Any]) -> list[str]:
    """The names of a service's queues: work, retry, parked."""
    topology = Topology.of(service, (), config)
    retries = [topology.retry(attempt) for attempt in range(1, len(topology.delays_s) + 1)]
    return [topology.work, *retries, topology.parked]


def purge(config: dict[str, Any]) -> int:
    """Remove everything from every service's queues; returns how many messages that were."""
    count = 0
    with broker.configured(config, connect_timeout=5) as connection:
        connection.ensure_connection(max_retries=10, interval_start=0.5, interval_step=0.5)
        for name in (name for service in SERVICES for name in queues(service, config)):
            try:
                count += connection.channel().queue_purge(name)
            except amqp.exceptions.NotFound:
                continue  # a broker that has lost its queues as well, or a service without any
    return count


def waiting(service: str, config: dict[str, Any]) -> Iterator[Event]:
    """The events that wait in a service's queues; they stay there."""
    with broker.configured(config, connect_timeout=5) as connection:
        connection.ensure_connection(max_retries=10, interval_start=0.5, interval_step=0.5)
        for name in queues(service, config):
            channel = connection.channel()
            try:
                # Never acknowledged: when the channel closes, all of them are back in their places.
                while (message := channel.basic_get(name)) is not None:
                    body = message.body
                    try:
                        yield decode(body if isinstance(body, bytes) else str(body).encode())
                    except UnreadableEvent:
                        continue  # its own handler will park it
                channel.close()
            except amqp.exceptions.NotFound:
                continue
