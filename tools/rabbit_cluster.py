"""Three RabbitMQ nodes as one cluster on this machine, each on a host of its own, HAProxy in front of them.

Settings are those of the production overlay, read from its manifest; HAProxy stands for the Kubernetes Service. What a
machine that holds all three cannot give (limits of memory and disk in proportion) is as for a single private broker.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import eventlet
import requests

from tools.haproxy import HAProxy
from tools.hosts import Host
from tools.keys import write_private
from tools.manifests import broker_cluster
from tools.ports import free_port
from tools.rabbit import VHOST, Place, Rabbit
from tools.waiting import wait_until

NODES = ("rabbit-1", "rabbit-2", "rabbit-3")

# RabbitMQ before 3.13 knows this setting by its Erlang name only, which later ones know as well.
_ADVANCED = {"quorum_queue.initial_cluster_size": "quorum_cluster_size"}
_BY_THE_MACHINE = ("vm_memory_high_watermark.", "disk_free_limit.")
_BY_US = ("default_vhost",)


def production_settings() -> tuple[str, str]:
    """What the manifest's `additionalConfig` says to `rabbitmq.conf` and to `advanced.config`."""
    wanted = {
        name: value for name, value in broker_cluster().settings.items()
        if name not in _BY_US and not name.startswith(_BY_THE_MACHINE)
    }
    advanced = ", ".join(f"{{{_ADVANCED[name]}, {value}}}" for name, value in wanted.items() if name in _ADVANCED)
    plain = "".join(f"{name} = {value}\n" for name, value in wanted.items() if name not in _ADVANCED)
    # What is online is told as soon as it is so: we wait for it.
    plain += "collect_statistics_interval = 1000\n"
    return plain, f"[{{rabbit, [{advanced}]}}].\n"


class Cluster:
    """`nodes` by name, each a broker that is killed and started by itself; `service` in front of them."""

    def __init__(self, folder: Path, hosts: Mapping[str, Host], *, password: str) -> None:
        plain, advanced = production_settings()
        epmd_port, cookie = free_port(), os.urandom(16).hex()
        first = next(iter(hosts.values()))
        self._password = password
        self.nodes: dict[str, Rabbit] = {}
        for name, host in hosts.items():
            found_by = "" if host is first else (
                "cluster_formation.peer_discovery_backend = classic_config\n"
                f"cluster_formation.classic_config.nodes.1 = oss@{first.address}\n"
            )  # fmt: skip
            place = Place(name, host.address, host.address, host.within, epmd_port, plain + found_by, advanced)
            (folder / name).mkdir(parents=True, exist_ok=True)
            write_private(folder / name / ".erlang.cookie", cookie)
            self.nodes[name] = Rabbit(folder / name, password=password, place=place)
        targets = {name: f"{node.place.host}:{node.port}" for name, node in self.nodes.items()}
        self.service = HAProxy(folder / "service", targets, tcp=True, fall=1)

    @property
    def uri(self) -> str:
        """Where services find the broker."""
        return f"amqp://oss:{self._password}@127.0.0.1:{self.service.port}/{VHOST}"

    @property
    def management_uri(self) -> str:
        """The management interface of the first node."""
        return next(iter(self.nodes.values())).management_uri

    def start(self) -> None:
        """Start all nodes; returns when they are one cluster and the service has found them."""
        first, *others = self.nodes.values()
        first.start()
        for joining in [eventlet.spawn(node.start) for node in others]:
            joining.wait()
        self.wait_until_whole()
        self.service.start()

    def stop(self) -> None:
        """Stop all of it; nothing is kept that a node would have to tell the others."""
        self.service.stop()
        for node in self.nodes.values():
            for child in node.children:
                child.kill()

    def wait_until_whole(self) -> None:
        """Wait until every node sees all others, and every quorum queue has all its members online."""
        wait_until(lambda: not self.missing(), lambda: f"the cluster is whole; {self.missing()}", interval_s=0.5)

    def missing(self) -> list[str]:
        """What a whole cluster has and this one has not, in words, as each node sees it."""
        found = []
        for name, node in self.nodes.items():
            seen = _ask(node, "nodes")
            running = {one["name"] for one in seen if one["running"]} if seen is not None else set()
            if seen is None or any(one.get("partitions") for one in seen) or len(running) < len(self.nodes):
                found.append(f"{name} sees {len(running)} nodes")
        for queue in self.queues():
            if queue.get("type") == "quorum" and len(queue.get("online", ())) < len(self.nodes):
                found.append(f"{queue['name']} has {len(queue.get('online', ()))} members online")
        return found

    def queues(self) -> list[dict[str, Any]]:
        """Every queue, as a node that runs tells of it; empty where none answers."""
        answers = (_ask(node, f"queues/{VHOST}") for node in self.nodes.values() if node.process.alive)
        return next((found for found in answers if found is not None), [])

    def sees_no_majority(self, name: str) -> bool:
        """Whether this node has paused itself: it runs, and takes no connections."""
        node = self.nodes[name]
        return node.process.alive and not node.takes_connections()


def _ask(node: Rabbit, what: str) -> list[dict[str, Any]] | None:
    """An answer of one node's management interface; None without one."""
    try:
        answer = requests.get(f"{node.management_uri}/api/{what}", timeout=5)
        answer.raise_for_status()
    except requests.RequestException:
        return None
    found: list[dict[str, Any]] = answer.json()
    return found
