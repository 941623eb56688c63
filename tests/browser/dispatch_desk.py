"""A dispatcher at the desk, as the tests of `/dispatch` need one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from gateway_svc.pages.texts import Language
from tests.harness.client import Client, Json, an_order

PHONE, MASKED = "010-7777-1234", "010-****-1234"

Desk = Callable[..., Page]


@pytest.fixture
def order_id(client: Client, an_activated_order: Callable[..., Json]) -> str:
    """An order of somebody who waits for a call."""
    return str(an_activated_order(client, an_order(phone=PHONE))["order_id"])


@pytest.fixture
def another_id(client: Client, an_activated_order: Callable[..., Json]) -> str:
    """An order of somebody else who waits for a call."""
    return str(an_activated_order(client)["order_id"])


@pytest.fixture
def a_desk(new_page: Callable[..., Page], sign_in: Callable[[Page, str], None]) -> Desk:
    """`a_desk("en", who="dispatcher2")`: the desk of a dispatcher who has just signed in."""

    def open_desk(lang: Language = "ko", who: str = "dispatcher", **options: object) -> Page:
        page = new_page(lang, **options)
        sign_in(page, who)
        page.wait_for_url("**/dispatch")
        return page

    return open_desk


def call(page: Page, order_id: str) -> None:
    """Open the customer's panel and claim them."""
    page.goto(f"/dispatch?order={order_id}")
    page.locator("#claim").click()
    expect(page.locator("#call")).to_be_visible()


def claim(client: Client, order_id: str, who: str) -> None:
    """What another dispatcher does meanwhile."""
    client.call("POST", f"/api/visits/{order_id}/claim", as_=who)


def release(client: Client, order_id: str, who: str) -> None:
    client.call("DELETE", f"/api/visits/{order_id}/claim", as_=who)


def take_over(client: Client, order_id: str) -> None:
    """dispatcher's claim ends, and dispatcher2 has the customer."""
    release(client, order_id, "dispatcher")
    claim(client, order_id, "dispatcher2")


def row(page: Page, order_id: str) -> Locator:
    """The customer's row of the queue."""
    return page.locator(f"li:has(#visit-{order_id})")
