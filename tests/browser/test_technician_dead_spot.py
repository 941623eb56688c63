"""Promises of the technician's phone in a dead spot: what is entered is kept, sent once when there is signal, and what
is refused then is told with the reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.technician_phone import (
    NO_SIGNAL,
    WAITS_MS,
    Phone,
    PhoneOf,
    a_large_picture,
    a_phone,
    happened,
    job_of,
    move,
)  # fmt: skip
from tests.harness.browser import look_at, put_out_of_sight
from tests.harness.browser_orders import day_of
from tests.harness.client import Client, Json
from tools.browser import Lang
from tools.waiting import wait_until

__all__ = ["a_phone"]

WORDS: dict[Lang, dict[str, str]] = {
    "ko": {"kept": "이 휴대전화에 보관된 기록", "moved": "다른 기사님에게 넘어갔습니다"},
    "en": {"kept": "Kept on this phone", "moved": "another technician"},
}

Scheduled = Callable[..., Json]


def is_listed(client: Client, order: Json) -> bool:
    """Whether the technician of the order's visit has the job."""
    who = order["visit"]["technician_id"].removeprefix("tech-")
    jobs = client.call("GET", f"/api/jobs?date={day_of(order)}&limit=200", as_=who)["items"]
    return order["order_id"] in [job["order_id"] for job in jobs]


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_results_are_kept_survive_the_phone_and_are_sent_once(
    lang: Lang, client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled, axe: Callable[[Page], None]
) -> None:
    order = a_scheduled_order(client)
    order_id = order["order_id"]
    phone = a_phone(lang, expected=NO_SIGNAL)
    phone.enter_dead_spot(order)
    phone.start()
    phone.fill()
    phone.send_results()
    phone.shows_kept(2)
    expect(phone.page.locator("form[data-entry=complete]")).to_be_hidden()
    assert job_of(client, order)["state"] == "assigned"

    # The page is closed and opened again, still without signal.
    context = phone.page.context
    phone.page.close()
    phone = Phone(context.new_page())
    phone.open_job(order_id)
    phone.shows_kept(2)
    expect(phone.page.get_by_role("heading", name=WORDS[lang]["kept"])).to_be_visible()
    expect(phone.page.locator("[data-signal]")).to_be_visible(timeout=WAITS_MS)
    axe(phone.page)
    phone.open_day(order)
    expect(phone.page.locator(f"#jobs [data-order='{order_id}'] [data-kept-badge]")).to_be_visible()

    phone.regain_signal()
    phone.shows_kept(0)
    expect(phone.page.locator(f"#jobs .completed[data-order='{order_id}']")).to_be_visible(timeout=WAITS_MS)
    client.wait_for_status(order_id, "completed")
    assert happened(client, order_id, "fieldwork_completed") == 1
    assert job_of(client, order)["results"]["rx_power_dbm"] == -19.5


