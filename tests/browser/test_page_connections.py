"""Promises of how open pages use connections: none holds up others, and none is held up for ever."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

from tests.browser.test_mypage import PHONE, come_back, stage
from tests.harness.browser import look_at, put_out_of_sight
from tests.harness.client import RESULTS, Client, Json, an_order
from tools.waiting import wait_until

CONNECTIONS = 6
"""That a browser makes to a site over HTTP/1.1."""


def test_tabs_out_of_sight_leave_their_connections_to_the_one_that_is_looked_at(
    new_page: Callable[..., Page], client: Client, a_scheduled_order: Callable[..., Json]
) -> None:
    order = a_scheduled_order(client, "kim", an_order(phone=PHONE))
    first = new_page("en")
    first.clock.install()
    order_id = come_back(first, order)
    put_out_of_sight(first)
    for _ in range(CONNECTIONS):  # of which each would keep one
        tab = first.context.new_page()
        tab.clock.install()
        tab.goto(f"/my/{order_id}")
        expect(tab.locator("[data-live-state].on")).to_be_visible()
        put_out_of_sight(tab)
    client.call("POST", f"/api/jobs/{order_id}/complete", as_="kim", json={"results": RESULTS})
    look_at(first)
    expect(stage(first, "completed")).to_be_visible()


def test_an_answer_that_never_comes_does_not_hold_up_the_next_question_for_ever(
    new_page: Callable[..., Page], client: Client, a_scheduled_order: Callable[..., Json]
) -> None:
    page = new_page("en")
    page.add_init_script("const plain = AbortSignal.timeout; AbortSignal.timeout = () => plain.call(AbortSignal, 500);")
    order_id = come_back(page, a_scheduled_order(client, "kim", an_order(phone=PHONE)))
    unanswered: list[Route] = []
    page.route(f"**/my/{order_id}", lambda route: unanswered.append(route), times=1)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    wait_until(lambda: page.evaluate("1") and unanswered, "the page is asked for anew")
    client.call("POST", f"/api/jobs/{order_id}/complete", as_="kim", json={"results": RESULTS})
    expect(stage(page, "completed")).to_be_visible()
