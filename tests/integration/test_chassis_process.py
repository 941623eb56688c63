"""The end of a real `nameko run` process: it stops when asked, however often, and never stays as half a service."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import sqlalchemy as sa
from kombu import Connection

from chassis.settings import load_yaml, merged
from contracts import events
from contracts.ids import new_id
from tests.harness.containers import engine
from tests.harness.crashing import POISON
from tests.harness.orders import an_event
from tests.harness.toys import publish
from tools.paths import ROOT
from tools.ports import free_port
from tools.process import Child
from tools.waiting import NotInTime, wait_until

NOWHERE = {
    "AMQP_URI": "amqp://guest:guest@127.0.0.1:1//",
    "ORDER_DB_URI": "postgresql+psycopg2://nobody@127.0.0.1:1/nothing",
}
STOPS_WITHIN_S = 15.0


class Process(Child):
    """The order service, or one like it, run as production runs it."""

    def __init__(self, folder: Path, service: str, env: dict[str, str]) -> None:
        self.port = free_port()
        argv = [sys.executable, "-m", "nameko", "run", "--config", "config/order.yaml", service]
        environment = dict(os.environ) | {"ORDER_HTTP_PORT": str(self.port), **env}
        super().__init__("order", argv, env=environment, log=folder / f"{uuid.uuid4()}.log", cwd=ROOT)

    def wait_until_answering(self, path: str = "/livez", status: int = 200) -> None:
        """Wait until it answers over HTTP, the last thing it learns to do."""

        def answers() -> bool:
            if not self.alive:
                raise NotInTime(f"ended with {self.exit_code}\n{self.tail()}")
            return bool(requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=5).status_code == status)

        wait_until(answers, lambda: f"{path} says {status}\n{self.tail()}")

    def wait_until_ended(self, timeout_s: float = 60.0) -> int:
        wait_until(lambda: not self.alive, lambda: f"the process ends\n{self.tail()}", timeout_s=timeout_s)
        assert self.exit_code is not None
        return self.exit_code


@contextmanager
def run(folder: Path, service: str = "order_svc.service", **env: str) -> Iterator[Process]:
    process = Process(folder, service, env)
    process.start()
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
def uris(vhost: str, database: Callable[[str], str]) -> dict[str, str]:
    return {"AMQP_URI": vhost, "ORDER_DB_URI": database("order")}


def test_asked_twice_in_quick_succession_it_stops_as_if_asked_once(tmp_path: Path, uris: dict[str, str]) -> None:
    with run(tmp_path, **uris) as process:
        process.wait_until_answering("/readyz")
        for _ in range(3):
            os.kill(process.pid, signal.SIGTERM)
        assert process.wait_until_ended(STOPS_WITHIN_S) == 0


def test_it_stops_as_quickly_while_broker_and_database_are_away(tmp_path: Path) -> None:
    with run(tmp_path, **NOWHERE) as process:
        process.wait_until_answering("/readyz", 503)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait_until_ended(STOPS_WITHIN_S) == 0


@pytest.mark.parametrize("end", ["", "STUBBORN_END"], ids=["willing", "stubborn"])
def test_a_service_with_a_dead_thread_ends_its_process_so_that_a_new_one_is_started(tmp_path: Path, end: str) -> None:
    with run(tmp_path, "tests.harness.crashing:DoomedService", **NOWHERE, **({end: "1"} if end else {})) as process:
        assert process.wait_until_ended() not in (0, None)
        assert "a defect in a thread of the service" in process.log.read_text()


def test_a_message_that_ends_its_process_each_time_is_parked_and_takes_no_other_message_along(
    tmp_path: Path, uris: dict[str, str]
) -> None:
    exchange = str(merged(load_yaml(ROOT / "config" / "order.yaml"))["EVENTS_EXCHANGE"])
    order_ids = [new_id() for _ in range(30)]
    poison = an_event(events.ActivationReverted, new_id(), outcome="cancelled", reason=POISON)
    settings = uris | {"DELIVERY_LIMIT": "8", "RETRY_DELAYS_S": "[0.1]"}

    with run(tmp_path, **settings) as process, engine(uris["ORDER_DB_URI"]) as db:
        process.wait_until_answering("/readyz")
        _insert_orders(db, order_ids)
        process.kill()
        sent = [an_event(events.ActivationCompleted, order_id) for order_id in order_ids]
        for event in [*sent[:10], poison, *sent[10:]]:
            publish(uris["AMQP_URI"], event.event_type, event.encode(), exchange=exchange, message_id=event.message_id)

        def parked() -> list[str]:
            with db.connect() as conn:
                return list(conn.execute(sa.text("select message_id from parked_messages")).scalars())

        def states() -> set[str]:
            with db.connect() as conn:
                return set(conn.execute(sa.text("select distinct state from orders")).scalars())

        with run(tmp_path, "tests.harness.crashing:Poisoned", **settings) as poisoned:

            def done() -> bool:
                poisoned.start()  # as a supervisor does; nothing happens where it runs
                return bool(parked())

            wait_until(done, lambda: f"the poison is parked\n{poisoned.tail()}", timeout_s=120, interval_s=0.2)
            # What it took along last is handled afterwards.
            wait_until(lambda: done() and states() == {"activated"}, lambda: f"every other took effect: {states()}")
            assert parked() == [poison.message_id], "it alone"
            poisoned.stop()
    with Connection(uris["AMQP_URI"]) as connection:
        assert connection.default_channel.queue_declare("order.parked", passive=True).message_count == 0


def _insert_orders(db: sa.Engine, order_ids: list[uuid.UUID]) -> None:
    statement = sa.text(
        "insert into orders (order_id, state, customer, address, items, accepted_at, content_hash, cancel_reason,"
        " cancel_requested_by, cancel_refused, rejection_reason, created_at, updated_at)"
        " values (:id, 'placed', '{}', '{}', '[]', now(), '', '', '', false, '', now(), now())"
    )
    with db.begin() as conn:
        conn.execute(statement, [{"id": order_id} for order_id in order_ids])
