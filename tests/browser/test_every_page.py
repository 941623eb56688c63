"""What every page promises, whoever looks at it, in both languages: the pages and their states of tools.screenshots."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Response

from tests.harness.browser_keyboard import check_keyboard
from tests.harness.client import Client
from tests.harness.network import without_profile
from tools.page_data import REFUSED_PRODUCT, Work, fill
from tools.screenshots import LANGUAGES, SHOWN, Shown, open_page
from tools.system import System

NARROW = {"width": 320, "height": 640}
"""CSS pixels: what WCAG 2.2 (1.4.10, reflow) asks for."""

# A text that was not found, a value that was not there, an object that is no text.
_UNRESOLVED = re.compile(r"\{\s*\$|\bundefined\b|\bNaN\b|\[object |^None$|^null$", re.MULTILINE)


@pytest.fixture(scope="module")
def somebody(system: System) -> Client:
    """A client that knows the orders' tokens."""
    return Client(system.url, staff_password=system.env["STAFF_PASSWORD"])


@pytest.fixture(scope="module")
def work(system: System, somebody: Client) -> Work:
    """A day's work."""
    return fill(somebody, without_profile(system, REFUSED_PRODUCT))


@pytest.fixture
def gateway_log(system: System) -> Callable[[], str]:
    """`gateway_log()`: what the gateway has logged since the test began."""
    path = system.processes["gateway"].log
    begun = path.stat().st_size
    return lambda: path.read_bytes()[begun:].decode(errors="replace")


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.name)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_page_is_for_everybody(
    new_page: Callable[..., Page], axe: Callable[[Page], None], gateway_log: Callable[[], str],
    somebody: Client, work: Work, lang: str, shown: Shown,
) -> None:  # fmt: skip
    page = new_page(lang, phone=shown.phone, traced=False)
    open_page(page, shown, somebody, work)
    checks = [functools.partial(speaks_one_language, lang=lang), axe, *([fits_a_phone] if shown.phone else [])]
    checks.append(check_keyboard)  # last: it leaves the focus, and what shows it, somewhere
    faults = [fault for check in checks for fault in faults_of(check, page)]
    faults += re.findall(r"text_(?:missing|broken)\S*.*", gateway_log())
    assert not faults, "\n\n".join(faults)


def faults_of(check: Callable[[Page], None], page: Page) -> list[str]:
    """What a check complains about: one complaint does not hide those of the next check."""
    try:
        check(page)
    except AssertionError as fault:
        return [str(fault)]
    return []


def speaks_one_language(page: Page, lang: str) -> None:
    assert page.locator("html").get_attribute("lang") == lang
    assert page.title().strip(" ·"), "a page has a title"
    assert page.locator("h1").count() == 1, "a page has one main heading"
    unresolved = _UNRESOLVED.findall(page.inner_text("body"))
    assert not unresolved, f"not resolved: {unresolved}"


def fits_a_phone(page: Page) -> None:
    before = page.viewport_size
    for size in (before, NARROW):
        page.set_viewport_size(size)
        too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert too_wide <= 0, f"{too_wide} px too wide at {size}"
    page.set_viewport_size(before)


@pytest.mark.parametrize("path", sorted({shown.path for shown in SHOWN}))
def test_a_page_says_what_a_browser_may_do_with_it(
    new_page: Callable[..., Page], somebody: Client, work: Work, path: str
) -> None:
    shown = next(shown for shown in SHOWN if shown.path == path)
    page = new_page(traced=False)
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    open_page(page, shown._replace(steps=lambda page, work: None), somebody, work)
    headers = [answer for answer in answers if answer.request.resource_type == "document"][-1].all_headers()
    policy = dict(part.split(maxsplit=1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert not re.search(r"unsafe-|\*|https?:", " ".join(policy.values()))
    assert headers["x-content-type-options"] == "nosniff"
    kept_by_nobody = ("no-store",) if shown.who else ("no-store", "private")
    assert headers["cache-control"].split(", ")[0] in kept_by_nobody
    assert all(answer.headers["x-content-type-options"] == "nosniff" for answer in answers if answer.ok)


def test_no_cookie_can_be_read_by_a_script_or_sent_by_another_site(
    page: Page, sign_in: Callable[[Page, str], None]
) -> None:
    sign_in(page, "dispatcher")
    page.goto(f"{page.url}?lang=en")
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert {"oss_staff", "oss_visitor", "oss_lang"} <= cookies.keys()
    assert [name for name, cookie in cookies.items() if not (cookie["httpOnly"] and cookie["secure"])] == []
    assert {cookie["sameSite"] for cookie in cookies.values()} <= {"Lax", "Strict"}
    assert cookies["oss_staff"]["sameSite"] == "Strict"
    assert page.evaluate("document.cookie") == ""
