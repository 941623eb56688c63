"""The short form of the drill with a standby: its system is its own, with several PostgreSQL servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import drill_standby
from tests.harness.drill_stage import Stage
from tools.drill import running_system
from tools.drill_report import report, table

pytestmark = pytest.mark.drill


def test_what_was_answered_is_there_after_a_standby_has_taken_over(state_folder: Path) -> None:
    with running_system(state_folder / "failover", needed=False) as system:
        results = drill_standby.run(Stage(system, say=print))

    print(table(results))
    print(report(results))
    assert all(result.ok for result in results), f"\n{table(results)}\n{report(results)}"
    assert all(result.orders > 0 for result in results)
