"""The short form of the network drill: one fault of each kind, and one link of each sort, in a network of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.drill_stage import Stage
from tools import drill
from tools.drill_report import report, table

pytestmark = pytest.mark.drill


def test_no_order_is_lost_doubled_or_stuck_and_nobody_waits_for_ever(state_folder: Path) -> None:
    with drill.running_system(state_folder / "disturbed", needed=False) as idle:
        results = drill.run(drill.chosen(["network"])[0], Stage(idle))

    print(table(results))
    assert all(result.ok for result in results), f"\n{table(results)}\n{report(results)}"
    assert all(result.orders and result.faults for result in results)
    assert not any(result.lost or result.doubled or result.stuck for result in results)
