"""The dispatch desk: what it shows of what it knows, whom it shows a phone number, and why something was refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from chassis import clock
from chassis.rpc_client import CallFailed
from contracts.errors import Conflict, Invalid, NotFound
from gateway_svc.auth import Caller
from gateway_svc.pages.ask import Part
from gateway_svc.pages.dispatch import DispatchPages
from gateway_svc.pages.dispatch_desk import Chosen, board_rows, week, why_refused
from gateway_svc.pages.formats import Formats
from gateway_svc.pages.texts import Language, texts
from gateway_svc.pages.view import View

SEOUL = ZoneInfo("Asia/Seoul")
ORDER = "01939c00-0000-7000-8000-000000000001"
PHONE = "010-1234-5678"
SILENCE = CallFailed("scheduling", "no answer", 1.0)
SLOT = {"window_start": "2099-11-25T00:00:00Z", "window_end": "2099-11-25T02:00:00Z"}


def a_visit(**changes: Any) -> dict[str, Any]:
    return {
        "order_id": ORDER, "state": "requested", "customer": {"name": "김하늘", "phone": PHONE, "email": None},
        "address": {"postcode": "06236", "line1": "테헤란로 1", "line2": "101동"}, "revision": 0, "calls": 1,
        "items": [{"product": "internet-500", "quantity": 2}], "missed_calls": 1, "last_outcome": "no_answer",
        "next_call_at": None, "why": "no_answer", "due": True, "age_s": 7200, "cancel_risk": "high", "claim": None,
        "window_start": None, "window_end": None, "technician_name": None, "attempts": [], **changes,
    }


def a_claim(by: str) -> dict[str, str]:
    return {"by": by, "until": "2099-01-01T00:00:00Z"}


class Scheduling:
    """Answers as it is told; asked for anything else it does not answer."""

    def __init__(self, **answers: Any) -> None:
        technicians = {"items": [{"id": "tech-kim", "name": "김도현", "skills": ["internet"], "areas": ["*"],
                                  "load_by_day": {"2099-11-25": 2}}]}
        self.answers = {
            "list_visits": {"items": [a_visit()], "next_cursor": None},
            "day_board": {"date": "2026-11-25", "windows": [], "technicians": []},
            "list_technicians": technicians,
            "free_windows": {"items": [SLOT | {"technicians": [{"id": "tech-kim", "name": "김도현"}]}]},
            "get_visit": a_visit(), **answers,
        }
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def call(self, method: str, *, timeout_s: float, **arguments: Any) -> Any:
        assert timeout_s == 0.5
        self.asked.append((method, arguments))
        answer = self.answers.get(method, SILENCE)
        if isinstance(answer, Exception):
            raise answer
        return answer


def a_view(method: str = "GET", path: str = "/dispatch", language: Language = "ko", **form: str) -> View:
    request = Request(EnvironBuilder(path, method=method, data=form or None).get_environ())
    caller = Caller("anna", "dispatcher", clock.utc_now() + timedelta(hours=1))
    return View(request, caller, None, {}, texts(language), Formats(language, SEOUL), "csrf")


def shown(scheduling: Scheduling, view: View, **more: Any) -> tuple[int, str]:
    pages = DispatchPages()
    pages.scheduling, pages.settings = scheduling, {"PAGE_TIMEOUT_S": 0.5}  # type: ignore[assignment]
    response = pages._desk(view, Chosen.of(view), **more)
    return response.status_code, response.get_data(as_text=True)


@pytest.mark.parametrize(
    ("visit", "whole"),
    [
        (a_visit(), False),
        (a_visit(claim=a_claim("bea")), False),
        (a_visit(claim=a_claim("anna")), True),
    ],
)
def test_only_who_is_on_the_phone_sees_the_whole_number(visit: dict[str, Any], whole: bool) -> None:
    scheduling = Scheduling(get_visit=visit, list_visits={"items": [visit], "next_cursor": None})
    _, page = shown(scheduling, a_view(path=f"/dispatch?order={ORDER}"))
    assert (PHONE in page) == whole
    assert ("101동" in page) == whole
    assert "010-****-5678" in page


@pytest.mark.parametrize("language", ["ko", "en"])
def test_what_does_not_answer_is_said_and_the_rest_is_shown(language: Language) -> None:
    text = texts(language)
    view = a_view(path=f"/dispatch?order={ORDER}", language=language)
    status, page = shown(Scheduling(day_board=SILENCE), view)
    assert status == 200
    assert text("dispatch-board-missing") in page and "김하늘" in page
    methods = ("list_visits", "day_board", "list_technicians", "free_windows", "get_visit")
    nothing = Scheduling(**dict.fromkeys(methods, SILENCE))
    status, page = shown(nothing, view)
    assert status == 200
    for missing in ("dispatch-queue-missing", "dispatch-board-missing", "dispatch-visit-missing"):
        assert text(missing) in page


def test_an_order_without_a_visit_is_said() -> None:
    missing = Scheduling(get_visit=NotFound("no visit"), free_windows=NotFound("no visit"))
    _, page = shown(missing, a_view(path=f"/dispatch?order={ORDER}"))
    assert texts("ko")("dispatch-visit-unknown") in page


def test_what_was_typed_is_there_again_after_a_refusal_and_after_silence() -> None:
    visit = a_visit(claim=a_claim("anna"))
    form = {"outcome": "no_answer", "note": "부재중 <b>", "order": ORDER, "revision": "0"}
    for answer, status, text in (
        (Conflict("x"), 409, "dispatch-refused-taken"), (SILENCE, 503, "dispatch-refused-no-answer"),
    ):
        pages = DispatchPages()
        pages.scheduling = Scheduling(get_visit=visit, record_call=answer)  # type: ignore[assignment]
        pages.settings = {"PAGE_TIMEOUT_S": 0.5}
        view = a_view("POST", f"/dispatch/visits/{ORDER}/call", **form)
        object.__setattr__(view, "order_id", ORDER)
        response = pages.record_visit_call.__wrapped__(pages, view)  # type: ignore[attr-defined]
        page = response.get_data(as_text=True)
        assert response.status_code == status
        assert texts("ko")(text) in page and "부재중 &lt;b&gt;</textarea>" in page


@pytest.mark.parametrize("call_id", ["", "01939c00-0000-7000-8000-00000000000a"])
@pytest.mark.parametrize("visit", [SILENCE, NotFound("x"), a_visit(claim=a_claim("bea")), a_visit(state="cancelled")])
def test_a_note_is_there_again_whatever_became_of_the_customer(visit: Any, call_id: str) -> None:
    pages = DispatchPages()
    pages.scheduling = Scheduling(get_visit=visit, record_call=Conflict("x"))  # type: ignore[assignment]
    pages.settings = {"PAGE_TIMEOUT_S": 0.5}
    sent = {"outcome": "no_answer", "note": "벨 고장", "order": ORDER, "revision": "3", "call_id": call_id}
    view = a_view("POST", f"/dispatch/visits/{ORDER}/call", **sent)
    object.__setattr__(view, "order_id", ORDER)
    page = pages.record_visit_call.__wrapped__(pages, view).get_data(as_text=True)  # type: ignore[attr-defined]
    assert "벨 고장</textarea>" in page and PHONE not in page
    assert f'name="call_id" value="{call_id}"' in page or not call_id, "sent again, it is the same call"


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"outcome": ""}, "outcome"),
        ({"outcome": "maybe"}, "outcome"),
        ({"outcome": "agreed"}, "slot"),
        ({"outcome": "agreed", "slot": "nothing"}, "slot"),
        ({"outcome": "call_back"}, "call_back_at"),
        ({"outcome": "call_back", "call_back_at": "2020-01-01T10:00"}, "call_back_at"),
        ({"outcome": "call_back", "call_back_at": "tomorrow"}, "call_back_at"),
        ({"outcome": "call_back", "call_back_at": "0001-01-01T00:00"}, "call_back_at"),
        ({"outcome": "no_answer", "note": "x" * 501}, "note"),
    ],
)
def test_a_result_that_is_not_whole_is_refused_by_field(form: dict[str, str], field: str) -> None:
    pages = DispatchPages()
    pages.settings = {}
    read, call = pages._read_call(a_view("POST", **form))
    assert call is None
    assert list(read.errors) == [field]


def test_a_call_back_is_local_time_or_minutes_from_now_and_other_results_take_none() -> None:
    pages = DispatchPages()
    pages.settings = {"TIMEZONE": "Asia/Seoul"}
    _, at = pages._read_call(a_view("POST", outcome="call_back", call_back_at="2099-11-25T09:30"))
    assert at is not None and at.call_back_at == datetime(2099, 11, 25, 0, 30, tzinfo=UTC)
    _, soon = pages._read_call(a_view("POST", outcome="call_back+30", call_back_at="2099-11-25T09:30"))
    assert soon is not None and soon.call_back_at is not None
    assert timedelta(minutes=28) < soon.call_back_at - clock.utc_now() <= timedelta(minutes=30)
    _, never = pages._read_call(a_view("POST", outcome="call_back+" + "9" * 5000))
    assert never is not None and never.call_back_at is not None
    assert never.call_back_at - clock.utc_now() <= timedelta(days=1)
    _, none = pages._read_call(a_view("POST", outcome="no_answer", call_back_at="2020-01-01T10:00"))
    assert none is not None and none.call_back_at is None


@pytest.mark.parametrize(
    ("error", "visit", "revision", "code"),
    [
        (None, a_visit(), None, "no-answer"),
        (Conflict("x"), a_visit(claim=a_claim("bea")), None, "held"),
        (Conflict("x"), a_visit(state="cancelled", claim=a_claim("anna")), None, "closed"),
        (Conflict("x"), a_visit(revision=3), 2, "moved"),
        (Conflict("x"), a_visit(revision=2), 2, "taken"),
        (Invalid("x", [{"field": "window_start", "message": ""}]), a_visit(), None, "past"),
        (Invalid("x", [{"field": "technician_id", "message": ""}]), a_visit(), None, "unfit"),
        (Invalid("x", [{"field": "note", "message": ""}]), a_visit(), None, "invalid"),
    ],
)
def test_a_refusal_says_why_in_the_readers_words(error: Any, visit: Any, revision: Any, code: str) -> None:
    assert why_refused(error, Part(visit), "anna", revision) == code
    assert why_refused(Conflict("x"), Part(missing=True), "anna", revision) == "no-answer"
    for language in ("ko", "en"):
        assert f"dispatch-refused-{code}" in texts(language)  # type: ignore[arg-type]


def test_what_is_chosen_stands_in_the_address_and_nonsense_in_it_is_nothing() -> None:
    chosen = Chosen.of(a_view(path=f"/dispatch?order={ORDER}&day=2026-11-25&pick=2026-11-25T00:00:00Z&cursor=abc"))
    query = parse_qs(urlsplit(chosen.url(pick=None)).query)
    assert query == {"order": [ORDER], "day": ["2026-11-25"], "cursor": ["abc"]}
    assert chosen.kept("order", "cursor", "pick") == [("day", "2026-11-25")]
    assert Chosen().url() == "/dispatch"
    wrong = Chosen.of(a_view(path="/dispatch?order=x&move=1&done=%00&day=tomorrow&since=1999-01-01&pick=2026-11-25"))
    assert wrong == Chosen()


def test_free_windows_are_laid_out_by_day_and_hours() -> None:
    table = week([SLOT], date(2099, 11, 24), Formats("ko", SEOUL))
    assert len(table["days"]) == 7
    assert table["rows"] == [{"hours": "09:00–11:00", "cells": [None, SLOT, None, None, None, None, None]}]


def test_the_board_knows_who_works_what_is_over_and_where_a_visit_may_go() -> None:
    board = {
        "windows": [SLOT, {"window_start": "2099-11-25T02:00:00Z", "window_end": "2099-11-25T04:00:00Z"}],
        "technicians": [{"id": "tech-kim", "works": ["2099-11-25T02:00:00Z"], "visits": [SLOT | {"order_id": ORDER}]}],
    }
    now = datetime(2099, 11, 25, 1, 0, tzinfo=UTC)
    (row,) = board_rows(board, {("tech-kim", "2099-11-25T02:00:00Z")}, now)
    first, second = row["cells"]
    assert (first["works"], first["ahead"], len(first["visits"]), first["target"]) == (False, False, 1, False)
    assert (second["works"], second["ahead"], second["visits"], second["target"]) == (True, True, [], True)


def test_products_are_named_in_the_readers_language_with_how_many() -> None:
    items = [{"product": "internet-500", "quantity": 1}, {"product": "tv-basic", "quantity": 2}]
    assert Formats("en", SEOUL).products(items) == "Internet 500M, TV Basic × 2"
    assert Formats("en", SEOUL).products([{"product": "of-old", "quantity": 1}]) == "of-old"
    assert Formats("ko", SEOUL).products(None) == ""
