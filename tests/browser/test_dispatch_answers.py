"""What a form of the desk was answered, and what was typed into it, stays on a desk that goes on changing."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from gateway_svc.pages.texts import Language, texts
from tests.browser.dispatch_desk import Desk, a_desk, another_id, call, claim, order_id, release, row, take_over
from tests.harness.client import Client
from tools.system import System

__all__ = ["a_desk", "another_id", "order_id"]

both_languages = pytest.mark.parametrize("lang", ["ko", "en"])
NOTE = "공동현관 1234"


def changes(page: Page, client: Client, another_id: str) -> None:
    """Something else changes on the desk, and the page shows it."""
    claim(client, another_id, "dispatcher2")
    expect(row(page, another_id).locator(".dispatch-holder")).to_have_count(1)
    release(client, another_id, "dispatcher2")
    expect(row(page, another_id).locator(".dispatch-holder")).to_have_count(0)


def is_recorded_once(page: Page, order_id: str, lang: Language) -> None:
    expect(row(page, order_id)).to_contain_text(texts(lang)("dispatch-missed", count=1))
    page.goto(f"/dispatch?order={order_id}")
    expect(page.locator(".dispatch-note")).to_have_count(1)
    expect(page.locator(".dispatch-note")).to_have_text(NOTE)


def test_a_fault_and_the_note_beside_it_stay_while_the_desk_changes(
    a_desk: Desk, client: Client, order_id: str, another_id: str
) -> None:
    page = a_desk("ko")
    call(page, order_id)
    page.locator("#note").fill(NOTE)
    page.locator("#call_back_at").fill("2020-01-01T10:00")
    page.locator("#call-back").click()
    expect(page.locator("#errors")).to_be_visible()
    changes(page, client, another_id)
    expect(page.locator("#call_back_at-error")).to_be_visible()
    expect(page.locator("#note")).to_have_value(NOTE)
    questions: list[str] = []
    page.once("dialog", lambda dialog: (questions.append(dialog.message), dialog.dismiss()))
    page.locator(f"#claim-{another_id}").click()
    assert questions == [texts("ko")("dispatch-unsaved")], "what is not recorded is still a note of this call"
    page.locator("#no-answer").click()
    is_recorded_once(page, order_id, "ko")


@both_languages
def test_in_an_outage_the_note_is_there_and_is_recorded_once_afterwards(
    a_desk: Desk, system: System, order_id: str, lang: Language
) -> None:
    page = a_desk(lang, expected=["was answered with 503"])
    call(page, order_id)
    page.locator("#note").fill(NOTE)
    with system.stopped("scheduling"):
        page.locator("#no-answer").click()
        expect(page.locator("#errors")).to_contain_text(texts(lang)("dispatch-refused-no-answer"))
        expect(page.locator("#note")).to_have_value(NOTE)
        page.locator("#no-answer").click()
        expect(page.locator("#errors")).to_be_focused()
        expect(page.locator("#note")).to_have_value(NOTE)
    expect(page.locator(f"#customer-{order_id}")).to_be_visible(timeout=30_000)
    expect(page.locator("#note")).to_have_value(NOTE)
    page.locator("#no-answer").click()
    is_recorded_once(page, order_id, lang)


def test_a_call_that_was_refused_for_a_colleagues_claim_is_recorded_once_that_ends(
    a_desk: Desk, client: Client, order_id: str, another_id: str
) -> None:
    page = a_desk("ko")
    call(page, order_id)
    page.locator("#note").fill(NOTE)
    take_over(client, order_id)
    page.locator("#no-answer").click()
    expect(page.locator("#errors")).to_contain_text("dispatcher2")
    changes(page, client, another_id)
    expect(page.locator("#errors")).to_contain_text("dispatcher2")
    expect(page.locator("#note")).to_have_value(NOTE)
    release(client, order_id, "dispatcher2")
    page.locator("#claim").click()
    expect(page.locator("#errors")).to_have_count(0)
    expect(page.locator("#note")).to_have_value(NOTE)
    page.locator("#no-answer").click()
    is_recorded_once(page, order_id, "ko")
