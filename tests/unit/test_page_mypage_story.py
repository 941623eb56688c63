"""What MyPage tells of an order: in which words, how far it is, and what can be done now."""

from __future__ import annotations

import ast
import inspect
from datetime import UTC, datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest

from contracts.ids import new_id
from contracts.rejection import REJECTION_REASONS
from contracts.rpc import OrderStatus
from gateway_svc.pages import order_story
from gateway_svc.pages.my_sign_in import read_number, read_phone
from gateway_svc.pages.order_story import Facts, Story
from gateway_svc.pages.texts import LANGUAGES, texts

SEOUL = ZoneInfo("Asia/Seoul")
NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)  # noon in Seoul
WINDOW = {"window_start": "2026-11-26T00:00:00Z", "window_end": "2026-11-26T02:00:00Z"}
AGREED = {"state": "scheduled", "technician_name": "김도현", "revision": 1, **WINDOW}
ASKED = {"state": "requested", "missed_calls": 0, "window_start": None, "last_outcome": None, "next_call_at": None}


def page(status: str, **more: Any) -> dict[str, Any]:
    visit = {name: AGREED[name] for name in ("technician_name", "revision", *WINDOW)} if status == "scheduled" else None
    known = {"status": status, "visit": visit, "version": 3, "cancel_refused": False, "timeline": []}
    return known | more


def tell(order: dict[str, Any] | None, now: datetime = NOW, **facts: Any) -> Story:
    return order_story.story(Facts(order, **facts), now, SEOUL)


def steps(told: Story) -> str:
    return "".join({"done": "x", "current": "o", "ahead": "-"}[state] for _, state in told.steps)


@pytest.mark.parametrize(("status", "facts", "stage", "way"), [
    ("accepted", {}, "accepted", "o---"),
    ("placed", {}, "placed", "xo--"),
    ("fallout", {}, "fallout", "xo--"),
    ("activated", {"visit": ASKED}, "activated", "xxo-"),
    ("activated", {"visit": ASKED | {"missed_calls": 2}}, "call-missed", "xxo-"),
    ("activated", {"visit": ASKED | {"state": "flagged", "missed_calls": 3}}, "call-missed", "xxo-"),
    ("activated", {"visit": ASKED | {"last_outcome": "call_back", "next_call_at": "2026-11-25T05:00:00Z"}},
     "call-back", "xxo-"),
    ("activated", {"visit": ASKED | {"state": "flagged", "last_outcome": "refused"}}, "visit-refused", "xxo-"),
    ("activated", {"visit": AGREED}, "scheduled", "xxxo"),
    ("activated", {"visit_missing": True}, "activated", "xxo-"),
    ("scheduled", {"visit": AGREED}, "scheduled", "xxxo"),
    ("scheduled", {"visit_missing": True}, "scheduled", "xxxo"),
    ("completed", {}, "completed", "xxxx"),
    ("cancelling", {}, "cancelling", ""),
    ("cancelled", {}, "cancelled", ""),
    ("rejecting", {}, "rejecting", ""),
    ("rejected", {}, "rejected", ""),
    ("activated", {"cancel_waits": True}, "cancel-waits", ""),
    ("completed", {"cancel_waits": True}, "completed", "xxxx"),
    ("placed", {"is_current": False}, "received", ""),
])  # fmt: skip
def test_each_state_has_its_words_and_its_place_on_the_way(
    status: str, facts: dict[str, Any], stage: str, way: str
) -> None:
    told = tell(page(status), **facts)
    assert (told.stage, steps(told)) == (stage, way)


def test_the_day_of_the_visit_is_the_local_day_and_a_late_result_is_said() -> None:
    order = page("scheduled")
    assert tell(order, datetime(2026, 11, 25, 14, 59, tzinfo=UTC)).stage == "scheduled"
    assert tell(order, datetime(2026, 11, 25, 15, 0, tzinfo=UTC)).stage == "scheduled-today", "midnight in Seoul"
    assert tell(order, datetime(2026, 11, 26, 2, 20, tzinfo=UTC)).stage == "scheduled-today"
    assert tell(order, datetime(2026, 11, 26, 2, 31, tzinfo=UTC)).stage == "scheduled-late"


