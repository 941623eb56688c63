"""Promises of the page: a function of the set of an order's events, whatever their order."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Invalid
from contracts.events import EVENTS, Event
from contracts.ids import new_id
from contracts.rpc import OrderPage
from mypage_svc.domain import (
    OPEN,
    RANKS,
    RISKS,
    STATUSES,
    SUBSCRIBES,
    Fact,
    Page,
    fact,
    filters,
    fold,
    phone_digits,
    risk,
)
from mypage_svc.queries import page_answer
from mypage_svc.texts import TEXTS

START = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
ORDER = UUID("0193a000-0000-7000-8000-000000000001")
CUSTOMER = {"name": "김하늘", "phone": "010-1234-5678", "email": "sky@example.com"}
ADDRESS = {"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1", "line2": "101동 1203호"}
ITEMS = [{"product": "internet-500", "quantity": 1}, {"product": "tv-basic", "quantity": 2}]
RESULTS = {"ont_serial": "HFRN1234ABCD", "rx_power_dbm": -19.5, "down_mbps": 487.0}
VISIT = {
    "window_end": START + timedelta(days=3),
    "technician_id": "tech-1",
    "technician_name": "박기사",
    "customer": CUSTOMER,
    "address": ADDRESS,
    "items": ITEMS,
}
PAYLOADS: dict[str, dict[str, Any]] = {
    "order_placed": {"customer": CUSTOMER, "address": ADDRESS, "items": ITEMS},
    "activation_completed": {
        "lines": [{"product": "internet-500", "kind": "internet", "element": "olt-1", "port": "1/1/1"}]
    },
    "activation_failed": {"reason": "no port for 김하늘", "attempts": 3},
    "fieldwork_completed": {"technician_id": "tech-1", "results": RESULTS, "note": "김하늘 님 댁"},
    "fieldwork_rejected": {"technician_id": "tech-1", "reason_code": "no_duct", "note": "김하늘 님 댁"},
    "order_cancel_requested": {"reason": "김하늘 moves", "requested_by": "김하늘"},
}


def events_of(*names: str) -> list[Event]:
    """A history, one event a minute. `activation_reverted/<outcome>` and `visit_scheduled/<revision>` say more."""
    events = []
    for minute, name in enumerate(names):
        event_type, _, more = name.partition("/")
        payload = dict(PAYLOADS.get(event_type, {}))
        if event_type == "activation_reverted":
            payload["outcome"] = more
        if event_type == "visit_scheduled":
            payload = VISIT | {"revision": int(more), "window_start": START + timedelta(days=int(more))}
        envelope = {"event_id": new_id(), "occurred_at": START + timedelta(minutes=minute), "order_id": ORDER}
        events.append(EVENTS[event_type](**envelope, **payload))
    return events


def happened(*names: str) -> list[Fact]:
    """The same as MyPage keeps it."""
    return [fact(event) for event in events_of(*names)]


COMPLETED = ("order_placed", "activation_completed", "visit_scheduled/1", "visit_scheduled/2",
             "fieldwork_completed", "order_completed")
CANCEL_LOST = (*COMPLETED[:3], "order_cancel_requested", "activation_cancel_requested", "fieldwork_completed",
               "visit_cancel_requested", "order_completed")
REJECTED = (*COMPLETED[:3], "fieldwork_rejected", "activation_reverted/rejected", "order_rejected")
CANCELLED = ("order_placed", "activation_completed", "visit_scheduled/1", "order_cancel_requested",
             "activation_cancel_requested", "visit_cancel_requested", "fieldwork_cancelled", "visit_cancelled",
             "activation_reverted/cancelled", "order_cancelled")
FALLOUT = ("order_placed", "activation_failed", "activation_failed", "activation_completed", "visit_scheduled/1")
ABANDONED = ("order_placed", "activation_failed", "activation_reverted/cancelled", "order_cancelled")
SAGAS = {"completed": COMPLETED, "rejected": REJECTED, "cancelled": CANCELLED, "scheduled": FALLOUT}


@given(data=st.data())
def test_any_order_of_arrival_with_duplicates_folds_to_the_same_page(data: st.DataObject) -> None:
    names = data.draw(st.sampled_from([COMPLETED, CANCEL_LOST, REJECTED, CANCELLED, FALLOUT, ABANDONED]))
    history = happened(*names[: data.draw(st.integers(1, len(names)))])
    duplicates = data.draw(st.lists(st.sampled_from(history), max_size=10))
    arrived = data.draw(st.permutations(history + duplicates))
    page = fold(arrived)
    assert page == fold(history)
    assert page.version == len(history)


@given(names=st.lists(st.sampled_from(sorted(set(COMPLETED + CANCEL_LOST + REJECTED + CANCELLED + FALLOUT))),
                      min_size=1, max_size=12), data=st.data())
def test_even_a_history_that_cannot_happen_folds_to_one_page(names: list[str], data: st.DataObject) -> None:
    history = happened(*names)
    assert fold(data.draw(st.permutations(history))) == fold(history)


@pytest.mark.parametrize(
    ("names", "statuses"),
    [
        (COMPLETED, ["placed", "activated", "scheduled", "scheduled", "completed", "completed"]),
        (CANCEL_LOST, ["placed", "activated", "scheduled", "cancelling", "cancelling", *["completed"] * 3]),
        (REJECTED, ["placed", "activated", "scheduled", "rejecting", "rejecting", "rejected"]),
        (CANCELLED, ["placed", "activated", "scheduled", *["cancelling"] * 6, "cancelled"]),
        (FALLOUT, ["placed", "fallout", "fallout", "activated", "scheduled"]),
        (ABANDONED, ["placed", "fallout", "cancelling", "cancelled"]),
    ],
)
def test_status_follows_the_saga(names: tuple[str, ...], statuses: list[str]) -> None:
    history = happened(*names)
    assert [fold(history[: count + 1]).status for count in range(len(history))] == statuses


def test_newest_revision_is_the_visit_though_it_came_first() -> None:
    page = fold(reversed(happened("order_placed", "visit_scheduled/1", "visit_scheduled/3", "visit_scheduled/2")))
    assert page.visit is not None
    assert (page.visit["revision"], page.visit["technician_name"]) == (3, "박기사")


def test_page_before_its_order_is_partial_and_fills_in_later() -> None:
    placed, activated = happened("order_placed", "activation_completed")
    early = fold([activated])
    assert (early.status, early.customer, early.placed_at, early.phone) == ("activated", None, None, None)
    assert early.items == []
    late = fold([activated, placed])
    assert (late.status, late.customer, late.placed_at) == ("activated", CUSTOMER, START)
    assert late.phone == "01012345678"


def test_refused_cancel_is_told() -> None:
    assert fold(happened(*CANCEL_LOST)).cancel_refused
    assert not fold(happened(*COMPLETED)).cancel_refused
    assert not fold(happened(*CANCELLED)).cancel_refused


def test_rejection_and_results_are_on_the_page() -> None:
    rejected = fold(happened(*REJECTED))
    assert rejected.rejection == {
        "reason_code": "no_duct", "text_ko": "관로 없음 또는 막힘", "text_en": "No duct, or the duct is blocked",
    }
    assert fold(happened(*COMPLETED)).results == RESULTS | {"up_mbps": None}


def test_timeline_tells_what_happened_when_without_personal_data() -> None:
    facts = [known for names in SAGAS.values() for known in happened(*names)]
    timeline = fold(facts).timeline
    assert [entry["at"] for entry in timeline] == sorted(entry["at"] for entry in timeline)
    told = json.dumps(timeline, ensure_ascii=False)
    for personal in ("김하늘", "박기사", "1234-5678", "sky@", "테헤란로", "1203호", "tech-1"):
        assert personal not in told


@pytest.mark.parametrize("names", [COMPLETED, CANCEL_LOST, REJECTED, CANCELLED, FALLOUT, COMPLETED[1:2]])
def test_page_has_the_shape_of_the_contract(names: tuple[str, ...]) -> None:
    page: Page = fold(happened(*names))
    answer = OrderPage.model_validate_json(json.dumps(page_answer(page)))
    assert answer.status == page.status
    assert len(answer.timeline) == len(names)


def test_every_event_has_a_rank_and_a_text_and_is_subscribed_to() -> None:
    known = {sign.partition("/")[0] for sign in RANKS}
    assert known == set(EVENTS) == set(SUBSCRIBES)
    assert set(RANKS) == set(TEXTS)
    assert {status for _, status in RANKS.values()} | {"accepted"} == STATUSES


@pytest.mark.parametrize("text", ["010-1234-5678", "01012345678", " 010 1234 5678 "])
def test_phone_is_found_in_any_spelling(text: str) -> None:
    assert phone_digits(text) == "01012345678"


@pytest.mark.parametrize("text", ["", "abc", "1", "0" * 12, "٠١٠١٢٣٤٥٦٧٨", None, 1012345678])
def test_what_is_no_phone_number_is_invalid_and_named(text: Any) -> None:
    with pytest.raises(Invalid) as caught:
        phone_digits(text)
    assert caught.value.fields[0]["field"] == "phone"


def test_envelope_stays_out_of_the_kept_payload() -> None:
    kept = happened("order_placed")[0].payload
    assert set(kept) == {"customer", "address", "items"}
    assert not set(kept) & set(Event.model_fields)


PATIENCE = {"placed": timedelta(minutes=10), "scheduled": timedelta(hours=4), "cancelling": timedelta(hours=1)}


@pytest.mark.parametrize(("history", "since", "late_after", "code"), [
    (["order_placed"], START, timedelta(minutes=10), "not_activated"),
    (["order_placed", "activation_failed"], START + timedelta(minutes=1), timedelta(0), "fallout"),
    (["order_placed", "visit_scheduled/1"], VISIT["window_end"], timedelta(hours=4), "no_result"),
    (["order_placed", "order_cancel_requested"], START + timedelta(minutes=1), timedelta(hours=1), "not_put_back"),
])
def test_an_order_that_waits_too_long_is_at_risk(
    history: list[str], since: datetime, late_after: timedelta, code: str
) -> None:
    page = fold(happened(*history))
    assert page.waiting_since == since
    assert risk(page.status, page.waiting_since, since + late_after, PATIENCE) == code
    assert risk(page.status, page.waiting_since, since + late_after - timedelta(seconds=1), PATIENCE) is None


def test_a_closed_order_waits_for_nothing() -> None:
    for closed in ("fieldwork_completed", "order_completed", "order_rejected", "order_cancelled"):
        page = fold(happened("order_placed", closed))
        assert page.waiting_since is None
        assert risk(page.status, page.waiting_since, START + timedelta(days=99), PATIENCE) is None
    assert set(RISKS) == set(OPEN)
    assert STATUSES - set(OPEN) == {"accepted", "completed", "rejected", "cancelled"}


def test_filters_are_read_as_people_write_them() -> None:
    read = filters(None, "010-1234 5678", " hfrn1234abcd", "ABCD-0123")
    assert (read.phone, read.ont_serial, read.order_end) == ("01012345678", "HFRN1234ABCD", "abcd0123")
    assert fold(happened("order_placed", "fieldwork_completed")).ont_serial == "HFRN1234ABCD"


@pytest.mark.parametrize(("field", "value"), [
    ("ont_serial", "HFRN"), ("ont_serial", "HFRN1234ABCG"), ("ont_serial", 7), ("ont_serial", ""),
    ("order_end", "abc"), ("order_end", "wxyz"), ("order_end", "a" * 33), ("order_end", "%%%%"), ("order_end", 7),
])
def test_a_filter_that_can_match_nothing_is_named(field: str, value: Any) -> None:
    with pytest.raises(Invalid) as refused:
        filters(**{"status": None, "phone": None, "ont_serial": None, "order_end": None, field: value})
    assert refused.value.fields[0]["field"] == field
