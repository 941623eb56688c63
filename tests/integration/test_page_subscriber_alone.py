"""Sign-up and MyPage with nothing behind the gateway: nothing typed is lost, no order is lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import requests
from eventlet import GreenPool

from contracts.ids import new_id
from gateway_svc.journal import Entry, Journal, Mark
from gateway_svc.pages.formats import order_number
from tests.harness.lonely import LonelyGateway
from tests.harness.pages import Visitor
from tests.harness.subscriber import (
    PHONE,
    a_form,
    a_phone,
    come_back,
    key_of,
    order_of,
    sign_up,
    stage_of,
    value_of,
)


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LonelyGateway]:
    gateway = LonelyGateway(tmp_path_factory.mktemp("lonely"))
    gateway.start()
    yield gateway
    gateway.process.stop()


@pytest.fixture
def visitor(lonely: LonelyGateway) -> Visitor:
    return Visitor(lonely.url)


def entries(gateway: LonelyGateway) -> list[Entry]:
    journal = Journal(gateway.journal_path)
    try:
        return journal.pending(1000)
    finally:
        journal.close()


def orders_of(gateway: LonelyGateway, phone: str) -> list[Entry]:
    return [entry for entry in entries(gateway) if entry.kind == "order" and entry.body["customer"]["phone"] == phone]


def test_an_order_is_taken_and_its_page_says_that_it_waits(lonely: LonelyGateway, visitor: Visitor) -> None:
    answer = sign_up(visitor)
    order_id = order_of(answer)
    assert stage_of(answer.text) == "accepted" and order_number(order_id) in answer.text
    assert UUID(order_id) in {entry.order_id for entry in entries(lonely)}
    assert "oss_order" not in visitor.get("/signup").request.headers.get("Cookie", ""), "only its order gets it"


@pytest.mark.parametrize("language", ["ko", "en"])
def test_faults_stand_beside_their_fields_and_nothing_typed_is_lost(lonely: LonelyGateway, language: str) -> None:
    visitor = Visitor(lonely.url, language)
    answer = sign_up(visitor, customer__phone="12345", address__postcode="", customer__name='"><b>김</b>')
    assert answer.status_code == 422
    assert 'id="customer-phone-error"' in answer.text and 'id="address-postcode-error"' in answer.text
    assert 'id="customer-name-error"' not in answer.text
    assert value_of(answer.text, "customer.phone") == "12345"
    assert value_of(answer.text, "customer.name") == '"><b>김</b>'
    assert value_of(answer.text, "address.line2") == "101동 1203호"
    assert 'value="internet-500"' in answer.text.split(" checked")[0].rsplit("<input", 1)[1]


def test_a_corrected_form_is_taken_and_is_one_order(lonely: LonelyGateway, visitor: Visitor) -> None:
    phone = a_phone()
    wrong = sign_up(visitor, customer__phone=phone, address__postcode="1")
    first = order_of(sign_up(visitor, wrong.text, customer__phone=phone))
    assert order_of(sign_up(visitor, wrong.text, customer__phone=phone)) == first
    assert len(orders_of(lonely, phone)) == 1


def test_a_form_that_is_sent_many_times_at_once_is_one_order(lonely: LonelyGateway, visitor: Visitor) -> None:
    phone = a_phone()
    form = visitor.get("/signup").text
    ids = set(GreenPool(10).imap(lambda _: order_of(sign_up(visitor, form, customer__phone=phone)), range(10)))
    assert len(ids) == len(orders_of(lonely, phone)) == 1


def test_a_form_changed_after_it_was_taken_leads_to_the_order_and_says_so(
    lonely: LonelyGateway, visitor: Visitor
) -> None:
    phone = a_phone()
    form = visitor.get("/signup").text
    first = sign_up(visitor, form, customer__phone=phone)
    again = sign_up(visitor, form, customer__phone=phone, internet="internet-1000")
    assert order_of(again) == order_of(first)
    assert "not taken over" in again.text
    (entry,) = orders_of(lonely, phone)
    assert entry.body["items"][0]["product"] == "internet-500"


def test_the_key_of_another_browser_or_of_an_api_client_leads_to_nobodys_order(
    lonely: LonelyGateway, visitor: Visitor
) -> None:
    form = visitor.get("/signup").text
    theirs = order_of(sign_up(visitor, form))
    by_api = lonely.client.place(key=key_of(form))["order_id"]
    stranger = Visitor(lonely.url)
    answer = stranger.post("/signup", {"key": key_of(form), **a_form()})
    assert len({order_of(answer), theirs, by_api}) == 3


def test_a_form_that_has_gone_stale_keeps_what_was_typed(lonely: LonelyGateway, visitor: Visitor) -> None:
    phone = a_phone()
    stale = visitor.get("/signup").text
    visitor.http.cookies.clear()
    answer = sign_up(visitor, stale, customer__phone=phone)
    assert answer.status_code == 403 and value_of(answer.text, "customer.phone") == phone
    assert orders_of(lonely, phone) == []
    order_of(sign_up(visitor, answer.text, customer__phone=phone))
    foreign = requests.post(f"{lonely.url}/signup", data=a_form(customer__phone=phone), timeout=30,
                            headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403 and phone not in foreign.text
    assert len(orders_of(lonely, phone)) == 1


def test_a_full_journal_and_too_many_orders_are_said_and_keep_the_form(tmp_path: Path) -> None:
    gateway = LonelyGateway(tmp_path, JOURNAL_MAX_PENDING="1", ORDER_RATE_PER_S="0.001", ORDER_RATE_BURST="2")
    gateway.start()
    try:
        visitor = Visitor(gateway.url)
        order_of(sign_up(visitor))
        form = visitor.get("/signup").text
        for status in (503, 429):
            answer = sign_up(visitor, form, customer__name="이서준")
            assert answer.status_code == status and int(answer.headers["Retry-After"]) >= 1
            assert value_of(answer.text, "customer.name") == "이서준" and key_of(answer.text) == key_of(form)
            assert 'role="alert"' in answer.text
    finally:
        gateway.process.stop()


def test_the_order_and_its_form_outlive_the_death_of_the_gateway(lonely: LonelyGateway, visitor: Visitor) -> None:
    form = visitor.get("/signup").text
    order_id = order_of(sign_up(visitor, form))
    lonely.process.kill()
    lonely.start()
    assert stage_of(visitor.get(f"/my/{order_id}").text) == "accepted"
    assert order_of(sign_up(visitor, form)) == order_id


def test_a_cancel_is_written_down_and_said(lonely: LonelyGateway, visitor: Visitor) -> None:
    order_id = order_of(sign_up(visitor))
    asked = visitor.get(f"/my/{order_id}/cancel").text
    assert "Nothing has started yet" in asked
    answer = visitor.post(f"/my/{order_id}/cancel", {"reason": "이사"}, seen=asked)
    assert stage_of(answer.text) == "cancel-waits" and "/cancel" not in answer.text
    again = visitor.get(f"/my/{order_id}/cancel")
    assert "being cancelled already" in again.text
    (entry,) = [entry for entry in entries(lonely) if entry.kind == "cancel" and str(entry.order_id) == order_id]
    assert entry.body == {"reason": "이사", "requested_by": f"subscriber:{order_id}"}


def test_a_cancel_does_not_fail_for_its_words_and_poisons_no_journal(lonely: LonelyGateway, visitor: Visitor) -> None:
    order_id = order_of(sign_up(visitor))
    visitor.post(f"/my/{order_id}/cancel", {"reason": "이사\0\x07 갑니다 " + "x" * 600})
    (entry,) = [entry for entry in entries(lonely) if entry.kind == "cancel" and str(entry.order_id) == order_id]
    assert entry.body["reason"] == ("이사 갑니다 " + "x" * 600)[:400]


def test_the_calendar_being_away_is_said(lonely: LonelyGateway, visitor: Visitor) -> None:
    order_id = order_of(sign_up(visitor))
    shown = visitor.get(f"/my/{order_id}/visit")
    assert shown.status_code == 503 and "calendar does not answer" in shown.text
    window = "2026-11-26T00:00:00Z/2026-11-26T02:00:00Z"
    answer = visitor.post(f"/my/{order_id}/visit", {"window": window}, seen=shown.text)
    assert answer.status_code == 503 and "do not know yet" in answer.text


def test_who_comes_back_finds_the_order_in_the_journal(lonely: LonelyGateway, visitor: Visitor) -> None:
    phone = a_phone()
    order_id = order_of(sign_up(visitor, customer__phone=phone))
    out = visitor.post(f"/my/{order_id}/signout", {}, seen=visitor.get(f"/my/{order_id}").text)
    assert out.url.startswith(f"{lonely.url}/my?")
    shut = visitor.get(f"/my/{order_id}/visit")
    assert shut.url == f"{lonely.url}/my?next=/my/{order_id}/visit"
    assert value_of(shut.text, "number") == order_number(order_id), "the number is filled in for who followed a link"

    spelled = order_number(order_id).lower().replace("-", " ")
    wanted = {"number": spelled, "phone": f"+82 {phone[1:]}", "next": f"/my/{order_id}/visit"}
    assert visitor.post("/my", wanted, allow_redirects=False).headers["Location"] == f"/my/{order_id}/visit"
    elsewhere = wanted | {"number": order_id, "next": "//other.invalid/"}
    assert order_of(visitor.post("/my", elsewhere)) == order_id


def test_an_unknown_number_and_a_wrong_phone_get_the_same_answer_and_then_none(lonely: LonelyGateway) -> None:
    visitor = Visitor(lonely.url)
    order_id = order_of(sign_up(visitor))
    answers = {}
    for name, number in (("known", order_id), ("unknown", str(new_id()))):
        thief = Visitor(lonely.url)
        tries = [come_back(thief, number, "010-0000-0000") for _ in range(6)]
        answers[name] = [answer.status_code for answer in tries]
        assert "Your order is safe" in tries[0].text and "Retry-After" in tries[-1].headers
        assert value_of(tries[0].text, "phone") == "010-0000-0000"
    assert answers["known"] == answers["unknown"] == [503] * 5 + [429], "mypage is away, so nobody can be told: wrong"
    assert come_back(Visitor(lonely.url), order_id, PHONE).status_code == 429, "also with the right phone number"


def test_nobody_sees_the_order_of_another(lonely: LonelyGateway, visitor: Visitor) -> None:
    mine, theirs = order_of(sign_up(visitor)), order_of(sign_up(Visitor(lonely.url)))
    assert visitor.get(f"/my/{theirs}").url.startswith(f"{lonely.url}/my?next=")
    stolen = next(cookie for cookie in visitor.http.cookies if cookie.name == "oss_order")
    carried = {"Cookie": f"oss_order={stolen.value}"}
    for path in ("", "/events", "/visit", "/cancel"):
        answer = requests.get(f"{lonely.url}/my/{theirs}{path}", headers=carried, timeout=30)
        assert answer.status_code == 403 and "김하늘" not in answer.text
    assert visitor.get(f"/my/{mine}").status_code == 200


def test_an_order_that_stands_under_another_id_leads_there(lonely: LonelyGateway, visitor: Visitor) -> None:
    first, standing = order_of(sign_up(visitor)), new_id()
    lonely.process.stop()
    journal = Journal(lonely.journal_path)
    entry = journal.order(UUID(first))
    assert entry is not None
    journal.mark([Mark(entry.entry_id, "forwarded", 201, stands_as=standing)])
    journal.close()
    lonely.start()
    answer = visitor.get(f"/my/{first}")
    assert answer.url == f"{lonely.url}/my/{standing}", "and whoever owns the one is let in to the other"
    assert answer.status_code == 503 and stage_of(answer.text) == "unknown"
