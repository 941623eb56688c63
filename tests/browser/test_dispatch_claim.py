"""A claim stands for as long as its panel is open, on a busy desk and through failures; times on the desk come due."""

from __future__ import annotations

from playwright.sync_api import Page, Request, expect

from gateway_svc.pages.texts import texts
from tests.browser.dispatch_desk import Desk, a_desk, another_id, call, claim, order_id, release, row
from tests.harness.client import Client

__all__ = ["a_desk", "another_id", "order_id"]

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
    for turn in range(STANDS_S // 20):
        page.clock.fast_forward(20_000)
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
