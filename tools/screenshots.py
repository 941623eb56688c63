"""`make screenshots`: a picture of each page in each language, from a system with a day's work in it.

`SHOWN` is the table of all pages in all states that are worth a look; tests go through it, too.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from playwright.sync_api import Browser, BrowserContext, Page

from tools.browser import CHROMIUM, FONTS, Lang, chromium, person
from tools.client import Client
from tools.packages import PackagesMissing, ensure
from tools.page_data import CUSTOMERS, Work, system_with_data
from tools.paths import ROOT
from tools.waiting import NotInTime

FOLDER = ROOT / "docs" / "screenshots"
LANGUAGES: tuple[Lang, ...] = get_args(Lang)
Scheme = Literal["light", "dark"]


class Shown(NamedTuple):
    """A page in a state. `path` may name an order (`{scheduled}`) or the `{day}`, see tools.page_data; `who`: a staff
    user, or an order whose subscriber looks, or nobody; `steps`: what is done on the page before it is looked at."""

    name: str
    path: str
    who: str | None = None
    phone: bool = False
    steps: Callable[[Page, Work], object] = lambda page, work: None
    dark: bool = False
    status: int = 200


def _send_with_errors(page: Page, work: Work) -> None:
    page.locator("[name='address.postcode']").fill("서울")
    page.locator("[name='customer.phone']").fill("02")
    page.locator(".signup-form [type=submit]:visible").first.click()
    page.locator("[aria-invalid=true]").first.wait_for()


def _call_a_customer(page: Page, work: Work) -> None:
    order_id = work.orders["call_back"]
    page.locator(f"#claim-{order_id}").click()
    page.locator("form#call").wait_for()
    page.locator(f"#windows-{order_id} a[href*='pick=']").first.click()
    page.locator("#fix").wait_for()


def _measure_out_of_range(page: Page, work: Work) -> None:
    page.locator("#ont_serial").fill("ABCD12345678")
    page.locator("#rx_power_dbm").fill("-31.5")
    page.locator("#down_mbps").fill("93")
    page.locator("[data-entry=complete] [type=submit]").click()
    page.locator("#questions").wait_for()


def _unfold_rejection(page: Page, work: Work) -> None:
    page.locator("details:has([name=reason_code]) summary").click()


SHOWN = (
    # The subscriber's phone
    Shown("signup", "/signup", phone=True),
    Shown("signup-errors", "/signup", phone=True, steps=_send_with_errors),
    Shown("signup-wide", "/signup"),
    Shown("my-sign-in", "/my", phone=True),
    Shown("my-activated", "/my/{activated}", "activated", phone=True),
    Shown("my-missed-call", "/my/{missed}", "missed", phone=True),
    Shown("my-scheduled", "/my/{scheduled}", "scheduled", phone=True, dark=True),
    Shown("my-visit", "/my/{scheduled}/visit", "scheduled", phone=True),
    Shown("my-cancel", "/my/{scheduled}/cancel", "scheduled", phone=True),
    Shown("my-completed", "/my/{completed}", "completed", phone=True),
    Shown("my-rejected", "/my/{rejected}", "rejected", phone=True),
    Shown("my-cancelled", "/my/{cancelled}", "cancelled", phone=True),
    # Staff
    Shown("signin", "/signin"),
    Shown("forbidden", "/ops", "dispatcher", status=403),
    # The dispatch desk; the call comes first, so that the queue shows it to a colleague
    Shown("dispatch-call", "/dispatch?day={day}", "dispatcher2", steps=_call_a_customer),
    Shown("dispatch-queue", "/dispatch?day={day}", "dispatcher", dark=True),
    Shown("dispatch-move", "/dispatch?day={day}&move={jung}", "dispatcher"),
    # The technician's phone
    Shown("tech-list", "/tech?date={day}", "kim", phone=True),
    Shown("tech-job", "/tech/jobs/{scheduled}", "kim", phone=True, dark=True),
    Shown("tech-complete", "/tech/jobs/{started}", "kim", phone=True),
    Shown("tech-question", "/tech/jobs/{started}", "kim", phone=True, steps=_measure_out_of_range),
    Shown("tech-reject", "/tech/jobs/{started}", "kim", phone=True, steps=_unfold_rejection),
    Shown("tech-completed", "/tech/jobs/{completed}", "kim", phone=True),
    Shown("tech-offline", "/tech/offline", phone=True),
    # The operations desk
    Shown("ops-desk", "/ops", "operator", dark=True),
    Shown("ops-order", "/ops/orders/{completed}", "operator", dark=True),
    Shown("ops-fallout", "/ops/orders/{fallout}", "operator"),
    Shown("ops-abandon", "/ops/orders/{fallout}/abandon", "operator"),
    Shown("ops-search", "/ops/search?q=010-2345-1005", "operator"),
    Shown("ops-system", "/ops/system", "operator"),
    Shown("ops-audit", "/ops/audit", "operator"),
)


class Cookie(NamedTuple):
    """What says who looks at a page."""

    name: str
    value: str
    path: str


def cookie_of(client: Client, work: Work, who: str | None) -> Cookie | None:
    """What this person got when they signed in."""
    if who is None:
        return None
    if who in work.orders:
        return Cookie("oss_order", client.token(work.orders[who]), f"/my/{work.orders[who]}")
    return Cookie("oss_staff", client.login(who), "/")


def sign_in(context: BrowserContext, client: Client, work: Work, who: str | None) -> None:
    """Sign a person in, without the way through the sign-in page."""
    if (cookie := cookie_of(client, work, who)) is not None:
        context.add_cookies([{
            "name": cookie.name, "value": cookie.value, "path": cookie.path, "domain": "127.0.0.1",
            "secure": True, "httpOnly": True, "sameSite": "Lax",
        }])  # fmt: skip


def open_page(page: Page, shown: Shown, client: Client, work: Work) -> None:
    """Bring a page of a fresh context into that state."""
    sign_in(page.context, client, work, shown.who)
    answer = page.goto(work.path(shown.path))
    status = None if answer is None else answer.status
    assert status == shown.status, f"{shown.name}: {page.url} was answered with {status}"
    shown.steps(page, work)
    page.wait_for_load_state("load")


@contextmanager
def looking_at(browser: Browser, client: Client, work: Work, shown: Shown, lang: Lang) -> Iterator[Page]:
    """The page in that state and language, seen by somebody who was never here."""
    context = person(browser, client.url, lang, phone=shown.phone, reduced_motion="reduce")
    context.set_default_timeout(15_000)
    try:
        page = context.new_page()
        open_page(page, shown, client, work)
        yield page
    finally:
        context.close()


def pictures(shown: Shown, lang: Lang) -> dict[Scheme, Path]:
    """Where the pictures of one page in one language go; the dark one is taken in the first language only."""
    taken: dict[Scheme, Path] = {"light": FOLDER / f"{shown.name}-{lang}.png"}
    if shown.dark and lang == LANGUAGES[0]:
        taken["dark"] = FOLDER / f"{shown.name}-{lang}-dark.png"
    return taken


def take(browser: Browser, client: Client, work: Work, shown: Shown, lang: Lang) -> None:
    """Take the pictures of one page in one language."""
    with looking_at(browser, client, work, shown, lang) as page:
        for scheme, path in pictures(shown, lang).items():
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=path, full_page=True, animations="disabled", caret="hide", scale="css")
            say(str(path.relative_to(ROOT)))


def index() -> str:
    """The folder's README: every picture, by page."""
    lines = ["# Pictures of the pages", "", "Written by `make screenshots`, like this list.", "",
             "| page | who | 한국어 | English | dark |", "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for shown in SHOWN:
        korean, english = (pictures(shown, lang) for lang in LANGUAGES)
        who = "subscriber" if shown.who in CUSTOMERS else shown.who or "anyone"
        links = [f"[picture]({path.name})" if path else "" for path in (korean["light"], english["light"],
                                                                       korean.get("dark"))]  # fmt: skip
        lines.append(f"| {shown.name} | {who}{', phone' if shown.phone else ''} | {' | '.join(links)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Take the pictures; errors a person can act on are said without a traceback."""
    parser = argparse.ArgumentParser(prog="tools.screenshots", description=__doc__)
    parser.add_argument("--only", default="", help="a regular expression: only pages whose name begins like it")
    args = parser.parse_args()
    folder = ROOT / ".local" / "screenshots"
    shutil.rmtree(folder, ignore_errors=True)
    wanted = [shown for shown in SHOWN if re.match(args.only, shown.name)]
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        ensure(CHROMIUM, FONTS)
        with system_with_data(folder, say) as (_, client, work), chromium() as browser:
            for shown in wanted:
                for lang in LANGUAGES:
                    take(browser, client, work, shown, lang)
        (FOLDER / "README.md").write_text(index(), encoding="utf-8")
    except (PackagesMissing, NotInTime) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def say(text: str) -> None:
    """One line of progress."""
    print(f"» {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
