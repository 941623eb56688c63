"""The container: a worker's life, from its dependencies to what they hear of its end."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import eventlet
import pytest
from eventlet.event import Event
from nameko.exceptions import ContainerBeingKilled
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


Outcome = tuple[Any, Any, list[Any]]
"""A worker's result, its error, and what the dependency was told."""


def spawned(action: Callable[[], Any]) -> Outcome:
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


def carried_out(action: Callable[[], Any]) -> Outcome:
    container = Container(Worked, {})
    [entrypoint], [witness] = container.entrypoints, container.dependencies
    result, exc_info = eventlet.spawn(container.carry_out, entrypoint, (action,), {}).wait()
    assert container._worker_pool.running() == 0 and not container._worker_threads
    return result, exc_info and exc_info[0], witness.told


either_way = pytest.mark.parametrize("worked", [spawned, carried_out])
Way = Callable[[Callable[[], Any]], Outcome]


@either_way
def test_a_worker_has_its_dependencies_and_they_hear_how_it_ended(worked: Way) -> None:
    assert worked(lambda: 42) == (42, None, ["setup", 42, "teardown"])


@either_way
def test_a_defect_is_told_and_logged_once(worked: Way, caplog: pytest.LogCaptureFixture) -> None:
    assert worked(break_down) == (None, ZeroDivisionError, ["setup", ZeroDivisionError, "teardown"])
    [record] = caplog.records
    assert record.levelname == "ERROR" and "worked.do" in record.getMessage() and record.exc_info is not None


@either_way
def test_an_error_that_is_an_answer_is_told_and_not_logged(worked: Way, caplog: pytest.LogCaptureFixture) -> None:
    assert worked(refuse) == (None, Refused, ["setup", Refused, "teardown"])
    assert caplog.records == []


@either_way
def test_a_timeout_that_escapes_is_answered(worked: Way, caplog: pytest.LogCaptureFixture) -> None:
    result, error, _ = worked(time_out)
    assert (result, error) == (None, WorkerDied)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_worker_leaves_nothing_in_the_context_of_the_greenlet_that_it_ran_in() -> None:
    known = ContextVar("known", default="nothing")
    known.set("ours")

    def look_and_change() -> str:
        found = known.get()
        known.set("the worker's")
        eventlet.sleep(0)
        assert known.get() == "the worker's"
        return found

    container = Container(Worked, {})
    [entrypoint] = container.entrypoints
    assert container.carry_out(entrypoint, (look_and_change,), {}) == ("nothing", None)
    assert known.get() == "ours"


def test_workers_in_greenlets_of_others_are_bounded_and_waited_for() -> None:
    container = Container(Worked, {"max_workers": 2})
    [entrypoint] = container.entrypoints
    go_on, begun, ended = Event(), [], []

    def one(number: int) -> None:
        container.carry_out(entrypoint, (lambda: (begun.append(number), go_on.wait()),), {})
        ended.append(number)

    for number in range(3):
        eventlet.spawn(one, number)
    eventlet.sleep(0)
    assert begun == [0, 1] and container._worker_pool.waiting() == 1
    eventlet.spawn(go_on.send)
    with eventlet.Timeout(10):
        container._worker_pool.waitall()
    assert begun == [0, 1, 2] and len(ended) >= 2


def test_a_broken_dependency_ends_the_container_wherever_its_worker_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    container = Container(Worked, {})
    [entrypoint] = container.entrypoints
    monkeypatch.setattr(Witness, "worker_setup", lambda *_: break_down())
    with pytest.raises(ContainerBeingKilled):
        container.carry_out(entrypoint, (refuse,), {})
    with eventlet.Timeout(10), pytest.raises(ZeroDivisionError):
        container.wait()
    with pytest.raises(ContainerBeingKilled):
        container.carry_out(entrypoint, (refuse,), {})


def test_a_container_that_is_killed_ends_workers_in_greenlets_of_others() -> None:
    container = Container(Worked, {})
    [entrypoint] = container.entrypoints
    caller = eventlet.spawn(container.carry_out, entrypoint, (Event().wait,), {})
    eventlet.sleep(0)
    with eventlet.Timeout(10):
        container.kill()
    assert caller.dead and container._worker_pool.running() == 0
