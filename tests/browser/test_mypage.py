"""MyPage in a browser: live, the visit chosen oneself, cancelling, and coming back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from gateway_svc.pages.formats import order_number
from tests.harness.browser_orders import fewest_can_come
from tests.harness.client import RESULTS, Client, Json, an_order
from tools.system import System
from tools.waiting import wait_until

PHONE = "010-4321-8765"
ON = {"ko": "실시간 연결됨", "en": "Live"}
LIVE_WITHIN_S = 1.5
"""From the answer to the technician to the changed page. The promise is a second; a busy machine gets a little more."""

NOTE_CHANGES = """() => {
  const now = () => document.getElementById("headline").dataset.stage;
  let last = now();
  window.seen = [];
  new MutationObserver(() => {
    if (now() !== last) window.seen.push({ stage: last = now(), at: Date.now() });
  }).observe(document.body, { childList: true, subtree: true });
}"""


def come_back(page: Page, order: Json) -> str:
    """Sign in to the order with its number and phone number, and wait until the page is live."""
    order_id = str(order["order_id"])
    page.goto("/my")
    page.locator("[name=number]").fill(order_number(order_id).lower().replace("-", " "))
    page.locator("[name=phone]").fill(PHONE.replace("-", ""))
    page.locator("form[action='/my'] button").click()
    page.wait_for_url(f"**/my/{order_id}")
    expect(page.locator("[data-live-state].on")).to_be_visible()
    return order_id


def stage(page: Page, name: str) -> Any:
    return page.locator(f"#headline[data-stage={name}]")


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_the_open_page_changes_within_a_second_of_the_technicians_work(
    new_page: Callable[..., Page], client: Client, a_scheduled_order: Callable[..., Json], axe: Callable[[Page], None],
    lang: str,
) -> None:
    page = new_page(lang, phone=True)

    def change_s() -> float:
        """From the technician's answer about a new order to its changed page."""
        order_id = come_back(page, a_scheduled_order(client, "kim", an_order(phone=PHONE)))
        expect(page.locator("[data-live-state]")).to_have_text(ON[lang])
        expect(page.locator("#visit")).to_contain_text("김도현")
        page.evaluate(NOTE_CHANGES)
        client.call("POST", f"/api/jobs/{order_id}/complete", as_="kim", json={"results": RESULTS})
        answered_at = time.time()
        expect(stage(page, "completed")).to_be_visible()
        (first, *_) = page.evaluate("window.seen")
        assert first["stage"] == "completed"
        return float(first["at"]) / 1000 - answered_at

    took_s = change_s()
    for _ in range(2):
        if took_s > LIVE_WITHIN_S:  # once or twice a busy machine is what is slow
            took_s = min(took_s, change_s())
    print(f"\nfrom the technician's answer to the changed page: {took_s * 1000:.0f} ms")
    assert took_s <= LIVE_WITHIN_S
    expect(page.locator("#results")).to_contain_text("480 Mbps")
    expect(page.locator("#announce")).to_have_text(page.locator("#headline").inner_text())
    axe(page)


def test_the_page_connects_again_after_the_gateway_was_away_and_shows_what_happened(
    new_page: Callable[..., Page], system: System, client: Client, a_scheduled_order: Callable[..., Json]
) -> None:
    page = new_page("ko", expected=[r"ERR_|events|Failed to load"])
    order_id = come_back(page, a_scheduled_order(client, "kim", an_order(phone=PHONE)))
    system.kill("gateway")
    expect(page.locator("[data-live-state]")).to_have_text("연결이 끊겼습니다. 다시 연결하는 중…")
    system.start("gateway")
    expect(page.locator("[data-live-state].on")).to_be_visible(timeout=60_000)
    client.call("POST", f"/api/jobs/{order_id}/complete", as_="kim", json={"results": RESULTS})
    expect(stage(page, "completed")).to_be_visible()


def test_an_open_page_whose_session_has_ended_leads_to_sign_in(
    new_page: Callable[..., Page], system: System, client: Client, a_scheduled_order: Callable[..., Json]
) -> None:
    page = new_page("en", expected=[r"ERR_|events|Failed to load|EventSource"])
    order_id = come_back(page, a_scheduled_order(client, "kim", an_order(phone=PHONE)))
    page.context.clear_cookies(name="oss_order")
    system.kill("gateway")
    system.start("gateway")
    page.wait_for_url("**/my?next=**", timeout=60_000)
    expect(page.locator("[name=number]")).to_have_value(order_number(order_id))


