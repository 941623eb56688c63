"""Clocks: services whose clocks are five minutes off, some ahead, some behind, then the other way round, then right
again, while orders are under way all the time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests

from tests.harness.drill_load import Load
from tests.harness.drill_stage import Stage, measured
from tools import faketime, packages
from tools.drill_report import Result
from tools.system import System
from tools.waiting import wait_until

NAME = "clocks"
OFF_S = 300.0
# Neighbours in the chain are ten minutes apart.
FIRST: Mapping[str, float] = {
    "activation": OFF_S, "scheduling": -OFF_S, "mypage": OFF_S,
    "order": -OFF_S, "fieldwork": OFF_S, "gateway-2": -OFF_S,
}  # fmt: skip
SHORT = ("activation", "scheduling", "mypage")


def run(stage: Stage) -> Result:
    """All promises hold while clocks are wrong, also for orders that meet wrong and right clocks on their way."""
    packages.ensure(faketime.SERVER)
    system, begun = stage.system, time.monotonic()
    victims = list(FIRST) if stage.long else list(SHORT)
    faults, notes = 0, []
    with stage.balanced() as balancer, right_again(system, victims):
        load = Load(system, url=balancer.url, seed=stage.seed, hands=6 if stage.long else 4)
        with load:
            enough = stage.amount(4, 60)
            for sign in (1, -1, 0) if stage.long else (1, 0):
                with orders_waiting(system):
                    for name in victims:
                        stage.say(f"{name}: {sign * FIRST[name]:+g} s")
                        set_clock(system, name, sign * FIRST[name])
                        faults += 1
                goal = load.closed + enough
                wait_until(lambda goal=goal: load.over or load.closed >= goal, "orders go on", timeout_s=300)
                notes.append(", ".join(f"{name} {offset(system, name):+.0f} s" for name in victims))
        return measured(stage, NAME, faults, load, begun, [f"clocks, one after the other: {'; then '.join(notes)}"])


@contextmanager
def orders_waiting(system: System) -> Iterator[None]:
    """At the beginning of the block some orders wait for their next try: until a time that the present clock says."""
    query = "select count(*) as n from activations where state = 'provisioned' and visit_attempts > 0"
    with ExitStack() as stack:
        stack.callback(system.thaw_all)
        system.freeze("scheduling")
        wait_until(lambda: system.db("activation", query)[0]["n"] > 0, "orders wait for scheduling", timeout_s=60)
        yield


def set_clock(system: System, name: str, seconds: float) -> None:
    """Replace one process by one whose clock is off by so much; 0 is right."""
    child = system.processes[name]
    for variable in faketime.clock_off_by(0):
        child.env.pop(variable, None)
    if seconds:
        child.env |= faketime.clock_off_by(seconds)
    system.stop(name)
    system.start(name)
    seen = offset(system, name)
    assert abs(seen - seconds) < 5, f"the clock of {name} is off by {seen:.0f} s, not by {seconds:.0f} s"


def offset(system: System, name: str) -> float:
    """By how many seconds a process's clock is ahead of ours, by the date in its answers."""
    date = parsedate_to_datetime(requests.get(f"{system.service_url(name)}/livez", timeout=10).headers["Date"])
    return (date - datetime.now(UTC)).total_seconds()


@contextmanager
def right_again(system: System, names: list[str]) -> Iterator[None]:
    """Whatever a drill did to clocks is over when the block ends."""
    try:
        yield
    finally:
        for name in names:
            if "FAKETIME" in system.processes[name].env:
                set_clock(system, name, 0)
