"""The day board: a visit is moved by dragging or by keyboard, and never half."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from gateway_svc.pages.texts import Language, texts
from tests.harness.browser_orders import a_scheduled_order, day_of
from tests.harness.client import Client, Json
from tools.waiting import wait_until

both_languages = pytest.mark.parametrize("lang", ["ko", "en"])


@pytest.fixture
def order(client: Client) -> Json:
    """An order whose visit Kim has, on a day on which it can be moved."""
    return a_scheduled_order(client, "kim", on_an_open_day=True)


@pytest.fixture
def a_board(new_page: Callable[..., Page], sign_in: Callable[[Page, str], None], order: Json) -> Callable[..., Page]:
    """`a_board("en", "dispatcher2")`: the board of the visit's day, before somebody who has just signed in."""

    def open_board(lang: Language = "ko", who: str = "dispatcher", **options: object) -> Page:
        page = new_page(lang, **options)
        sign_in(page, who)
        page.goto(f"/dispatch?day={day_of(order).isoformat()}")
        return page

    return open_board


def card(page: Page, order: Json) -> Locator:
    return page.locator(f"[data-order='{order['order_id']}']")


def technician_of(page: Page, order: Json) -> str:
    """In whose row the visit is."""
    return str(card(page, order).evaluate("card => card.closest('tr').querySelector('.dispatch-technician').innerText"))


def where(client: Client, order: Json) -> tuple[str, str]:
    """(technician, window start) of the visit as the rest of the system knows it."""
    visit = client.call("GET", f"/api/orders/{order['order_id']}", as_="operator")["visit"]
    return visit["technician_id"], visit["window_start"]


def slot_of(button: Locator) -> tuple[str, str]:
    technician, start, _ = str(button.get_attribute("value")).split("|")
    return technician, start


def test_a_visit_is_dragged_to_another_technician_and_others_see_it_at_once(
    a_board: Callable[..., Page], client: Client, order: Json
) -> None:
    page, other = a_board("ko"), a_board("en", "dispatcher2")
    target = page.locator("[data-drop^='tech-lee|'], [data-drop^='tech-jung|']").first
    technician, start, _ = str(target.get_attribute("data-drop")).split("|")
    card(page, order).drag_to(target)
    expect(page.locator("#dispatch-result")).to_contain_text(texts("ko")("dispatch-done-scheduled", name="김하늘",
                                                                         window="", technician="").split(":")[0])
    name = technician_of(page, order)
    wait_until(lambda: technician_of(other, order) == name, "the other dispatcher sees the move")
    wait_until(lambda: where(client, order) == (technician, start), "MyPage knows the move")


@both_languages
def test_a_visit_is_moved_by_keyboard_alone(
    a_board: Callable[..., Page], client: Client, order: Json, axe: Callable[[Page], None], lang: Language
) -> None:
    page = a_board(lang)
    before = where(client, order)
    page.locator(f"#move-{order['order_id']}").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#move-cancel")).to_be_focused()
    axe(page)
    page.keyboard.press("Escape")
    expect(page.locator("#move")).to_have_count(0)
    page.locator(f"#move-{order['order_id']}").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#move-cancel")).to_be_focused()
    page.keyboard.press("d")
    wanted = slot_of(page.locator(":focus"))
    assert wanted != before
    page.keyboard.press("Enter")
    expect(page.locator("#dispatch-result .notice")).to_be_visible()
    wait_until(lambda: where(client, order) == wanted, "MyPage knows the move")


@both_languages
def test_a_move_that_came_too_late_is_told_and_changes_nothing(
    a_board: Callable[..., Page], client: Client, order: Json, lang: Language
) -> None:
    late = a_board(lang, "dispatcher2", javascript=False)
    late.locator(f"#move-{order['order_id']}").click()
    first = a_board(lang)
    first.locator(f"#move-{order['order_id']}").click()
    taken = slot_of(first.locator(".dispatch-here").first)
    first.locator(".dispatch-here").first.click()
    wait_until(lambda: where(client, order) == taken, "MyPage knows the first move")
    late.locator(".dispatch-here").last.click()
    expect(late.locator("#errors")).to_contain_text(texts(lang)("dispatch-refused-moved"))
    assert where(client, order) == taken


def test_where_a_technician_cannot_go_the_drop_is_refused_in_words(
    a_board: Callable[..., Page], client: Client, order: Json
) -> None:
    page = a_board("ko")
    before = where(client, order)
    # Neither goes to this address; on each day that Kim works one of them does, too.
    card(page, order).drag_to(page.locator("[data-drop^='tech-park|'], [data-drop^='tech-choi|']").last)
    expect(page.locator("#errors")).to_contain_text(texts("ko")("dispatch-refused-unfit"))
    expect(page.locator("#errors")).to_be_focused()
    assert where(client, order) == before


def test_the_board_moves_on_by_days_and_by_date(a_board: Callable[..., Page], order: Json) -> None:
    page = a_board("en")
    expect(card(page, order)).to_be_visible()
    page.get_by_role("link", name=texts("en")("dispatch-day-after")).click()
    expect(card(page, order)).to_have_count(0)
    page.locator("#day").fill(day_of(order).isoformat())
    page.get_by_role("button", name=texts("en")("dispatch-show")).click()
    expect(card(page, order)).to_be_visible()