def test_nothing_is_asked_again_while_the_stream_stands(
    new_page: Callable[..., Page], client: Client, an_activated_order: Callable[..., Json]
) -> None:
    page = new_page("en")
    page.clock.install()
    answered: list[str] = []
    page.on("response", lambda response: answered.append(response.url))
    order_id = come_back(page, an_activated_order(client, an_order(phone=PHONE)))

    def looked_again() -> bool:
        page.evaluate("1")  # a round trip: what the browser told before it has been heard
        return sum(url.endswith(f"/my/{order_id}") for url in answered) >= 2

    wait_until(looked_again, "it has looked once more, as the stream stood")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for("30:00")
    page.evaluate("1")
    assert asked == []


def test_what_was_away_as_the_page_changed_is_asked_for_until_it_is_there(
    new_page: Callable[..., Page], system: System, client: Client, an_activated_order: Callable[..., Json]
) -> None:
    page = new_page("en")
    order_id = come_back(page, an_activated_order(client, an_order(phone=PHONE)))
    told = page.locator("#headline").inner_text()
    system.stop("mypage")
    try:
        # The page is fetched anew for this, and MyPage, which is away, will have nothing to tell of it later on.
        client.call("POST", f"/api/visits/{order_id}/claim", as_="dispatcher")
        expect(stage(page, "received")).to_be_visible()
        expect(page.locator("[data-missing]")).to_be_visible()
    finally:
        system.start("mypage")
    expect(page.locator("#headline")).to_have_text(told, timeout=60_000)
    expect(page.locator("[data-missing]")).to_have_count(0)


@pytest.mark.parametrize("javascript", [True, False])
def test_a_subscriber_who_missed_the_call_chooses_the_time_and_moves_it(
    new_page: Callable[..., Page], client: Client, an_activated_order: Callable[..., Json], axe: Callable[[Page], None],
    javascript: bool,
) -> None:
    page = new_page("ko", phone=True, javascript=javascript)
    order_id = str(an_activated_order(client, an_order(phone=PHONE))["order_id"])
    client.call("POST", f"/api/visits/{order_id}/calls", as_="dispatcher", json={"outcome": "no_answer"})
    page.goto("/my")
    page.locator("[name=number]").fill(order_id)
    page.locator("[name=phone]").fill(PHONE)
    page.locator("form[action='/my'] button").click()
    expect(stage(page, "call-missed")).to_be_visible()
    shown: list[str] = []
    for which in (1, 2):
        page.locator("a[href$='/visit']").click()
        expect(page.locator("form.windows button.primary")).to_be_visible()
        if javascript:
            axe(page)
        page.locator("details.day").nth(which).locator("summary").click()
        choice = page.locator("details.day").nth(which).locator("label.choice").first
        chosen = choice.locator("input").get_attribute("value") or ""
        choice.click()
        page.locator("form.windows button.primary").click()
        page.wait_for_url("**/my/*notice=*")
        expect(page.locator("#notice")).to_have_text("방문 시간을 정했습니다.")
        expect(page.locator("#visit time")).to_have_attribute("datetime", chosen.partition("/")[0])
        shown.append(chosen)
    assert len(set(shown)) == 2
    wait_until(lambda: client.order(order_id)["visit"]["window_start"] == shown[1].partition("/")[0], "it was moved")


