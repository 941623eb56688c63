"""What the bench's section replicas stands on: commands to a running system, and rates between two marks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tools.bench import cost, drain, host_child
from tools.bench.figures import Name
from tools.waiting import NotInTime


class Process:
    """A child that notes what is asked of it."""

    def __init__(self, name: str, said: list[str]) -> None:
        self.name, self.pid, self.alive, self._said = name, 100, True, said

    def ask_to_stop(self) -> None:
        self._said.append(f"ask {self.name}")


class System:
    """As much of a system as host_child uses."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.url, self.env = "http://gateway", {"A": "1"}
        self.processes = {name: Process(name, self.said) for name in ("order", "mypage")}
        self.nodes = type("Nodes", (), {"parts": ()})()

    def service_url(self, name: str) -> str:
        return f"http://{name}"

    def stop(self, name: str) -> None:
        self.said.append(f"stop {name}")
        self.processes[name].alive = False

    def start(self, name: str, *, wait: bool) -> None:
        self.said.append(f"start {name}")
        self.processes[name].alive = True

    def wait_ready(self, name: str) -> None:
        self.said.append(f"ready {name}")

    def add_replica(self, service: str, *, wait: bool) -> str:
        name = f"{service}-2"
        self.processes[name] = Process(name, self.said)
        return name


def told(system: System, do: str, *names: str) -> dict[str, Any]:
    return host_child._answer(system, json.dumps({"do": do, "names": names}))  # type: ignore[arg-type]


def test_processes_are_asked_to_stop_at_the_same_time_and_are_gone_then() -> None:
    system = System()
    about = told(system, "stop", "order", "mypage")
    assert system.said == ["ask order", "ask mypage", "stop order", "stop mypage"]
    assert about["pids"] == {}


def test_processes_that_are_started_or_added_are_ready_when_it_answers() -> None:
    system = System()
    told(system, "stop", "order")
    system.said.clear()
    assert told(system, "start", "order")["pids"].keys() == {"order", "mypage"}
    assert system.said == ["start order", "ready order"]
    about = told(system, "add", "mypage")
    assert about["pids"].keys() == about["urls"].keys() == {"order", "mypage", "mypage-2"}
    assert system.said[-1] == "ready mypage-2"


def test_a_command_that_fails_is_answered_and_the_next_one_is_carried_out() -> None:
    system = System()
    assert "KeyError" in told(system, "stop", "nobody")["error"]
    assert "error" not in told(system, "stop", "order")


class Backend:
    """A process as psutil shows it."""

    def __init__(self, pid: int, title: str, seconds: float) -> None:
        self.pid, self._title = pid, title
        self._times = type("Times", (), {"user": seconds, "system": seconds / 2})()

    def children(self, recursive: bool) -> list[Backend]:
        return [
            Backend(11, "postgres: oss oss_order 127.0.0.1(4711) idle", 2.0),
            Backend(12, "postgres: oss oss_order [local] SELECT", 4.0),
            Backend(13, "postgres: oss oss_mypage [local] idle", 8.0),
            Backend(14, "postgres: autovacuum worker oss_order", 16.0),
            Backend(15, "postgres: walwriter", 32.0),
        ]

    def cmdline(self) -> list[str]:
        return [self._title]

    def cpu_times(self) -> Any:
        return self._times


def test_postgresql_s_work_is_told_apart_by_database_without_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost.psutil, "Process", lambda pid: Backend(pid, "postgres -D data", 0.0))
    found = cost.by_database_s(10, ["oss_order", "oss_mypage", "oss_gateway"], but=[12])
    assert found == {"oss_order": 3.0, "oss_mypage": 12.0, "oss_gateway": 0.0}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that goes on by a second with each pause; CPU used is ten times as much."""
    now = [0.0]
    monkeypatch.setattr(drain.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(drain.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + 1))
    monkeypatch.setattr(drain, "used_s", lambda host: {"order": 10 * now[0]})
    yield now


def test_a_rate_counts_neither_the_beginning_nor_the_end(clock: list[float]) -> None:
    def done() -> int:
        return 0 if clock[0] < 5 else min(100, 20 * int(clock[0] - 4))

    found = drain.drain("x", None, 2, done, 100)  # type: ignore[arg-type]
    assert found[Name("x", "2 of each", "orders/s")] == 20
    assert found[Name("x", "2 of each, order", "CPU ms an order")] == 500


def test_a_backlog_that_goes_no_further_is_said(clock: list[float]) -> None:
    with pytest.raises(NotInTime, match="30 of 100 orders are done"):
        drain.drain("x", None, 1, lambda: 30, 100)  # type: ignore[arg-type]


def test_a_backlog_too_small_to_measure_is_said(clock: list[float]) -> None:
    with pytest.raises(NotInTime, match="too few"):
        drain.drain("x", None, 1, lambda: 100 if clock[0] else 0, 100)  # type: ignore[arg-type]
