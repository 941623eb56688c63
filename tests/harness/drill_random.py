"""Random faults over many orders, drawn by a seed: any run that breaks a promise can be had again by its seed."""

from __future__ import annotations

import time

from tests.harness.drill_faults import Inflictor
from tests.harness.drill_load import Load
from tests.harness.drill_stage import Stage, measured
from tests.harness.network import elements_of
from tests.harness.room import make_room
from tools.drill_report import Result
from tools.faults import schedule
from tools.waiting import NotInTime, wait_until

NAME = "random faults"
ROUND = 300
"""Orders in a round: after each the equipment is emptied, because private access nodes get slow with what they hold."""


def run(stage: Stage) -> Result:
    """Rounds of orders with cancels and rejections mixed in, and faults of every kind at once, drawn by the seed."""
    wanted = stage.amount(24, 2400)
    total = Result(NAME, seed=stage.seed)
    rounds = -(-wanted // ROUND)
    for number in range(rounds):
        orders = min(ROUND, wanted - number * ROUND)
        seed = stage.seed + number
        found = one_round(stage, seed, orders, faults=8 if orders < 100 else orders // 8)
        stage.say(f"seed {seed}: {found.faults} faults, {found.orders} orders, lost {found.lost}, "
                  f"doubled {found.doubled}, stuck {found.stuck}")  # fmt: skip
        for name in ("faults", "orders", "failed_requests", "lost", "doubled", "stuck"):
            setattr(total, name, getattr(total, name) + getattr(found, name))
        total.seconds += found.seconds
        total.problems += [f"seed {seed}: {problem}" for problem in found.problems]
        total.notes += [f"seed {seed}: {note}" for note in found.notes] if rounds == 1 or found.problems else []
        if found.problems:
            break
    if rounds > 1:
        total.notes.append(f"seeds {stage.seed} to {stage.seed + rounds - 1}, {ROUND} orders each")
    return total


def one_round(stage: Stage, seed: int, orders: int, faults: int) -> Result:
    """One seed: `make drill DRILL=random SEED=<seed> ORDERS=<orders>` draws the same orders and the same faults."""
    system, begun = stage.system, time.monotonic()
    make_room(system)
    with stage.balanced() as balancer:
        drawn = schedule(seed, faults, orders, sorted(system.processes), sorted(elements_of(system)))
        inflictor = Inflictor(system, stage.say)
        load = Load(system, url=balancer.url, seed=seed, limit=orders, hands=8 if orders > 100 else 6)
        with load:
            for fault in drawn:
                _await_turn(load, fault.after)
                inflictor.inflict(fault)
            inflictor.wait()
            system.thaw_all()
            system.start_all()
            load.finish()
        found = measured(stage, NAME, len(inflictor.done), load, begun, [f"faults: {', '.join(inflictor.done)}"])
    found.seed = seed
    found.problems += [f"a fault could not be inflicted: {text}" for text in inflictor.failed]
    return found


def _await_turn(load: Load, after: int) -> None:
    """Until so many orders have ended; in the middle of an outage that none gets through, no longer than 5 s."""
    try:
        wait_until(lambda: load.over or load.closed >= after, "orders have ended", timeout_s=5)
    except NotInTime:
        return
