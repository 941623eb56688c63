"""The bench of elements's arithmetic; that it measures anything is for `make bench-elements` to show."""

from __future__ import annotations

from collections import Counter

from tools.bench.elements import Measured, table
from tools.network import REAL, SIM


def measured(*times_ms: float, **cpu_s: float) -> Measured:
    return Measured(list(times_ms), Counter(cpu_s))


def test_the_table_has_times_and_cost_by_process_the_dearest_first() -> None:
    real = measured(100, 200, 300, 400, activation=0.2, order=0.4)
    shown = table({REAL: real, SIM: measured(50, 60, activation=0.1)}).splitlines()
    rows = {line[:34].strip(): line[34:].split() for line in shown[1:-1]}
    assert rows["orders"] == ["4", "2"]
    assert rows["median, ms"] == ["250", "55"]
    assert rows["CPU, ms an order"] == ["150", "50"]
    assert list(rows)[-2:] == ["order", "activation"]
    assert rows["activation"] == ["50", "50"]


def test_it_says_whether_the_target_is_met() -> None:
    for times, verdict in (((200.0, 249.0, 900.0), "met"), ((100.0, 250.0, 251.0), "missed")):
        assert table({REAL: measured(*times), SIM: measured(1, 2)}).endswith(verdict)
