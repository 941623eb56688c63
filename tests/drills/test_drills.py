"""A short form of each drill that `make drill` runs in full: the same code, fewer orders, shorter times."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.drill_stage import Stage, balanced
from tools.drill import DRILLS, Drill
from tools.drill_report import Result, report, table
from tools.haproxy import HAProxy
from tools.system import System

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]

SHARED = [drill for drill in DRILLS if not drill.own_system]


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
    found = drill.function()(stage)
    results = [found] if isinstance(found, Result) else list(found)

    print(table(results))
    assert all(result.ok for result in results), f"\n{table(results)}\n{report(results)}"
    assert all(result.orders > 0 for result in results)
    assert [result.drill for result in results if result.lost or result.doubled or result.stuck] == []
