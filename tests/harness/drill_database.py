"""The database is restarted, killed, cut off and frozen, one after the other, while orders are under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import eventlet

from tests.harness.drill_faults import cut_broker, cut_database
from tests.harness.drill_load import Load
from tests.harness.drill_stage import Stage, measured
from tests.harness.settings import FAST
from tools.drill_report import Result
from tools.postgres import Postgres
from tools.waiting import NotInTime, wait_until

NAME = "database"
# Longer than a service waits for an answer: all of them have given up before the database goes on.
FROZEN_S = float(FAST["DB_ANSWER_TIMEOUT_S"]) + 3


def run(stage: Stage) -> Result:
    """After each blow orders go on by themselves; in the end none is lost, doubled or stuck."""
    system, begun = stage.system, time.monotonic()
    postgres = stage.nodes.postgres
    assert postgres is not None
    blows: Mapping[str, Callable[[], object]] = {
        "restart": lambda: _restart(postgres),
        "kill -9": lambda: _kill(postgres),
        # Those to the broker as well: a service has then nobody left whom it could tell of its trouble.
        "every connection cut": lambda: (cut_database(system), cut_broker(system)),
        f"frozen for {FROZEN_S:g} s": lambda: _freeze(postgres),
    }
    notes = []
    enough = stage.amount(8, 60)
    with stage.balanced() as balancer:
        load = Load(system, url=balancer.url, seed=stage.seed, hands=8)
        with load:
            wait_until(lambda: load.closed >= 2, "orders go on", timeout_s=120)
            for name, strike in blows.items():
                stage.say(name)
                strike()
                notes.append(f"{name}: the next order ended after {_next_end(load):.1f} s")
                goal = load.closed + enough
                wait_until(lambda goal=goal: load.over or load.closed >= goal, "orders go on", timeout_s=300)
        return measured(stage, NAME, len(blows), load, begun, notes)


def _restart(postgres: Postgres) -> None:
    postgres.stop()
    postgres.start()


def _kill(postgres: Postgres) -> None:
    postgres.process.kill()
    # The server processes it leaves behind end by themselves; until they have, no new one may start.
    wait_until(lambda: postgres.start() or True, "PostgreSQL is back", answered=(NotInTime,))


def _freeze(postgres: Postgres) -> None:
    with postgres.frozen():
        eventlet.sleep(FROZEN_S)


def _next_end(load: Load) -> float:
    """How long it takes from now until one more order has ended."""
    since, before = time.monotonic(), load.closed
    wait_until(lambda: load.over or load.closed > before, "orders go on", timeout_s=120)
    return time.monotonic() - since
