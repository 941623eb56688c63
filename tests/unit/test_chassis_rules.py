"""Rules of the chassis that need no node: which database errors pass, what a session does with the broker's answers."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import eventlet
import pytest
import sqlalchemy as sa
import yaml
from nameko.extensions import DependencyProvider

from chassis.amqp_session import Outcome, Session
from chassis.container import Container
from chassis.db import is_passing
from chassis.wake import Wakes
from tools.paths import ROOT, SERVICES
from tools.waiting import wait_until


class Refusal(Exception):
    """A driver's error with an SQLSTATE."""

    def __init__(self, pgcode: str | None) -> None:
        super().__init__(pgcode)
        self.pgcode = pgcode


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (sa.exc.OperationalError("", {}, Refusal(None)), True),  # connection refused
        (sa.exc.InterfaceError("", {}, Refusal(None)), True),  # connection already closed
        (sa.exc.OperationalError("", {}, Refusal("57P03")), True),  # the database system is starting up
        (sa.exc.InternalError("", {}, Refusal("08006")), True),  # connection failure
        (sa.exc.OperationalError("", {}, Refusal("53100")), True),  # disk full
        (sa.exc.InternalError("", {}, Refusal("25006")), True),  # a standby, where the primary was
        (sa.exc.DBAPIError("", {}, Refusal("40001")), True),  # serialization failure
        (sa.exc.TimeoutError("the pool is all in use"), True),
        (sa.exc.OperationalError("", {}, Refusal("57014")), False),  # statement timeout
        (sa.exc.OperationalError("", {}, Refusal("54000")), False),  # index row too large
        (sa.exc.IntegrityError("", {}, Refusal("23505")), False),
        (sa.exc.DataError("", {}, Refusal("22P05")), False),
        (sa.exc.DataError("", {}, Refusal(None)), False),
        (ValueError(), False),
        (None, False),
    ],
    ids=repr,
)
def test_only_errors_that_say_nothing_against_the_work_pass(error: BaseException | None, passes: bool) -> None:
    assert is_passing(error) is passes


def a_session() -> Session:
    return Session(MagicMock(), on_broken=MagicMock())


def test_a_broker_s_answer_settles_one_message_or_all_up_to_it() -> None:
    session, seen = a_session(), []
    for number in range(1, 6):
        session.expect((str(number), "", "q"), lambda outcome, number=number: seen.append((number, outcome)))
    session.settle(2, False, Outcome.CONFIRMED)
    session.settle(4, True, Outcome.REFUSED)
    session.settle(4, True, Outcome.CONFIRMED)
    session.lose_all()
    assert seen == [(2, Outcome.CONFIRMED), (1, Outcome.REFUSED), (3, Outcome.REFUSED), (4, Outcome.REFUSED),
                    (5, Outcome.LOST)]
    assert session.pending == {}


def test_settling_one_message_costs_the_same_however_many_others_are_pending() -> None:
    session = a_session()
    for number in range(50_000):
        session.expect((str(number), "", "q"), None)
    begun = time.process_time()
    for number in range(1, 10_001):
        session.settle(number, True, Outcome.CONFIRMED)
    assert time.process_time() - begun < 2, "each answer looked at everything that is pending"
    assert len(session.pending) == 40_000


def test_a_returned_message_is_known_by_id_and_address() -> None:
    session, seen = a_session(), {}
    for key in ("here", "nowhere", "here"):
        session.expect(("same", "", key), lambda outcome, key=key: seen.setdefault(key, []).append(outcome))
    message: Any = SimpleNamespace(properties={"message_id": "same"})
    session.returned(Exception(), "", "nowhere", message)
    session.settle(3, True, Outcome.CONFIRMED)
    assert seen == {"here": [Outcome.CONFIRMED] * 2, "nowhere": [Outcome.RETURNED]}


def test_a_wake_up_call_between_looking_and_waiting_is_not_missed_and_waiting_leaves_nothing() -> None:
    wakes = Wakes()
    seen = wakes.seen("x")
    wakes.wake("x")
    assert wakes.wait("x", seen, 30) is True
    assert wakes.wait("x", wakes.seen("x"), 0.01) is False
    assert not wakes._waiting["x"]
    eventlet.spawn_after(0.01, wakes.wake, "x")
    assert wakes.wait("x", wakes.seen("x"), 30) is True


def test_a_container_that_is_told_to_stop_several_times_stops_once_and_all_wait_for_it() -> None:
    stops: list[int] = []
    done = eventlet.Event()

    class Slow(DependencyProvider):
        def stop(self) -> None:
            stops.append(1)
            done.wait()

    class Stopping:
        name = "stopping"
        slow = Slow()

    container = Container(Stopping, {})
    container.start()
    stopping = [eventlet.spawn(container.stop) for _ in range(3)]
    wait_until(lambda: stops, "it stops")
    assert not any(one.dead for one in stopping)
    done.send()
    for one in stopping:
        one.wait()
    assert stops == [1]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_runs_in_the_container_that_ends_reliably(name: str) -> None:
    settings = yaml.load(Path(ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    assert settings["SERVICE_CONTAINER_CLS"] == "${SERVICE_CONTAINER_CLS:chassis.container.Container}"