def test_after_a_move_the_newer_of_two_visits_is_shown() -> None:
    moved = AGREED | {"revision": 2, "window_start": "2026-11-27T00:00:00Z", "technician_name": "이서준"}
    told = tell(page("scheduled"), visit=moved)
    assert told.visit is not None and told.visit.technician_name == "이서준"
    told = tell(page("scheduled", visit=moved), visit=AGREED)
    assert told.visit is not None and told.visit.technician_name == "이서준"


def test_a_visit_that_will_not_be_is_not_shown() -> None:
    for status in ("cancelling", "cancelled", "rejecting", "rejected"):
        assert tell(page(status, visit=AGREED)).visit is None


@pytest.mark.parametrize(("status", "facts", "may_choose", "may_cancel"), [
    ("accepted", {}, False, True), ("placed", {}, False, True), ("activated", {"visit": ASKED}, True, True),
    ("placed", {"visit": ASKED}, True, True), ("activated", {"visit_missing": True}, False, True),
    ("scheduled", {"visit": AGREED}, True, True),
    ("scheduled", {"visit": AGREED | {"state": "completed"}}, False, True),
    ("activated", {"visit": ASKED, "cancel_waits": True}, False, False),
    ("cancelling", {"visit": AGREED}, False, False),
    ("completed", {"visit": AGREED}, False, False), ("rejected", {}, False, False), ("cancelled", {}, False, False),
])  # fmt: skip
def test_only_what_can_be_done_now_is_offered(
    status: str, facts: dict[str, Any], may_choose: bool, may_cancel: bool
) -> None:
    told = tell(page(status), **facts)
    assert (told.can_choose_window, told.can_cancel) == (may_choose, may_cancel)


def test_an_order_that_order_svc_never_took_is_told_as_such_and_cannot_be_cancelled() -> None:
    told = tell(page("fallout", version=0))
    assert (told.stage, told.can_cancel, told.steps) == ("refused", False, ())


def test_a_cancel_that_lost_the_race_is_told() -> None:
    assert tell(page("completed", cancel_refused=True)).stage == "completed-anyway"


def test_where_nothing_is_known_nothing_is_claimed() -> None:
    told = tell(None, is_current=False, visit_missing=True)
    assert (told.stage, told.steps, told.visit) == ("unknown", (), None)
    assert not told.can_choose_window and not told.can_cancel


def test_it_is_closed_only_when_the_order_is() -> None:
    done = page("completed", timeline=[{"event": "fieldwork_completed"}])
    assert not tell(done).is_closed, "its closing is still to come, and is shown"
    done["timeline"].append({"event": "order_completed"})
    assert tell(done).is_closed
    assert not tell(done, is_current=False).is_closed


def test_every_stage_has_its_words_in_every_language() -> None:
    tree = ast.parse(inspect.getsource(order_story._stage) + inspect.getsource(order_story._visit_stage))
    named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    known = texts("en")
    stages = {name for name in named if f"mypage-{name}" in known} | {*get_args(OrderStatus), "unknown"}
    assert {"call-missed", "cancel-waits", "completed-anyway", "scheduled-late", "refused", "received"} <= stages
    keys = [f"mypage-{stage}{end}" for stage in sorted(stages) for end in ("", "-next")]
    keys += [f"mypage-rejection-{code}" for code in REJECTION_REASONS]
    for language in LANGUAGES:
        assert [key for key in keys if key not in texts(language)] == [], language


def test_an_order_number_is_understood_in_any_spelling() -> None:
    order_id = new_id()
    end = order_id.hex[-8:]
    spellings = (end, end.upper(), f"{end[:4]}-{end[4:]}", f" {end[:4]} {end[4:]} ",
                 end.replace("0", "O").replace("1", "l"))
    for written in spellings:
        assert read_number(written) == end
    assert read_number(str(order_id).upper()) == read_number(order_id.hex) == order_id.hex
    for nonsense in ("", "1234", "12345678 9", "zzzz-zzzz", "４D2F-88A1"):
        assert read_number(nonsense) is None


def test_a_phone_number_is_understood_in_any_spelling() -> None:
    assert {read_phone(text) for text in ("01012345678", "+82 10 1234 5678", "010 1234-5678")} == {"010-1234-5678"}
    assert read_phone("12345") is None and read_phone("") is None and read_phone("x" * 100) is None
