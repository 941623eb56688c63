"""Signing up in a browser: from the form to MyPage, in both languages, with and without scripts."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from gateway_svc.pages.formats import order_number
from tests.harness.client import Client
from tools.system import System
from tools.waiting import wait_until

TITLE = {"ko": "인터넷·TV 가입 신청", "en": "Order internet and TV"}
READY = {"ko": "회선이 준비되었습니다", "en": "Your lines are ready"}
WRONG_PHONE = {
    "ko": "전화번호를 010-1234-5678처럼 적어 주세요.", "en": "Enter a Korean phone number, such as 010-1234-5678.",
}  # fmt: skip


def a_phone() -> str:
    return f"010-{uuid4().int % 9000 + 1000}-{uuid4().int % 9000 + 1000}"


def fill(page: Page, phone: str) -> None:
    """Fill in the whole form."""
    page.locator("label", has=page.locator("[value=internet-500]")).click()
    page.locator("label", has=page.locator("[value=tv-premium]")).click()
    page.locator("[name=tv_quantity]").select_option("2")
    for field, text in {
        "address.postcode": "06236", "address.line1": "서울특별시 강남구 테헤란로 1", "address.line2": "101동 1203호",
        "customer.name": "김하늘", "customer.phone": phone,
    }.items():
        page.locator(f'[name="{field}"]').fill(text)


def send(page: Page) -> str:
    """Send the form and return the order whose MyPage it leads to."""
    page.locator("form.signup-form button.primary").click()
    page.wait_for_url("**/my/*")
    return page.url.rpartition("/")[2].partition("?")[0]


def orders_of(client: Client, phone: str) -> list[str]:
    listed = client.call("GET", "/api/orders", as_="operator", params={"phone": phone})["items"]
    return [order["order_id"] for order in listed]


@pytest.mark.parametrize(("lang", "phone_size"), [("ko", True), ("en", False)])
def test_sign_up_from_the_form_to_a_live_mypage(
    new_page: Callable[..., Page], client: Client, axe: Callable[[Page], None], lang: str, phone_size: bool
) -> None:
    page, phone = new_page(lang, phone=phone_size), a_phone()
    page.goto("/")
    expect(page.locator("h1")).to_have_text(TITLE[lang])
    axe(page)
    fill(page, phone)
    expect(page.locator("#total")).to_contain_text("₩70,400")
    order_id = send(page)
    expect(page.locator("#headline")).to_have_text(READY[lang])
    expect(page.get_by_text(order_number(order_id)).first).to_be_visible()
    axe(page)
    assert orders_of(client, phone) == [order_id]
    items = client.call("GET", f"/api/orders/{order_id}", as_="operator")["items"]
    assert [(item["product"], item["quantity"]) for item in items] == [("internet-500", 1), ("tv-premium", 2)]


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_faults_stand_beside_their_fields_and_what_was_typed_stays(
    new_page: Callable[..., Page], axe: Callable[[Page], None], lang: str
) -> None:
    page = new_page(lang, phone=True)
    page.goto("/signup")
    fill(page, "12345")
    page.locator('[name="customer.name"]').fill("")
    page.locator("form.signup-form button.primary").click()
    expect(page.locator("#errors")).to_be_focused()
    expect(page.locator("#customer-phone-error")).to_have_text(WRONG_PHONE[lang])
    expect(page.locator("#customer-name-error")).to_be_visible()
    expect(page.locator(".field .error")).to_have_count(2)
    expect(page.locator('[name="customer.phone"]')).to_have_value("12345")
    expect(page.locator("[value=tv-premium]")).to_be_checked()
    expect(page.locator("[name=tv_quantity]")).to_have_value("2")
    expect(page.locator("#total")).to_contain_text("₩70,400")
    axe(page)
    page.locator("#errors a").last.click()
    expect(page.locator('[name="customer.phone"]')).to_be_focused()
    page.locator('[name="customer.phone"]').fill(a_phone())
    page.locator('[name="customer.name"]').fill("김하늘")
    assert send(page)


def test_a_double_click_a_reload_and_going_back_are_one_order(new_page: Callable[..., Page], client: Client) -> None:
    page, phone = new_page("ko"), a_phone()
    page.goto("/signup")
    fill(page, phone)
    page.locator("form.signup-form button.primary").dblclick()
    page.wait_for_url("**/my/*")
    first = page.url.rpartition("/")[2].partition("?")[0]
    page.reload()
    page.go_back()
    expect(page.locator("h1")).to_have_text(TITLE["ko"])
    fill(page, phone)
    assert send(page) == first
    wait_until(lambda: orders_of(client, phone), "the order is listed")
    assert orders_of(client, phone) == [first]


def test_without_javascript_the_form_works_from_start_to_end(new_page: Callable[..., Page], client: Client) -> None:
    page, phone = new_page("ko", phone=True, javascript=False), a_phone()
    page.goto("/signup")
    page.locator("form.signup-form button.primary").click()
    expect(page.locator("#errors li")).to_have_count(5)
    fill(page, phone)
    page.locator("noscript button").click()
    expect(page.locator("#total")).to_contain_text("₩70,400")
    expect(page.locator('[name="customer.phone"]')).to_have_value(phone)
    page.locator("form.signup-form button.primary").dblclick()
    page.wait_for_url("**/my/*")
    order_id = page.url.rpartition("/")[2].partition("?")[0]
    expect(page.get_by_text(order_number(order_id)).first).to_be_visible()

    def ready() -> bool:
        page.reload()
        return page.locator("#headline").inner_text() == READY["ko"]

    wait_until(ready, "MyPage tells it when it is loaded again")
    assert orders_of(client, phone) == [order_id]


def test_two_tabs_with_one_form_are_one_order(new_page: Callable[..., Page], client: Client) -> None:
    page, phone = new_page("en"), a_phone()
    page.goto("/signup")
    key = page.locator("[name=key]").input_value()
    other = page.context.new_page()
    other.goto("/signup")
    other.locator("[name=key]").evaluate("(field, key) => { field.value = key; }", key)  # as a duplicated tab has it
    for tab in (page, other):
        fill(tab, phone)
    first = send(page)
    assert send(other) == first
    wait_until(lambda: orders_of(client, phone) == [first], "there is one order")


def test_sign_up_goes_on_while_the_order_service_and_the_broker_are_away(
    new_page: Callable[..., Page], system: System, client: Client
) -> None:
    page, phone = new_page("ko", phone=True), a_phone()
    page.goto("/signup")
    fill(page, phone)
    system.stop("order")
    system.nodes.broker.stop()
    try:
        order_id = send(page)
        expect(page.locator("#headline")).to_have_text("주문을 받아 두었습니다")
        expect(page.get_by_text("다시 신청하지 않으셔도 됩니다")).to_be_visible()
        expect(page.get_by_text(order_number(order_id)).first).to_be_visible()
    finally:
        system.nodes.broker.start()
        system.start_all()
    expect(page.locator("#headline")).to_have_text(READY["ko"], timeout=60_000)
    assert orders_of(client, phone) == [order_id]
