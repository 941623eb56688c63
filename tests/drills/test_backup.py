"""What was lost for good comes back from a backup, and everything done since is done again, nothing twice."""

from __future__ import annotations

import pytest

from tests.harness import drill_backup
from tests.harness.drill_stage import Stage
from tools.drill_report import Result, report, table
from tools.system import System

pytestmark = pytest.mark.drill


def test_a_lost_data_folder_comes_back_and_every_order_ends_once(system: System) -> None:
    hold(drill_backup.everything(Stage(system, say=print)))


@pytest.mark.parametrize("service", drill_backup.ALONE)
def test_a_database_that_is_older_than_the_others_catches_up(system: System, service: str) -> None:
    hold(drill_backup.one(Stage(system, say=print), service))


def hold(result: Result) -> None:
    """Every promise was kept."""
    print(table([result]))
    print(report([result]))
    assert result.ok, report([result])
    assert result.orders > 0
