"""The container: a worker's life, from its dependencies to what they hear of its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import eventlet
import pytest
from eventlet.event import Event
from nameko.extensions import DependencyProvider, Entrypoint

from chassis.container import Container, WorkerDied


class Refused(Exception):
    """An answer, not a defect."""


class Witness(DependencyProvider):
    """Writes down what a worker's dependencies are told of."""

    told: list[Any]

    def get_dependency(self, worker_ctx: Any) -> str:
        return f"for {worker_ctx.entrypoint.method_name}"

    def worker_setup(self, worker_ctx: Any) -> None:
        self.told = ["setup"]

    def worker_result(self, worker_ctx: Any, result: Any = None, exc_info: Any = None) -> None:
        self.told.append(result if exc_info is None else exc_info[0])

    def worker_teardown(self, worker_ctx: Any) -> None:
        self.told.append("teardown")


work = Entrypoint.decorator


class Worked:
    name = "worked"
    witness = Witness()

    @work(expected_exceptions=Refused)
    def do(self, action: Callable[[], Any]) -> Any:
        assert self.witness == "for do"
        return action()


def refuse() -> None:
    raise Refused


def break_down() -> None:
    raise ZeroDivisionError


def time_out() -> None:
    raise eventlet.Timeout(60)


def worked(action: Callable[[], Any]) -> tuple[Any, Any, list[Any]]:
    """Run `action` in a worker: its result, its error, and what the dependency was told."""
    container = Container(Worked, {})
    [entrypoint], [witness] = container.entrypoints, container.dependencies
    done = Event()

    def answered(worker_ctx: Any, result: Any, exc_info: Any) -> tuple[Any, Any]:
        done.send((result, exc_info and exc_info[0]))
        return result, exc_info

    container.spawn_worker(entrypoint, (action,), {}, handle_result=answered)
    with eventlet.Timeout(10):
        result, error = done.wait()
        container._worker_pool.waitall()
    return result, error, witness.told


def test_a_worker_has_its_dependencies_and_they_hear_how_it_ended() -> None:
    assert worked(lambda: 42) == (42, None, ["setup", 42, "teardown"])


def test_a_defect_is_told_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    assert worked(break_down) == (None, ZeroDivisionError, ["setup", ZeroDivisionError, "teardown"])
    [record] = caplog.records
    assert record.levelname == "ERROR" and "worked.do" in record.getMessage() and record.exc_info is not None


def test_an_error_that_is_an_answer_is_told_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert worked(refuse) == (None, Refused, ["setup", Refused, "teardown"])
    assert caplog.records == []


def test_a_timeout_that_escapes_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    result, error, _ = worked(time_out)
    assert (result, error) == (None, WorkerDied)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
