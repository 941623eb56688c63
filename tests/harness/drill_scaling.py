"""Autoscaling: a backlog grows while the database is slow, replicas come by the rule of the manifest, and go again.

KEDA's part (ask for the queue's length, do the sum) is played by `Autoscaler`; the sum is `tools.manifests.Scaling`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests
import sqlalchemy as sa
from kombu import Connection

from tests.harness.checker import SERVICES
from tests.harness.drill_load import Load
from tests.harness.drill_stage import Stage, measured, replicated
from tools.drill_report import Result
from tools.manifests import Scaling, scaling
from tools.rabbit import VHOST
from tools.system import System
from tools.waiting import wait_until

NAME = "autoscaling"
SERVICE = "mypage"


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
    """The read model's queue grows beyond what the rule allows its replicas, which come, drain it, and go."""
    system, begun, rule = stage.system, time.monotonic(), scaling(SERVICE)
    assert rule.by == "queue" and rule.target is not None
    with stage.balanced() as balancer, replicated(system, {SERVICE: rule.min_replicas}):
        load = Load(system, url=balancer.url, seed=stage.seed, limit=stage.amount(12, 200), hands=4)
        scaler = Autoscaler(system, SERVICE, rule)
        with slow_database(system):
            load.start()
            wait_until(lambda: len(load.placed) >= 4, "orders are taken")
            _flood(system, wanted=int(rule.target * (rule.min_replicas + 0.5)))
            wait_until(lambda: scaler.look() > rule.min_replicas, "replicas are added", interval_s=1.0)
        stage.say(f"{scaler.replicas} processes of {SERVICE}")
        most = max(wanted for _, wanted in scaler.seen)
        for name in system.replicas(SERVICE):
            system.wait_ready(name)
        helped = wait_until(lambda: _handled(system), "those that came take their part", timeout_s=60)
        load.finish()
        wait_until(lambda: scaler.look() == rule.min_replicas, "replicas are taken away", timeout_s=120, interval_s=1.0)
        longest = max(length for length, _ in scaler.seen)
        notes = [
            f"{rule.queue} grew to {longest:,} messages, the rule is {rule.target:g} a replica",
            f"{rule.min_replicas} → {most} → {scaler.replicas} replicas",
            f"those that were added handled {helped:,} messages",
        ]
        return measured(stage, NAME, 1 + most - rule.min_replicas, load, begun, notes)


def queue_length(system: System, queue: str) -> int:
    """Messages of a queue, those included that a consumer has not acknowledged yet, as KEDA's QueueLength counts."""
    uri = f"{system.nodes.broker.management_uri}/api/queues/{VHOST}/{queue}"
    answer = requests.get(uri, timeout=30)
    answer.raise_for_status()
    return int(answer.json().get("messages", 0))


@contextmanager
def slow_database(system: System) -> Iterator[None]:
    """Nobody can write to the read model until the block ends: its consumers wait with what they have taken."""
    engine = sa.create_engine(system.env[f"{SERVICE.upper()}_DB_URI"], poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("lock table events in exclusive mode"))
        yield


def _flood(system: System, wanted: int) -> None:
    """Deliver again and again to the service's queue what has been sent so far, until so many messages wait."""
    query = "select message_id, body, routing_key from outbox where exchange <> ''"

    def enough() -> bool:
        sent = [row for service in SERVICES for row in system.db(service, query)]
        with Connection(system.amqp_uri) as connection, connection.Producer() as producer:
            for row in sent * (1 + wanted // (4 * max(1, len(sent)))):
                producer.publish(
                    bytes(row["body"]), exchange="", routing_key=f"{SERVICE}.events", delivery_mode=2,
                    message_id=str(row["message_id"]), content_type="application/json", content_encoding="utf-8",
                )  # fmt: skip
        return queue_length(system, f"{SERVICE}.events") > wanted

    # The broker's counts are some seconds old.
    wait_until(enough, f"more than {wanted} messages wait", timeout_s=180, interval_s=2.0)


def _handled(system: System) -> int:
    """Messages that the added processes have handled, by their own count; 0 until each has handled some."""
    counts = [_messages(system, name) for name in system.replicas(SERVICE)[1:]]
    return sum(counts) if all(counts) else 0


def _messages(system: System, name: str) -> int:
    text = requests.get(f"{system.service_url(name)}/metrics", timeout=10).text
    sums = [line for line in text.splitlines() if line.startswith("oss_batch_size_sum")]
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in sums))
