"""The short form of the drill with a broker of three nodes, in a network of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.drill_stage import Stage
from tools.drill import chosen, run
from tools.drill_report import report, table
from tools.nodes import Nodes
from tools.system import System

pytestmark = pytest.mark.drill


def test_without_a_node_and_with_one_cut_off_orders_go_on_and_none_is_lost_doubled_or_stuck(
    state_folder: Path,
) -> None:
    folder = state_folder / "cluster"
    nodes = Nodes(folder, durable=False, use_environment=False)  # not started: the drill starts its own
    results = run(*chosen(["cluster"]), Stage(System(folder, nodes=nodes)))

    print(table(results))
    assert all(result.ok for result in results), f"\n{table(results)}\n{report(results)}"
    assert [(result.faults, result.orders > 0) for result in results] == [(2, True)]
