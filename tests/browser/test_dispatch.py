"""The dispatcher's day: whom to call, the customer on the phone, a visit fixed or the next try planned."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from gateway_svc.pages.texts import Language, texts
from tests.browser.dispatch_desk import MASKED, PHONE, a_desk, order_id
from tests.harness.browser import put_out_of_sight
from tests.harness.client import Client, Json

__all__ = ["a_desk", "order_id"]

SEOUL = ZoneInfo("Asia/Seoul")

both_languages = pytest.mark.parametrize("lang", ["ko", "en"])


def focused(page: Page) -> str:
    """The id of what has the focus."""
    return str(page.evaluate("document.activeElement.id"))


def press_until(page: Page, key: str, wanted: str, most: int = 60) -> None:
    """Press `key` until the element with that id has the focus."""
    for _ in range(most):
        page.keyboard.press(key)
        if focused(page) == wanted:
            return
    raise AssertionError(f"{key} never led to {wanted}")


def visit_of(client: Client, order_id: str) -> Json:
    """The visit as MyPage shows it, once the order says that it is scheduled."""
    found: Json = client.wait_for_status(order_id, "scheduled")["visit"]
    return found


@both_languages
def test_a_call_ends_with_a_visit_by_mouse(
    a_desk: Callable[..., Page], client: Client, order_id: str, lang: Language
) -> None:
    text, page = texts(lang), a_desk(lang)
    row = page.locator(f"li:has(#visit-{order_id})")
    expect(row).to_contain_text(MASKED)
    expect(row).to_contain_text(text("dispatch-why-new"))
    assert PHONE not in page.content()
    page.locator(f"#claim-{order_id}").click()
    expect(page.get_by_role("link", name=PHONE)).to_be_visible()
    expect(page.locator("#panel")).to_contain_text("101동 1203호")
    page.locator("#note").fill("공동현관 1234")
    page.locator(".dispatch-slot").nth(1).click()
    expect(page.locator("#fix")).to_be_focused()
    expect(page.locator("#note")).to_have_value("공동현관 1234")
    expect(page.locator(".dispatch-pick .choice").first).to_contain_text(text("dispatch-best"))
    page.locator("#fix").click()
    visit = visit_of(client, order_id)
    expect(page.locator("#dispatch-result")).to_contain_text(visit["technician_name"])
    expect(page.locator(f"#visit-{order_id}")).to_have_count(0)
    assert PHONE not in page.content()
    page.goto(f"/dispatch?order={order_id}")
    page.locator(f"#attempts-{order_id}").click()
    expect(page.locator("#panel")).to_contain_text("공동현관 1234")
    expect(page.locator("#panel")).to_contain_text(text("dispatch-outcome-agreed"))


@both_languages
def test_a_call_ends_with_a_visit_by_keyboard_alone(
    a_desk: Callable[..., Page], client: Client, order_id: str, lang: Language
) -> None:
    page = a_desk(lang)
    press_until(page, "j", f"visit-{order_id}")
    page.keyboard.press("c")
    expect(page.get_by_role("link", name=PHONE)).to_be_visible()
    page.keyboard.press("m")
    page.keyboard.type("njcw? 는 글자입니다")
    expect(page.locator("#note")).to_have_value("njcw? 는 글자입니다")
    page.keyboard.press("Escape")
    page.keyboard.press("w")
    before = focused(page)
    page.keyboard.press("ArrowDown")
    assert focused(page).startswith("slot-") and focused(page) != before
    page.keyboard.press("Enter")
    expect(page.locator("#fix")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#dispatch-result")).to_contain_text(visit_of(client, order_id)["technician_name"])
    expect(page.locator("#next")).to_be_focused()


def test_a_missed_call_says_when_the_next_try_is_and_next_is_one_key_away(
    a_desk: Callable[..., Page], order_id: str
) -> None:
    page = a_desk("ko")
    page.goto(f"/dispatch?order={order_id}")
    page.keyboard.press("c")
    expect(page.locator("#call")).to_be_visible()
    page.keyboard.press("x")
    expect(page.locator("#no-answer")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#dispatch-result")).to_contain_text(re.compile(r"부재 1회. 다음 전화: .*(오전|오후)"))
    row = page.locator(f"li:has(#visit-{order_id})")
    expect(row).to_contain_text(texts("ko")("dispatch-missed", count=1))
    expect(row).to_contain_text(texts("ko")("dispatch-risk-medium"))


def test_next_hands_out_a_customer_with_the_number_and_release_gives_them_back(
    a_desk: Callable[..., Page], order_id: str
) -> None:
    page = a_desk("en")
    page.keyboard.press("n")
    expect(page.locator("#call")).to_be_visible()
    expect(page.locator(".dispatch-phone a")).to_have_attribute("href", re.compile(r"^tel:0\d+-\d+-\d{4}$"))
    page.wait_for_url(re.compile(r"order=[0-9a-f-]+"))
    claimed = re.search(r"order=([0-9a-f-]+)", page.url)
    assert claimed is not None
    page.get_by_role("button", name=texts("en")("dispatch-release")).click()
    expect(page.locator("#notice")).to_have_text(texts("en")("notice-dispatch-released"))
    expect(page.locator(f"#claim-{claimed[1]}")).to_be_visible()


@both_languages
def test_a_time_that_is_over_is_refused_beside_its_field_and_the_note_is_kept(
    a_desk: Callable[..., Page], order_id: str, lang: Language
) -> None:
    text, page = texts(lang), a_desk(lang)
    page.goto(f"/dispatch?order={order_id}")
    page.locator("#claim").click()
    page.locator("#note").fill("저녁에 다시")
    page.locator("#call_back_at").fill("2020-01-01T10:00")
    page.locator("#call_back_at").press("Enter")
    expect(page.locator("#call_back_at-error")).to_have_text(text("dispatch-error-call-back"))
    expect(page.locator("#errors")).to_be_focused()
    expect(page.locator("#note")).to_have_value("저녁에 다시")
    later = datetime.now(SEOUL) + timedelta(hours=5)
    page.locator("#call_back_at").fill(later.strftime("%Y-%m-%dT%H:%M"))
    page.locator("#call-back").click()
    expect(page.locator("#dispatch-result")).to_be_visible()
    expect(page.locator(f"li:has(#visit-{order_id})")).to_contain_text(text("dispatch-why-call_back_promised"))


def test_a_refusal_is_asked_about_and_marks_the_visit(a_desk: Callable[..., Page], order_id: str) -> None:
    page = a_desk("ko")
    page.goto(f"/dispatch?order={order_id}")
    page.locator("#claim").click()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    page.locator("#call [value=refused]").click()
    expect(page.locator("#dispatch-result")).to_contain_text("거절")
    assert len(asked) == 1
    expect(page.locator(f"li:has(#visit-{order_id})")).to_contain_text(texts("ko")("dispatch-flagged"))


@both_languages
def test_two_dispatchers_never_call_one_customer_and_see_each_other_live(
    a_desk: Callable[..., Page], order_id: str, lang: Language
) -> None:
    text = texts(lang)
    anna, bea = a_desk(lang, "dispatcher"), a_desk(lang, "dispatcher2")
    late = a_desk(lang, "dispatcher2", javascript=False)
    for page in (bea, late):
        page.goto(f"/dispatch?order={order_id}")
    expect(bea.locator("[data-live-state]")).to_have_text(text("live-on"))
    bea.evaluate("window.stillHere = true")
    anna.locator(f"#claim-{order_id}").click()
    expect(anna.locator("#call")).to_be_visible()
    # Live: without a reload, the number stays hidden, the button is gone, and it says who is calling.
    expect(bea.locator(f"li:has(#visit-{order_id})")).to_contain_text(text("dispatch-held-by", by="dispatcher"))
    expect(bea.locator("#panel")).to_contain_text("dispatcher")
    expect(bea.locator("#claim")).to_have_count(0)
    assert PHONE not in bea.content()
    # Too late, from a page that does not know it yet.
    late.locator("#claim").click()
    expect(late.locator("#errors")).to_contain_text("dispatcher")
    assert PHONE not in late.content()
    anna.locator(".dispatch-slot").first.click()
    anna.locator("#fix").click()
    expect(bea.locator(f"#visit-{order_id}")).to_have_count(0)
    expect(bea.locator("#panel")).to_contain_text(text("dispatch-state-scheduled"))
    assert bea.evaluate("window.stillHere") is True


def test_an_open_panel_keeps_its_claim_and_says_so_when_it_is_lost(
    a_desk: Callable[..., Page], client: Client, order_id: str
) -> None:
    page = a_desk("ko")
    page.clock.install()
    page.goto(f"/dispatch?order={order_id}")
    page.locator("#claim").click()
    expect(page.locator("#call")).to_be_visible()
    with page.expect_response(f"**/dispatch/visits/{order_id}/renew") as renewed:
        page.clock.fast_forward(60_000)
    assert renewed.value.status == 204
    # Let go behind the page's back, and taken by somebody else: the next renewal is refused, and the page shows it.
    for method, who in (("DELETE", "dispatcher"), ("POST", "dispatcher2")):
        client.call(method, f"/api/visits/{order_id}/claim", as_=who)
    expect(page.locator("#call")).to_have_count(0)
    expect(page.locator("#panel .notice")).to_contain_text("dispatcher2")
    client.call("DELETE", f"/api/visits/{order_id}/claim", as_="dispatcher2")


def test_a_panel_in_a_tab_out_of_sight_keeps_its_claim(a_desk: Callable[..., Page], order_id: str) -> None:
    page = a_desk("ko")
    page.clock.install()
    page.goto(f"/dispatch?order={order_id}")
    page.locator("#claim").click()
    expect(page.locator("#call")).to_be_visible()
    put_out_of_sight(page)
    with page.expect_response(f"**/dispatch/visits/{order_id}/renew") as renewed:
        page.clock.fast_forward(60_000)
    assert renewed.value.status == 204


@both_languages
def test_the_main_task_needs_no_javascript(
    a_desk: Callable[..., Page], client: Client, order_id: str, lang: Language
) -> None:
    page = a_desk(lang, javascript=False)
    page.locator(f"#claim-{order_id}").click()
    expect(page.get_by_role("link", name=PHONE)).to_be_visible()
    page.locator(".dispatch-slot").first.click()
    page.locator("#note").fill("벨을 눌러 주세요")
    page.locator("#fix").click()
    expect(page.locator("#dispatch-result")).to_contain_text(visit_of(client, order_id)["technician_name"])


@both_languages
def test_the_keys_are_listed_and_can_be_switched_off(
    a_desk: Callable[..., Page], axe: Callable[[Page], None], order_id: str, lang: Language
) -> None:
    page = a_desk(lang)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name=texts(lang)("dispatch-keys-title"))
    expect(dialog).to_be_visible()
    axe(page)
    page.locator("#keys-on").uncheck()
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    page.reload()
    page.keyboard.press("j")
    assert not focused(page).startswith("visit-")
    page.keyboard.press("?")
    expect(dialog).not_to_be_visible()


@both_languages
def test_the_desk_is_accessible_during_a_call(
    a_desk: Callable[..., Page], axe: Callable[[Page], None], order_id: str, lang: Language
) -> None:
    page = a_desk(lang)
    axe(page)
    page.goto(f"/dispatch?order={order_id}")
    page.locator(".dispatch-slot").first.click()
    expect(page.locator(".dispatch-pick")).to_contain_text(texts(lang)("dispatch-claim-first"))
    axe(page)
    page.locator("#claim").click()
    expect(page.locator("#fix")).to_be_visible()
    axe(page)
    page.locator("#call_back_at").fill("2020-01-01T10:00")
    page.locator("#call-back").click()
    expect(page.locator("#errors")).to_be_visible()
    axe(page)
