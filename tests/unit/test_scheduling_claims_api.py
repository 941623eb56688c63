"""Call claims over HTTP: who claims is who is signed in, and nobody waiting is no content."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from gateway_svc.auth import Caller
from gateway_svc.routes_visits import VisitRoutes
from gateway_svc.routing import Answer, Call

ORDER = UUID("01939c00-0000-7000-8000-000000000001")


class Scheduling:
    """Gives one answer, and remembers what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, []  # type: ignore[var-annotated]

    def call(self, method: str, **arguments: Any) -> Any:
        self.asked.append((method, arguments))
        return self.answer


def asked(route: str, answer: Any, order_id: UUID | None = ORDER) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
    routes = VisitRoutes()
    routes.scheduling = scheduling = Scheduling(answer)  # type: ignore[assignment]
    anna = Caller("anna", "dispatcher", datetime(2099, 1, 1, tzinfo=UTC))
    call = Call(Request(EnvironBuilder().get_environ()), anna, order_id, {}, None, None)
    return getattr(routes, route).__wrapped__(routes, call), scheduling.asked


@pytest.mark.parametrize(("route", "method"), [("claim_visit", "claim_visit"), ("release_visit", "release_visit")])
def test_a_claim_is_made_and_ended_for_who_is_signed_in(route: str, method: str) -> None:
    visit = {"order_id": str(ORDER)}
    assert asked(route, visit) == (visit, [(method, {"order_id": str(ORDER), "by": "anna"})])


@pytest.mark.parametrize(("visit", "status"), [({"order_id": str(ORDER)}, 200), (None, 204)])
def test_the_next_one_is_answered_or_nobody(visit: Any, status: int) -> None:
    answer, questions = asked("claim_next_visit", visit, None)
    assert answer == Answer(status, visit)
    assert questions == [("claim_next", {"by": "anna"})]
