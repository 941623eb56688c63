"""A short form of each drill that `make drill` runs in full: the same code, fewer orders, shorter times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.harness.drill_stage import Stage, balanced
from tools import drill as drills
from tools.drill import DRILLS, Drill
from tools.drill_report import Result, report, table
from tools.haproxy import HAProxy
from tools.system import System

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]

SHARED = [drill for drill in DRILLS if not drill.own_system]
OWN = [drill for drill in DRILLS if drill.own_system]
FAULTS = {"cluster": 2, "standby": 1, "network": 5}
"""How many each of OWN inflicts in its short form."""


@pytest.fixture(scope="module")
def balancer(running_system: System) -> Iterator[HAProxy]:
    """Two gateways for all drills here."""
    with balanced(running_system) as both:
        yield both


@pytest.fixture
def stage(system: System, balancer: HAProxy) -> Iterator[Stage]:
    before = set(system.processes)
    yield Stage(system, balancer=balancer)
    assert set(system.processes) == before, "no replica stays"


@pytest.mark.parametrize("drill", SHARED, ids=lambda drill: drill.name)
def test_in_its_short_form_no_order_is_lost_doubled_or_stuck(stage: Stage, drill: Drill) -> None:
    nothing_lost(results_of(drill.function()(stage)))


@pytest.mark.parametrize("drill", OWN, ids=lambda drill: drill.name)
def test_nor_where_it_has_a_system_of_its_own(state_folder: Path, drill: Drill) -> None:
    with drills.running_system(state_folder / drill.name, needed=False) as idle:
        results = drills.run(drill, Stage(idle, say=print))

    nothing_lost(results)
    assert sum(result.faults for result in results) == FAULTS[drill.name]


def results_of(found: Result | Sequence[Result]) -> list[Result]:
    return [found] if isinstance(found, Result) else list(found)


def nothing_lost(results: Sequence[Result]) -> None:
    print(table(results))
    assert all(result.ok for result in results), f"\n{table(results)}\n{report(results)}"
    assert all(result.orders > 0 for result in results)
    assert [result.drill for result in results if result.lost or result.doubled or result.stuck] == []
