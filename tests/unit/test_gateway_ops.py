"""Operators see the parked messages of all services as one list, and act on them wherever they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from chassis.rpc_client import NoRoute
from contracts.cursor import decode_cursor, encode_cursor
from contracts.errors import Invalid, NotFound, Unavailable
from contracts.ids import new_id
from gateway_svc.answers import Overview
from gateway_svc.intake import Intake
from gateway_svc.journal import Journal, Mark
from gateway_svc.routes_ops import OpsRoutes
from gateway_svc.routes_parked import ParkedRoutes
from gateway_svc.routing import Answer, Call
from gateway_svc.schemas import ListQuery, ServiceQuery
from tests.harness.intake import Clock, an_order

SERVICES = ("order", "activation", "scheduling", "fieldwork", "mypage")


class Service:
    """One service's operations as RPC answers them."""

    breaker_state = "closed"

    def __init__(self, name: str, parked: int = 0) -> None:
        self.name = name
        self.parked = [f"{name}-{number}" for number in range(parked)]
        self.oldest = str(new_id())
        self.away = False

    def call(self, method: str, timeout_s: float | None = None, **arguments: Any) -> Any:
        if self.away:
            raise NoRoute(self.name, "the service is not there", 1.0)
        return getattr(self, method)(**arguments)

    def list_parked(self, limit: int, cursor: str | None) -> dict[str, Any]:
        start = int(decode_cursor(cursor, 1)[0]) if cursor else 0
        page = self.parked[start:start + limit]
        end = start + len(page)
        items = [{"message_id": name, "error": "boom"} for name in page]
        return {"items": items, "next_cursor": encode_cursor(str(end)) if end < len(self.parked) else None}

    def replay_parked(self, message_id: str) -> dict[str, str]:
        if message_id not in self.parked:
            raise NotFound("not here")
        self.parked.remove(message_id)
        return {"message_id": message_id, "result": "replayed"}

    def overview(self) -> dict[str, Any]:
        return {"service": self.name, "parked": len(self.parked)}

    def count_orders(self) -> dict[str, Any]:
        none = {"status": "placed", "count": 0, "oldest_at": None, "oldest_order_id": None}
        some = {"status": "activated", "count": 2, "oldest_at": "2026-11-25T09:00:00Z", "oldest_order_id": self.oldest}
        return {"items": [item | {"over_1h": 0, "over_1d": 0, "over_3d": 0} for item in (none, some)]}


class Ops(OpsRoutes, ParkedRoutes):
    """The routes over stand-ins."""

    def __init__(self, intake: Intake, **parked: int) -> None:
        self.intake, self.settings = intake, {}
        for name in SERVICES:
            setattr(self, name, Service(name, parked.get(name, 0)))

    def ask(self, route: str, query: Any = None, **path: str) -> Any:
        request = Request(EnvironBuilder().get_environ())
        call = Call(request, caller=None, order_id=None, path=path, body=None, query=query)
        answer = getattr(Ops, route).__wrapped__(self, call)
        return answer.content if isinstance(answer, Answer) else answer


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[Intake]:
    journal = Journal(tmp_path / "journal.sqlite3")
    yield Intake(journal, lambda: None, Clock())
    journal.close()


def every_page(ops: Ops, limit: int) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []
    cursor = None
    while True:
        page = ops.ask("list_parked_messages", ListQuery(limit=limit, cursor=cursor))
        assert len(page["items"]) <= limit
        seen += [(item["service"], item["message_id"]) for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return seen


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 200])
def test_the_parked_messages_of_all_services_are_one_list(intake: Intake, limit: int) -> None:
    ops = Ops(intake, order=2, scheduling=3, mypage=1)
    entry = intake.journal.append(an_order())
    intake.journal.mark([Mark(entry.entry_id, "failed")])

    assert every_page(ops, limit) == [
        ("order", "order-0"), ("order", "order-1"), ("scheduling", "scheduling-0"), ("scheduling", "scheduling-1"),
        ("scheduling", "scheduling-2"), ("mypage", "mypage-0"), ("gateway", str(entry.entry_id)),
    ]


def test_a_service_that_is_away_is_named_and_hides_no_other(intake: Intake) -> None:
    ops = Ops(intake, order=1, mypage=1)
    ops.order.away = True  # type: ignore[attr-defined]
    page = ops.ask("list_parked_messages", ListQuery())
    assert [item["service"] for item in page["items"]] == ["mypage"]
    assert page["unreachable"] == ["order"]


def test_a_cursor_of_another_list_is_named(intake: Intake) -> None:
    for cursor in ("x", encode_cursor("nobody", ""), encode_cursor("order"), encode_cursor("gateway", "x")):
        with pytest.raises(Invalid):
            Ops(intake).ask("list_parked_messages", ListQuery(cursor=cursor))


def test_a_message_is_replayed_wherever_it_is_parked(intake: Intake) -> None:
    ops, message_id = Ops(intake), str(new_id())
    ops.activation.parked.append(message_id)  # type: ignore[attr-defined]
    ops.mypage.parked.append(message_id)  # type: ignore[attr-defined]

    one = ops.ask("replay_parked_message", ServiceQuery(service="mypage"), message_id=message_id)
    assert one["services"] == ["mypage"]
    rest = ops.ask("replay_parked_message", ServiceQuery(), message_id=message_id)
    assert rest["services"] == ["activation"]
    with pytest.raises(NotFound):
        ops.ask("replay_parked_message", ServiceQuery(), message_id=message_id)
    ops.order.away = True  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match="order"):
        ops.ask("replay_parked_message", ServiceQuery(), message_id=message_id)


def test_the_overview_holds_what_the_document_says(intake: Intake) -> None:
    ops = Ops(intake, order=1)
    ops.fieldwork.away = True  # type: ignore[attr-defined]
    overview = Overview.model_validate(ops.ask("show_overview"))

    assert overview.services["order"]["parked"] == 1
    assert overview.services["fieldwork"]["status"] == "unreachable"
    assert [(found.status, str(found.order_id)) for found in overview.oldest_open] == [
        ("activated", ops.mypage.oldest)  # type: ignore[attr-defined]
    ]
    assert [(count.status, count.count) for count in overview.orders or ()] == [("placed", 0), ("activated", 2)]

    ops.mypage.away = True  # type: ignore[attr-defined]
    without = Overview.model_validate(ops.ask("show_overview"))
    assert (without.orders, without.oldest_open, without.services["mypage"]["status"]) == (None, [], "unreachable")
