"""A browser for one test: fresh contexts, and a record of whatever a page must not do.

A page must not log an error, break its content security policy, let an exception through, or talk to another host.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, Response

from tools.browser import Lang, Line, person, slow_line, slow_processor

PATIENCE_MS = 15_000

_NOT_LOADED = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")
_OFFLINE = "net::ERR_INTERNET_DISCONNECTED"
# What a page does on purpose may be refused, and the page says so: a form, or a call of its own code.
_MAY_BE_REFUSED = ("document", "fetch", "xhr")


def put_out_of_sight(page: Page) -> None:
    """As behind another tab for a quarter of a minute: to this browser, every tab is in sight. Needs `page.clock`."""
    _become(page, "hidden")
    page.clock.run_for(15_000)


def look_at(page: Page) -> None:
    """The tab that was out of sight is in front again."""
    _become(page, "visible")


def _become(page: Page, state: str) -> None:
    page.evaluate("""state => {
        Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }""", state)


@dataclass
class Visitor:
    """One browser context, that is one person: cookies and storage of their own."""

    context: BrowserContext
    host: str
    expected: Sequence[str] = ()
    traced: bool = True
    problems: list[str] = field(default_factory=list)
    _kinds: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.context.on("request", self._requested)
        self.context.on("response", self._answered)
        self.context.on("console", self._logged)
        self.context.on("weberror", lambda error: self._problem(f"an exception got through: {error.error}"))

    def _problem(self, text: str) -> None:
        if not any(re.search(pattern, text) for pattern in self.expected):
            self.problems.append(text)

    def _requested(self, request: Request) -> None:
        place = urlsplit(request.url)
        if place.scheme in ("http", "https", "ws", "wss") and place.netloc != self.host:
            self._problem(f"a request went to another host: {request.url}")

    def _answered(self, response: Response) -> None:
        self._kinds[response.url] = response.request.resource_type
        if response.status >= 500:
            self._problem(f"{response.request.method} {response.url} was answered with {response.status}")

    def _logged(self, message: ConsoleMessage) -> None:
        if message.type != "error" or _OFFLINE in message.text:
            return
        url = message.location.get("url", "")
        refused = _NOT_LOADED.match(message.text)
        if refused and (int(refused[1]) >= 500 or self._kinds.get(url) in _MAY_BE_REFUSED):
            return  # 5xx are told by `_answered`, with their method
        self._problem(f"the console has an error: {message.text} ({url})")


class Visitors:
    """Everybody who looks at the pages in one test. `folder` gets pictures and traces of a test that failed."""

    def __init__(self, browser: Browser, base_url: str, folder: Path) -> None:
        self._browser = browser
        self._base_url = base_url
        self._folder = folder
        self._all: list[Visitor] = []

    def new_page(
        self,
        lang: Lang = "ko",
        *,
        phone: bool = False,
        javascript: bool = True,
        cpu_slowdown: float | None = None,
        network: Line | None = None,
        expected: Sequence[str] = (),
        traced: bool = True,
    ) -> Page:
        """A page in a fresh context. `expected`: regular expressions of problems that this test provokes.

        A trace costs nearly half as much again, and says little of a page that is only looked at: `traced`.
        """
        context = person(self._browser, self._base_url, lang, phone=phone, java_script_enabled=javascript)
        context.set_default_timeout(PATIENCE_MS)
        if traced:
            context.tracing.start(snapshots=True)
        self._all.append(Visitor(context, urlsplit(self._base_url).netloc, expected, traced))
        page = context.new_page()
        if cpu_slowdown is not None:
            slow_processor(page, cpu_slowdown)
        if network is not None:
            slow_line(page, network)
        return page

    def check(self) -> None:
        """Raises AssertionError where a page did what it must not."""
        problems = [problem for visitor in self._all for problem in self._problems(visitor)]
        assert not problems, "\n".join(["the pages misbehaved:", *dict.fromkeys(problems)])

    def _problems(self, visitor: Visitor) -> list[str]:
        # A round trip: what the browser told before it has been heard. Of a closed context all has been heard.
        with suppress(Error):
            visitor.context.cookies()
        return visitor.problems

    def keep_evidence(self) -> list[Path]:
        """Write a picture of every open page and a trace of every context; returns the files."""
        return [path for number, visitor in enumerate(self._all, 1) for path in self._evidence(visitor, number)]

    def _evidence(self, visitor: Visitor, number: int) -> Iterator[Path]:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            for at, page in enumerate(visitor.context.pages, 1):
                path = self._folder / f"visitor-{number}-page-{at}.png"
                page.screenshot(path=path, full_page=True)
                yield path
            if visitor.traced:
                trace = self._folder / f"visitor-{number}-trace.zip"
                visitor.context.tracing.stop(path=trace)
                yield trace
        except Error as error:
            note = self._folder / f"visitor-{number}.txt"
            note.write_text(f"no more to be had: {error}\n")
            yield note

    def leave(self) -> None:
        """Close every context."""
        for visitor in self._all:
            visitor.context.close()
