"""`make screenshots`: a picture of each page in each language, from a system with a day's work in it.

`SHOWN` is the table of all pages in all states that are worth a look; tests go through it, too.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, get_args

from playwright.sync_api import Browser, BrowserContext, Page

from tools.browser import CHROMIUM, FONTS, Lang, chromium, person
from tools.client import Client
from tools.packages import PackagesMissing, ensure
from tools.page_data import Orders, system_with_data
from tools.paths import ROOT
from tools.waiting import NotInTime

FOLDER = ROOT / "docs" / "screenshots"
LANGUAGES: tuple[Lang, ...] = get_args(Lang)


class Shown(NamedTuple):
    """A page in a state. `path` may name an order (`{scheduled}`, see tools.page_data); `who`: a staff user, or an
    order whose subscriber looks, or nobody; `steps`: what is done on the page before it is looked at."""

    name: str
    path: str
    who: str | None = None
    phone: bool = False
    steps: Callable[[Page], object] = lambda page: None
    dark: bool = False


SHOWN = (
    Shown("signin", "/signin"),
)


class Cookie(NamedTuple):
    """What says who looks at a page."""

    name: str
    value: str
    path: str


def cookie_of(client: Client, orders: Orders, who: str | None) -> Cookie | None:
    """What this person got when they signed in."""
    if who is None:
        return None
    if who in orders:
        return Cookie("oss_order", client.token(orders[who]), f"/my/{orders[who]}")
    return Cookie("oss_staff", client.login(who), "/")


def sign_in(context: BrowserContext, client: Client, orders: Orders, who: str | None) -> None:
    """Sign a person in, without the way through the sign-in page."""
    if (cookie := cookie_of(client, orders, who)) is not None:
        context.add_cookies([{
            "name": cookie.name, "value": cookie.value, "path": cookie.path, "domain": "127.0.0.1",
            "secure": True, "httpOnly": True, "sameSite": "Lax",
        }])  # fmt: skip


def open_page(page: Page, shown: Shown, client: Client, orders: Orders) -> None:
    """Bring a page of a fresh context into that state."""
    sign_in(page.context, client, orders, shown.who)
    answer = page.goto(shown.path.format(**orders))
    assert answer is not None and answer.ok, f"{shown.name}: {page.url} was answered with {answer and answer.status}"
    shown.steps(page)
    page.wait_for_load_state("load")


@contextmanager
def looking_at(browser: Browser, client: Client, orders: Orders, shown: Shown, lang: Lang) -> Iterator[Page]:
    """The page in that state and language, seen by somebody who was never here."""
    context = person(browser, client.url, lang, phone=shown.phone, reduced_motion="reduce")
    context.set_default_timeout(15_000)
    try:
        page = context.new_page()
        open_page(page, shown, client, orders)
        yield page
    finally:
        context.close()


def take(browser: Browser, client: Client, orders: Orders, shown: Shown, lang: Lang) -> list[Path]:
    """The pictures of one page in one language: a light one, and a dark one where the table asks for it."""
    taken = []
    with looking_at(browser, client, orders, shown, lang) as page:
        for scheme in ("light", "dark") if shown.dark else ("light",):
            page.emulate_media(color_scheme=scheme)
            path = FOLDER / f"{shown.name}-{lang}{'-dark' if scheme == 'dark' else ''}.png"
            page.screenshot(path=path, full_page=True, animations="disabled", caret="hide", scale="css")
            taken.append(path)
    return taken


def main() -> int:
    """Take the pictures; errors a person can act on are said without a traceback."""
    parser = argparse.ArgumentParser(prog="tools.screenshots", description=__doc__)
    parser.add_argument("--only", default="", help="only pages whose name begins with this")
    args = parser.parse_args()
    folder = ROOT / ".local" / "screenshots"
    shutil.rmtree(folder, ignore_errors=True)
    wanted = [shown for shown in SHOWN if shown.name.startswith(args.only)]
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        ensure(CHROMIUM, FONTS)
        with system_with_data(folder, say) as (_, client, orders), chromium() as browser:
            for shown in wanted:
                for lang in LANGUAGES:
                    for path in take(browser, client, orders, shown, lang):
                        say(str(path.relative_to(ROOT)))
    except (PackagesMissing, NotInTime) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def say(text: str) -> None:
    """One line of progress."""
    print(f"» {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
