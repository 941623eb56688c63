"""A form that got no answer, or one that is no page of this site, stays as it is, says so, and can be sent again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from gateway_svc.pages.texts import Language, texts
from tests.browser.dispatch_desk import Desk, a_desk, call, order_id

__all__ = ["a_desk", "order_id"]

MISSED_ONCE = {"ko": "부재 1회", "en": "1 missed call."}

both_languages = pytest.mark.parametrize("lang", ["ko", "en"])


def cut_off(route: Route) -> None:
    route.abort("internetdisconnected")


def of_a_proxy(route: Route) -> None:
    route.fulfill(status=502, content_type="text/html", body="<h1>Bad Gateway</h1>")


def of_a_full_server(route: Route) -> None:
    problem = '{"type": "about:blank", "status": 503, "title": "Overloaded"}'
    route.fulfill(status=503, content_type="application/problem+json", headers={"Retry-After": "1"}, body=problem)


@both_languages
@pytest.mark.parametrize("answer", [cut_off, of_a_proxy, of_a_full_server])
def test_a_call_that_got_no_answer_is_sent_again_with_the_same_press(
    a_desk: Desk, order_id: str, answer: Callable[[Route], None], lang: Language
) -> None:
    page = a_desk(lang, expected=["was answered with 50[23]"])
    call(page, order_id)
    page.locator("#note").fill("벨 고장")
    page.evaluate("window.stillHere = true")
    page.route(f"**/dispatch/visits/{order_id}/call", answer, times=1)
    page.locator("#no-answer").click()
    alert = page.get_by_role("alert").filter(has_text=texts(lang)("not-sent"))
    expect(alert).to_be_focused()
    expect(page.locator("#note")).to_have_value("벨 고장")
    page.locator("#no-answer").click()
    expect(page.locator("#dispatch-result")).to_contain_text(MISSED_ONCE[lang])
    expect(alert).to_have_count(0)
    assert page.evaluate("window.stillHere") is True


@both_languages
def test_a_sign_up_that_got_no_answer_keeps_all_that_was_typed(
    new_page: Callable[..., Page], axe: Callable[[Page], None], lang: Language
) -> None:
    page = new_page(lang, phone=True)
    page.goto("/signup")
    page.locator("[name='customer.name']").fill("김하늘")
    page.route("**/signup?send", cut_off, times=2)
    for _ in range(2):
        page.locator("form.signup-form button.primary").click()
        expect(page.locator("#not-sent")).to_have_text(texts(lang)("not-sent"))
        expect(page.locator("#not-sent")).to_be_focused()
        expect(page.locator("#not-sent")).to_be_in_viewport()
    axe(page)
    expect(page.locator("[name='customer.name']")).to_have_value("김하늘")
    page.locator("form.signup-form button.primary").click()
    expect(page.locator("#errors")).to_be_focused()
    expect(page.locator("#not-sent")).to_have_count(0)