def test_a_window_taken_meanwhile_is_told_and_fresh_ones_are_shown(
    new_page: Callable[..., Page], client: Client, an_activated_order: Callable[..., Json]
) -> None:
    page = new_page("en")
    order_id = come_back(page, an_activated_order(client, an_order(phone=PHONE)))
    page.locator("a[href$='/visit']").click()
    free = client.call("GET", f"/api/visits/{order_id}/windows", as_="dispatcher")["items"]
    wanted = fewest_can_come(free)
    for technician in wanted["technicians"]:
        other = an_activated_order(client)["order_id"]
        body = {name: wanted[name] for name in ("window_start", "window_end")} | {"technician_id": technician["id"]}
        client.call("PUT", f"/api/visits/{other}/appointment", as_="dispatcher", json=body)
    taken = page.locator(f"[value='{wanted['window_start']}/{wanted['window_end']}']")
    taken.evaluate("(radio) => { radio.closest('details').open = true; radio.checked = true; }")
    page.locator("form.windows button.primary").click()
    expect(page.locator("#errors")).to_contain_text("Somebody else has just taken that time")
    expect(page.locator("#errors")).to_be_focused()
    expect(taken).to_have_count(0)
    page.locator("details.day[open] label.choice").first.click()
    page.locator("form.windows button.primary").click()
    expect(page.locator("#notice")).to_have_text("The time of the visit is agreed.")


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_cancelling_says_what_it_means_and_the_page_follows_it_to_the_end(
    new_page: Callable[..., Page], client: Client, a_scheduled_order: Callable[..., Json], axe: Callable[[Page], None],
    lang: str,
) -> None:
    page = new_page(lang, phone=True)
    order_id = come_back(page, a_scheduled_order(client, "kim", an_order(phone=PHONE)))
    page.locator("a[href$='/cancel']").click()
    expect(page.locator("section.card")).to_contain_text("방문이 취소되고" if lang == "ko" else "is called off")
    axe(page)
    page.locator("[name=reason]").fill("이사를 갑니다")
    page.locator("form[action$='/cancel'] button").click()
    expect(stage(page, "cancelled")).to_be_visible()
    expect(page.locator("a[href$='/cancel']")).to_have_count(0)
    assert client.order(order_id)["status"] == "cancelled"


def test_a_cancel_that_lost_against_the_technician_is_told(
    new_page: Callable[..., Page], client: Client, a_scheduled_order: Callable[..., Json]
) -> None:
    page = new_page("ko")
    order_id = come_back(page, a_scheduled_order(client, "kim", an_order(phone=PHONE)))
    page.locator("a[href$='/cancel']").click()
    client.call("POST", f"/api/jobs/{order_id}/complete", as_="kim", json={"results": RESULTS})
    client.wait_for_status(order_id, "completed")
    wait_until(lambda: "order_completed" in {e["event"] for e in client.order(order_id)["timeline"]}, "it is closed")
    page.locator("form[action$='/cancel'] button").click()
    expect(page.locator("#errors")).to_contain_text("설치가 이미 끝나 취소할 수 없습니다")


def test_why_it_could_not_be_installed_is_told_in_plain_words(
    new_page: Callable[..., Page], client: Client, a_scheduled_order: Callable[..., Json]
) -> None:
    page = new_page("en")
    order_id = come_back(page, a_scheduled_order(client, "kim", an_order(phone=PHONE)))
    client.call("POST", f"/api/jobs/{order_id}/reject", as_="kim", json={"reason_code": "no_duct", "note": "내부 메모"})
    expect(stage(page, "rejected")).to_be_visible()
    expect(page.locator("#results")).to_contain_text("There is no duct")
    assert "내부 메모" not in page.content()


def test_signing_out_and_in_again_and_a_wrong_number(
    new_page: Callable[..., Page], client: Client, an_activated_order: Callable[..., Json], axe: Callable[[Page], None]
) -> None:
    page = new_page("ko", phone=True)
    order_id = come_back(page, an_activated_order(client, an_order(phone=PHONE)))
    page.locator("form[action$='/signout'] button").click()
    expect(page.locator("#notice")).to_have_text("로그아웃했습니다.")
    page.goto(f"/my/{order_id}/visit")
    expect(page.locator("[name=number]")).to_have_value(order_number(order_id))
    axe(page)
    page.locator("[name=phone]").fill("010-0000-0000")
    page.locator("form[action='/my'] button").click()
    expect(page.locator("#errors")).to_contain_text("맞는 주문이 없습니다")
    axe(page)
    page.locator("[name=phone]").fill(PHONE)
    page.locator("form[action='/my'] button").click()
    page.wait_for_url(f"**/my/{order_id}/visit")


def test_a_stranger_is_not_shown_somebodys_order(
    new_page: Callable[..., Page], client: Client, an_activated_order: Callable[..., Json]
) -> None:
    mine = new_page("en")
    order_id = come_back(mine, an_activated_order(client, an_order(phone=PHONE)))
    stranger = new_page("en")
    stranger.goto(f"/my/{order_id}")
    expect(stranger.locator("[name=phone]")).to_be_visible()
    other = an_activated_order(client, an_order(phone=PHONE))["order_id"]
    mine.goto(f"/my/{other}")
    expect(mine.locator("[name=phone]")).to_be_visible()
