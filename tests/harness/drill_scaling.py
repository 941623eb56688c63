"""Autoscaling: a backlog grows while the database is slow, replicas come by the rule of the manifest, and go again.

KEDA's part (ask for the queue's length, do the sum) is played by `Autoscaler`; the sum is `tools.manifests.Scaling`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import requests
import sqlalchemy as sa
from kombu import Connection

from tests.harness.checker import SERVICES
from tests.harness.drill_load import Load
from tests.harness.drill_stage import Stage, measured, replicated
from tests.harness.heard import events_for
from tools.drill_report import Result
from tools.manifests import Scaling, scaling
from tools.rabbit import VHOST
from tools.system import System
from tools.waiting import NotInTime, wait_until

NAME = "autoscaling"


@dataclass
class Autoscaler:
    """Brings one service to the number of processes that its rule wants, each time it is asked to look.

    Scaling down takes one process a look; the pauses of the manifest between looks are left out.
    """

    system: System
    service: str
    rule: Scaling
    seen: list[tuple[int, int]] = field(default_factory=list)

    @property
    def replicas(self) -> int:
        return len(self.system.replicas(self.service))

    def look(self) -> int:
        """Ask for the queue's length and act; return how many processes there are now."""
        length = queue_length(self.system, str(self.rule.queue))
        wanted = self.rule.desired(length, self.replicas)
        self.seen.append((length, wanted))
        while self.replicas < wanted:
            self.system.add_replica(self.service, wait=False)
        if self.replicas > wanted:
            self.system.remove_replica(self.system.replicas(self.service)[-1])
        return self.replicas


def run(stage: Stage) -> Result:
    """The queues of consumers grow beyond what their rules allow their replicas, which come, drain them, and go."""
    system, begun = stage.system, time.monotonic()
    services = [service for service in SERVICES if scaling(service).by == "queue"] if stage.long else ["mypage"]
    with stage.balanced() as balancer:
        load = Load(system, url=balancer.url, seed=stage.seed, hands=4)
        with load:
            wait_until(lambda: load.closed >= 2, "orders go on", timeout_s=120)
            told = [_grow_and_shrink(stage, service) for service in services]
        return measured(stage, NAME, sum(added for added, _ in told), load, begun, [note for _, note in told])


def _grow_and_shrink(stage: Stage, service: str) -> tuple[int, str]:
    """How many replicas came, and what is to be said of it."""
    system, rule = stage.system, scaling(service)
    assert rule.target is not None
    with replicated(system, {service: rule.min_replicas}):
        scaler = Autoscaler(system, service, rule)
        with slow_database(system, service):
            _flood(system, service, wanted=int(rule.target * (rule.min_replicas + 0.5)))
            wait_until(lambda: scaler.look() > rule.min_replicas, "replicas are added", timeout_s=120, interval_s=1.0)
        most = max(wanted for _, wanted in scaler.seen)
        stage.say(f"{scaler.replicas} processes of {service}")
        for name in system.replicas(service):
            system.wait_ready(name)
        helped = wait_until(lambda: _handled(system, service), "those that came take their part", timeout_s=60)
        wait_until(lambda: scaler.look() == rule.min_replicas, "replicas are taken away", timeout_s=180, interval_s=1.0)
        stage.say(f"{scaler.replicas} processes of {service}")
    longest = max(length for length, _ in scaler.seen)
    return most - rule.min_replicas, (
        f"{rule.queue} grew to {longest:,} messages at {rule.target:g} a replica, {rule.min_replicas} → {most} → "
        f"{rule.min_replicas} replicas, those that came handled {helped:,}"
    )


def queue_length(system: System, queue: str) -> int:
    """Messages of a queue, those included that a consumer has not acknowledged yet, as KEDA's QueueLength counts."""
    uri = f"{system.nodes.broker.management_uri}/api/queues/{VHOST}/{queue}"
    answer = requests.get(uri, timeout=30)
    answer.raise_for_status()
    return int(answer.json().get("messages", 0))


@contextmanager
def slow_database(system: System, service: str) -> Iterator[None]:
    """Nobody can note an event at this service until the block ends: its consumers wait with what they have taken."""
    engine = sa.create_engine(system.env[f"{service.upper()}_DB_URI"], poolclass=sa.NullPool)
    inbox = "events" if service == "mypage" else "inbox"
    with engine.begin() as connection:
        connection.execute(sa.text(f"lock table {inbox} in exclusive mode"))
        yield


def _flood(system: System, service: str, wanted: int) -> None:
    """Deliver again and again to the service's queue what it was sent so far, until so many messages wait."""
    query = "select message_id, body from outbox where exchange <> '' and routing_key = any(:events)"
    queue = f"{service}.events"

    def enough() -> bool:
        sent = [row for sender in SERVICES for row in system.db(sender, query, events=events_for(service))]
        _publish(system, queue, list(islice(cycle(sent), max(0, wanted + 50 - queue_length(system, queue)))))
        try:
            # The broker's counts are some seconds old.
            return wait_until(lambda: queue_length(system, queue) > wanted, "they wait", timeout_s=10, interval_s=0.5)
        except NotInTime:
            return False

    wait_until(enough, f"more than {wanted} messages wait", timeout_s=180)


def _publish(system: System, queue: str, messages: list[dict[str, Any]]) -> None:
    with Connection(system.amqp_uri) as connection, connection.Producer() as producer:
        for message in messages:
            producer.publish(
                bytes(message["body"]), exchange="", routing_key=queue, delivery_mode=2,
                message_id=str(message["message_id"]), content_type="application/json", content_encoding="utf-8",
            )  # fmt: skip


def _handled(system: System, service: str) -> int:
    """Messages that the added processes have handled, by their own count; 0 until each has handled some."""
    counts = [_messages(system, name) for name in system.replicas(service)[1:]]
    return sum(counts) if all(counts) else 0


def _messages(system: System, name: str) -> int:
    text = requests.get(f"{system.service_url(name)}/metrics", timeout=10).text
    sums = [line for line in text.splitlines() if line.startswith("oss_batch_size_sum")]
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in sums))