def test_what_the_server_did_without_the_phone_hearing_of_it_is_done_once(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(expected=NO_SIGNAL)
    phone.open_job(order["order_id"])
    phone.start()
    phone.shows_kept(0)
    lost = []

    def lose_the_answer(route: Route) -> None:
        lost.append(route.fetch().status)
        route.abort()

    phone.page.route("**/complete", lose_the_answer, times=2)
    phone.fill()
    phone.send_results()
    phone.shows_state("completed")
    phone.shows_kept(0)
    assert lost == [200, 200]
    client.wait_for_status(order["order_id"], "completed")
    assert happened(client, order["order_id"], "fieldwork_completed") == 1


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_a_result_for_a_job_that_moved_is_told_with_the_reason_and_stays(
    lang: Lang, client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled, axe: Callable[[Page], None]
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(lang, expected=NO_SIGNAL)
    phone.enter_dead_spot(order)
    phone.start()
    phone.reject("no_duct")
    phone.shows_kept(2)
    move(client, order, "jung")
    moved = client.wait_for_page(order["order_id"], lambda page: page["visit"]["technician_id"] == "tech-jung", "moved")
    wait_until(lambda: is_listed(client, moved), "field work has heard of it")

    phone.regain_signal()
    refused = phone.page.locator("#kept [data-refused]:visible")
    expect(refused).to_have_count(2, timeout=WAITS_MS)
    expect(refused.first).to_contain_text(WORDS[lang]["moved"])
    phone.page.goto("/tech")
    expect(refused).to_have_count(2)
    axe(phone.page)
    assert job_of(client, moved)["state"] == "assigned"
    refused.first.get_by_role("button").click()
    phone.shows_kept(1)


def test_a_result_after_the_customer_cancelled_is_told_with_the_reason(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(expected=NO_SIGNAL)
    phone.enter_dead_spot(order)
    phone.start()
    phone.fill()
    phone.send_results()
    client.cancel(order["order_id"])
    client.wait_for_status(order["order_id"], "cancelled")
    phone.regain_signal()
    refused = phone.page.locator("#kept [data-refused]:visible")
    expect(refused).to_have_count(2, timeout=WAITS_MS)
    expect(refused.last).to_contain_text("고객이 주문을 취소")
    phone.shows_state("cancelled")
    assert happened(client, order["order_id"], "fieldwork_completed") == 0


def test_a_photo_taken_in_a_dead_spot_is_sent_later(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(expected=NO_SIGNAL)
    phone.enter_dead_spot(order)
    file = {"name": "a.png", "mimeType": "image/png", "buffer": a_large_picture(400, 300)}
    phone.page.locator("#photo").set_input_files(files=[file])
    phone.shows_kept(1)
    phone.regain_signal()
    phone.shows_kept(0)
    assert job_of(client, order)["photos"] == 1


def test_when_the_session_is_over_the_entry_stays_and_is_sent_after_signing_in(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled, sign_in: Callable[[Page, str], None]
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(expected=NO_SIGNAL)
    phone.open_job(order["order_id"])
    expect(phone.page.locator(".live.on")).to_be_attached(timeout=WAITS_MS)
    phone.page.context.clear_cookies(name="oss_staff")
    phone.page.locator("form[data-entry=start] button").click()
    expect(phone.page.locator("#kept [data-when=signed-out]")).to_be_visible(timeout=WAITS_MS)
    phone.shows_kept(1)
    phone.page.locator("#kept [data-when=signed-out] a").click()
    sign_in(phone.page, "kim")
    wait_until(lambda: job_of(client, order)["state"] == "started", "the entry is sent after signing in")
    phone.shows_kept(0)


def test_signing_out_leaves_no_copy_of_a_page_and_no_entry_is_sent_as_somebody_else(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled, sign_in: Callable[[Page, str], None]
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(expected=NO_SIGNAL)
    page = phone.page
    phone.enter_dead_spot(order)
    phone.start()
    phone.shows_kept(1)
    page.route("**/tech/session", lambda route: route.abort())
    phone.regain_signal()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    page.locator("form[action='/signout'] button").click()
    page.wait_for_url("**/signin*")
    page.unroute("**/tech/session")
    assert len(asked) == 1, "who signs out is told of what has not been sent"
    names = page.evaluate("caches.keys()")
    assert [name for name in names if name.startswith("technician-pages-")] == []

    phone.lose_signal()
    page.goto(f"/tech/jobs/{order['order_id']}")
    expect(page.locator("#job")).to_have_count(0)
    expect(page.locator("main")).not_to_contain_text("테헤란로")
    phone.regain_signal()

    sign_in(page, "lee")
    expect(page.locator("#kept [data-others]")).to_be_visible(timeout=WAITS_MS)
    expect(page.locator("#kept [data-entry-id]")).to_have_count(0)
    assert job_of(client, order)["state"] == "assigned"
    page.locator("form[action='/signout'] button").click()
    page.wait_for_url("**/signin*")
    sign_in(page, "kim")
    wait_until(lambda: job_of(client, order)["state"] == "started", "the entry is sent by whose it is")


def test_a_phone_in_a_pocket_says_that_there_is_no_signal_only_where_there_is_none(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(expected=NO_SIGNAL)
    phone.page.clock.install()
    phone.open_day(order)
    expect(phone.page.locator(".live.on")).to_be_attached(timeout=WAITS_MS)
    with phone.page.expect_response("**/tech/session"):
        put_out_of_sight(phone.page)
    expect(phone.page.locator(".live.on")).to_have_count(0)
    expect(phone.page.locator("[data-signal]")).to_be_hidden()
    look_at(phone.page)
    expect(phone.page.locator(".live.on")).to_be_attached(timeout=WAITS_MS)
    expect(phone.page.locator("[data-signal]")).to_be_hidden()

    put_out_of_sight(phone.page)
    phone.lose_signal()
    look_at(phone.page)
    expect(phone.page.locator("[data-signal] [data-when=no-signal]")).to_be_visible(timeout=WAITS_MS)


def test_a_page_without_a_copy_says_that_there_is_no_signal(
    a_phone: PhoneOf, client: Client, a_scheduled_order: Scheduled, axe: Callable[[Page], None]
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone("en", expected=NO_SIGNAL)
    phone.open_day_with_copies(order)
    phone.lose_signal()
    phone.page.goto("/tech?date=2031-01-01")
    expect(phone.page.get_by_role("heading", name="No signal")).to_be_visible()
    axe(phone.page)


def test_what_is_typed_survives_a_page_that_the_phone_threw_away(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    phone = a_phone()
    phone.open_job(a_scheduled_order(client)["order_id"])
    phone.start()
    phone.shows_state("started")
    phone.page.locator("#ont_serial").fill("HFRN1234ABCD")
    phone.page.locator("#complete-note").fill("문 앞")
    phone.page.reload()
    expect(phone.page.locator("#ont_serial")).to_have_value("HFRN1234ABCD")
    expect(phone.page.locator("#complete-note")).to_have_value("문 앞")


def test_a_job_that_cannot_be_sent_now_holds_up_no_other(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    stuck, order = a_scheduled_order(client), a_scheduled_order(client)
    phone = a_phone(expected=["was answered with 503"])
    phone.page.route(f"**/{stuck['order_id']}/start", lambda route: route.fulfill(status=503, body="away"))
    for each in (stuck, order):
        phone.open_job(each["order_id"])
        phone.page.locator("form[data-entry=start] button").click()
    phone.shows_state("started")
    expect(phone.page.locator(f"#kept a[href='/tech/jobs/{order['order_id']}']")).to_have_count(0, timeout=WAITS_MS)
    assert job_of(client, order)["state"] == "started"
    phone.shows_kept(1)
    phone.page.unroute(f"**/{stuck['order_id']}/start")
    phone.page.locator("[data-send-now]").click()
    phone.shows_kept(0)
    assert job_of(client, stuck)["state"] == "started"
