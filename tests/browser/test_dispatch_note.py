"""What a dispatcher has typed about a call is there until it is recorded, or they say that it may go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Dialog, Locator, Page, expect

from gateway_svc.pages.texts import Language, texts
from tests.browser.dispatch_desk import Desk, a_desk, another_id, call, order_id, row
from tests.harness.browser_orders import a_scheduled_order, day_of
from tests.harness.client import Client, Json

__all__ = ["a_desk", "another_id", "order_id"]

both_languages = pytest.mark.parametrize("lang", ["ko", "en"])
NOTE = "공동현관 1234"


@pytest.fixture
def scheduled(client: Client) -> Json:
    """An order whose visit Kim has, on a day on which it can be moved."""
    return a_scheduled_order(client, "kim", on_an_open_day=True)


def half_typed(page: Page, order_id: str, day: object = "") -> None:
    """A call with this customer has begun, and a note was begun."""
    page.goto(f"/dispatch?order={order_id}&day={day}")
    page.locator("#claim").click()
    page.locator("#note").fill(NOTE)


@contextmanager
def asked(page: Page) -> Iterator[list[str]]:
    """The kinds of questions that the page asks meanwhile; each is answered with no."""
    kinds: list[str] = []

    def answer(dialog: Dialog) -> None:
        kinds.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", answer)
    yield kinds
    page.remove_listener("dialog", answer)


def is_kept(page: Page) -> None:
    expect(page.locator("#note")).to_have_value(NOTE)


def drag(page: Page, scheduled: Json) -> None:
    free = page.locator("[data-drop^='tech-lee|'], [data-drop^='tech-jung|']").first
    page.locator(f"[data-order='{scheduled['order_id']}']").drag_to(free)


def move_by_keys(page: Page, scheduled: Json) -> None:
    page.locator(f"#move-{scheduled['order_id']}").press("Enter")
    page.locator(".dispatch-here").first.press("Enter")


@pytest.mark.parametrize("move", [drag, move_by_keys])
def test_moving_another_visit_leaves_a_note_as_it_is(
    a_desk: Desk, order_id: str, scheduled: Json, move: Callable[[Page, Json], None]
) -> None:
    page = a_desk("ko")
    half_typed(page, order_id, day_of(scheduled))
    move(page, scheduled)
    expect(page.locator("#dispatch-result .good")).to_be_visible()
    is_kept(page)
    page.locator("#no-answer").click()
    expect(row(page, order_id)).to_contain_text(texts("ko")("dispatch-missed", count=1))


def test_another_day_of_the_board_leaves_a_note_as_it_is(a_desk: Desk, order_id: str, scheduled: Json) -> None:
    page = a_desk("ko")
    half_typed(page, order_id)
    page.locator("#day").fill(str(day_of(scheduled)))
    page.get_by_role("button", name=texts("ko")("dispatch-show")).click()
    expect(page.locator(f"[data-order='{scheduled['order_id']}']")).to_be_visible()
    assert f"day={day_of(scheduled)}" in page.url
    is_kept(page)


def test_going_to_a_field_at_fault_or_past_the_menu_leaves_a_note_as_it_is(a_desk: Desk, order_id: str) -> None:
    page = a_desk("ko")
    call(page, order_id)
    page.locator("#call_back_at").fill("2020-01-01T10:00")
    page.locator("#call-back").click()
    expect(page.locator("#errors")).to_be_focused()
    page.locator("#note").fill(NOTE)
    page.evaluate("window.stillHere = true")
    with asked(page) as questions:
        page.locator("#errors a").click()
        expect(page.locator("#call_back_at")).to_be_focused()
        page.locator(".skip").press("Enter")
        expect(page.locator("#main")).to_be_focused()
    is_kept(page)
    assert (questions, page.evaluate("window.stillHere")) == ([], True)


def a_name_in_the_queue(page: Page, another_id: str) -> Locator:
    return page.locator(f"#visit-{another_id}")


def another_language(page: Page, _: str) -> Locator:
    return page.locator(".languages [lang=en]")


def the_menu(page: Page, _: str) -> Locator:
    return page.locator(".top-nav a").first


def sign_out(page: Page, _: str) -> Locator:
    return page.locator("form[action='/signout'] button")


@pytest.mark.parametrize("way", [a_name_in_the_queue, another_language, the_menu, sign_out])
def test_whoever_leaves_the_desk_over_a_half_typed_note_is_asked(
    a_desk: Desk, order_id: str, another_id: str, way: Callable[[Page, str], Locator]
) -> None:
    page = a_desk("ko")
    half_typed(page, order_id)
    with asked(page) as questions, page.expect_event("dialog"):
        way(page, another_id).click(no_wait_after=True)
    assert questions == ["beforeunload"]
    is_kept(page)


def test_the_phone_number_is_dialled_without_a_question(a_desk: Desk, order_id: str) -> None:
    page = a_desk("ko")
    half_typed(page, order_id)
    with asked(page) as questions:
        page.locator(".dispatch-phone a").click()
        page.locator("#note").press("End")
    assert questions == []
    is_kept(page)


@both_languages
def test_whoever_calls_somebody_else_over_a_half_typed_note_is_asked(
    a_desk: Desk, order_id: str, another_id: str, lang: Language
) -> None:
    page = a_desk(lang)
    half_typed(page, order_id)
    messages: list[str] = []
    page.once("dialog", lambda dialog: (messages.append(dialog.message), dialog.dismiss()))
    page.locator(f"#claim-{another_id}").click()
    assert messages == [texts(lang)("dispatch-unsaved")]
    is_kept(page)
