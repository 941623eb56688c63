"""Health checks and problem documents, without a server."""

from __future__ import annotations

import inspect
import json
from types import SimpleNamespace
from typing import Any

import eventlet
import pytest
from nameko.cli.run import is_entrypoint
from nameko.testing.services import worker_factory

from chassis import health
from chassis.health import health_of, register_check
from chassis.rpc_client import BreakerOpen
from chassis.service import OPERATIONS, OperatedService
from chassis.web import Answerable, problem, problem_for
from chassis.web_protocol import sane_request_id


def a_container() -> Any:
    container = SimpleNamespace()
    container.interface = container
    return container


def raises() -> None:
    raise ConnectionError("database at 10.0.0.7 refused user oss")


@pytest.mark.parametrize(
    ("said", "outcome"),
    [(True, "ok"), (None, "ok"), (False, "not well"), ("no channel", "no channel"), (0, "not well")],
)
def test_check_says_what_is_wrong(said: Any, outcome: str) -> None:
    container = a_container()
    register_check(container, "thing", ready=lambda: said)
    assert health_of(container).outcomes("ready") == {"thing": outcome}
    assert health_of(container).outcomes("live") == {}


def test_check_that_raises_tells_strangers_only_the_kind_of_error() -> None:
    container = a_container()
    register_check(container, "database", ready=raises)
    assert health_of(container).outcomes("ready") == {"database": "failed: ConnectionError"}


def test_check_that_hangs_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT_S", 0.05)
    container = a_container()
    register_check(container, "broker", live=lambda: eventlet.sleep(60), info=lambda: {"queue": 3})
    assert health_of(container).outcomes("live") == {"broker": "no answer within 0.05 s"}
    assert health_of(container).info() == {"broker": {"queue": 3}}


def test_importing_the_base_does_not_make_it_a_service() -> None:
    assert not inspect.getmembers(OperatedService, is_entrypoint)


def test_each_service_with_a_store_has_operations_of_its_own() -> None:
    class One(OperatedService):
        name = "one"
        store = object()

    class Two(OperatedService):
        name = "two"
        store = object()

        def overview(self) -> dict[str, Any]:
            return {}

    class Storeless(OperatedService):
        name = "three"

    assert {name for name, _ in inspect.getmembers(One, is_entrypoint)} == set(OPERATIONS)
    assert {name for name, _ in inspect.getmembers(Two, is_entrypoint)} == set(OPERATIONS) - {"overview"}
    assert not inspect.getmembers(Storeless, is_entrypoint)
    assert not set(One.list_parked.nameko_entrypoints) & set(Two.list_parked.nameko_entrypoints)  # type: ignore


def test_unreasonable_limit_is_refused_by_name() -> None:
    class Demo(OperatedService):
        name = "demo"

    service = worker_factory(Demo)
    for limit in (0, 201, True, "5", -1):
        with pytest.raises(Answerable) as refused:
            service.list_parked(limit)
        assert refused.value.fields[0]["field"] == "limit"  # type: ignore[attr-defined]


class Refused(Exception):
    http_status, title, detail, retry_after_s = 429, "Too many requests", "slow down", 0.2
    fields = [{"field": "phone", "message": "한 번만"}]  # noqa: RUF012


def test_problem_is_rfc_9457() -> None:
    response = problem(422, "Invalid content", "phone is wrong", [{"field": "phone", "message": "x"}], {"X-A": "b"})
    assert response.content_type == "application/problem+json"
    assert (response.status_code, response.headers["X-A"]) == (422, "b")
    assert json.loads(response.get_data()) == {
        "type": "about:blank",
        "title": "Invalid content",
        "status": 422,
        "detail": "phone is wrong",
        "errors": [{"field": "phone", "message": "x"}],
    }


def test_errors_that_know_their_answer_become_problems() -> None:
    refused = problem_for(Refused())
    assert refused is not None and refused.headers["Retry-After"] == "1"
    assert json.loads(refused.get_data())["errors"] == Refused.fields
    failed = problem_for(BreakerOpen("order", "left alone while it recovers", 12.3))
    assert failed is not None and (failed.status_code, failed.headers["Retry-After"]) == (503, "13")
    assert problem_for(RuntimeError("a defect")) is None


@pytest.mark.parametrize("given", [None, "", "x" * 200, "a b", "a\r\nb", "아이디", "-x", "<script>"])
def test_strange_request_ids_are_replaced(given: str | None) -> None:
    assert sane_request_id(given) != given
    assert sane_request_id("req-1.A:b_2") == "req-1.A:b_2"
