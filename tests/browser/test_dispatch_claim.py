"""A claim stands for as long as its panel is open, on a busy desk and through failures; times on the desk come due."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Request, expect

from gateway_svc.pages.texts import Language, texts
from tests.browser.dispatch_desk import PHONE, Desk, a_desk, another_id, call, claim, order_id, release, row, take_over
from tests.harness.client import Client
from tools.system import System
from tools.waiting import wait_until

__all__ = ["a_desk", "another_id", "order_id"]

both_languages = pytest.mark.parametrize("lang", ["ko", "en"])

STANDS_S = 180
"""CLAIM_S"""


def is_held(page: Page, order_id: str, held: bool) -> None:
    """Wait until the queue shows whether a colleague has the customer."""
    expect(row(page, order_id).locator(".dispatch-holder")).to_have_count(1 if held else 0)


def test_a_claim_is_renewed_on_a_desk_that_changes_oftener_than_that(
    a_desk: Desk, client: Client, order_id: str, another_id: str
) -> None:
    page = a_desk("ko")
    page.clock.install()
    call(page, order_id)
    renewals: list[Request] = []
    page.on("request", lambda sent: renewals.append(sent) if sent.url.endswith(f"{order_id}/renew") else None)
    answered: list[str] = []
    page.on("response", lambda came: answered.append(came.url) if came.url.endswith(f"{order_id}/renew") else None)
    for turn in range(STANDS_S // 20):
        page.clock.fast_forward(20_000)
        # Answered before the clock goes on: the next renewal is planned from then.
        wait_until(lambda: page.title() and len(answered) == len(renewals), "the renewal is answered")
        held = turn % 2 == 0
        (claim if held else release)(client, another_id, "dispatcher2")
        is_held(page, another_id, held)
    assert len(renewals) >= 3, "a claim that stands for three minutes is renewed three times in them"


def test_a_time_comes_due_when_it_is_shown_however_old_the_page_is(
    a_desk: Desk, client: Client, another_id: str
) -> None:
    page = a_desk("ko")
    page.clock.install()
    page.goto("/dispatch")
    expect(page.locator("[data-live-state]")).to_have_text(texts("ko")("live-on"))
    page.clock.fast_forward(100_000)
    claim(client, another_id, "dispatcher2")
    is_held(page, another_id, True)
    # By the page's clock the claim ends 80 s from now.
    with page.expect_request(lambda sent: sent.url.endswith("/dispatch")):
        page.clock.fast_forward(90_000)
    release(client, another_id, "dispatcher2")


def test_a_renewal_that_was_not_answered_well_is_sent_again_soon(a_desk: Desk, order_id: str) -> None:
    page = a_desk("ko", expected=["/renew was answered with 503"])
    page.clock.install()
    call(page, order_id)
    renewal = f"**/dispatch/visits/{order_id}/renew"
    page.route(renewal, lambda route: route.fulfill(status=503), times=1)
    with page.expect_response(renewal) as refused:
        page.clock.fast_forward(60_000)
    assert refused.value.status == 503
    answers: list[int] = []
    page.on("response", lambda answer: answers.append(answer.status) if answer.url.endswith("/renew") else None)

    def renewed() -> bool:
        page.clock.fast_forward(3_000)
        return bool(answers)

    wait_until(renewed, "the claim is renewed", timeout_s=10)
    assert answers == [204]


def test_a_customer_who_could_not_be_loaded_comes_back_by_themselves(
    a_desk: Desk, system: System, order_id: str
) -> None:
    page = a_desk("ko")
    call(page, order_id)
    with system.stopped("scheduling"):
        page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")  # fetches it anew
        expect(page.locator("#panel .missing")).to_be_visible()
    expect(page.get_by_role("link", name=PHONE)).to_be_visible(timeout=30_000)


@both_languages
def test_a_claim_that_is_lost_over_a_half_typed_note_is_shown_and_the_note_stays(
    a_desk: Desk, client: Client, order_id: str, lang: Language
) -> None:
    page = a_desk(lang)
    call(page, order_id)
    page.locator("#note").fill("공동현관")
    take_over(client, order_id)
    expect(page.locator(f"#customer-{order_id} .notice")).to_contain_text("dispatcher2")
    expect(page.locator(f"#customer-{order_id}")).not_to_contain_text(PHONE)
    expect(page.locator("[data-renew]")).to_have_count(0)
    expect(page.locator("#note")).to_have_value("공동현관")
    release(client, order_id, "dispatcher2")
