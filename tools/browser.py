"""The browser for tests and pictures: the system's Chromium, driven by Playwright, in a profile of its own each time.

Playwright's own browsers are not used: they come from a download that a closed network does not have.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tools.packages import Server, ensure

Lang = Literal["ko", "en"]
LOCALES: dict[Lang, str] = {"ko": "ko-KR", "en": "en-GB"}
WIDE: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True,
}  # fmt: skip

# Korean text is a row of boxes without a font that has it.
_KOREAN_FONTS = ("truetype/nanum", "nanum", "opentype/noto/NotoSansCJK-Regular.ttc", "noto-cjk", "google-noto-cjk")
_FONT_PLACES = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    # Root may not use Chromium's sandbox, and the pages are our own.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # Nothing leaves the machine: no updates, no field trials, no synchronisation.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> Path | None:
    """The system's Chromium, or None. CHROMIUM names another one."""
    if named := os.environ.get("CHROMIUM"):
        return Path(named)
    found = (shutil.which(name) for name in _NAMES)
    return next((Path(path) for path in found if path), None)


def has_korean_font() -> bool:
    """Whether one of the usual Korean fonts is installed; where fonts lie elsewhere, CHROMIUM says enough."""
    if "CHROMIUM" in os.environ:
        return True
    return any((place / name).exists() for place in _FONT_PLACES for name in _KOREAN_FONTS)


CHROMIUM = Server(
    "Chromium",
    ("chromium",),
    lambda: find_chromium() is not None,
    "Or name a Chromium or Chrome in CHROMIUM.",
)
FONTS = Server("a Korean font", ("fonts-nanum",), has_korean_font, "Any font with Hangul does.")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium without a window, with an empty profile that goes with it. Raises PackagesMissing.

    Playwright's sync API keeps an event loop of its own in this thread: not for a process that eventlet has patched.
    """
    ensure(CHROMIUM, FONTS)
    with sync_playwright() as playwright:
        # Without a user_data_dir Playwright makes one in the temporary folder and removes it at the end.
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def person(browser: Browser, base_url: str, lang: Lang, *, phone: bool = False, **options: Any) -> BrowserContext:
    """A fresh context: somebody in Korea with that language, at a wide screen or with a phone, who was never here."""
    screen = PHONE if phone else WIDE
    return browser.new_context(
        base_url=base_url, locale=LOCALES[lang], timezone_id="Asia/Seoul", **screen, **options
    )  # fmt: skip


class Line(NamedTuple):
    """A slow line: round trip in ms, throughput in kbit/s."""

    rtt_ms: float
    down_kbps: float
    up_kbps: float


SLOW_PHONE = Line(rtt_ms=150, down_kbps=1600, up_kbps=750)
SLOW_PROCESSOR = 4.0


def slow_processor(page: Page, times: float) -> None:
    """Slow the page's processor down, as the browser's developer tools do."""
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": times})


def slow_line(page: Page, line: Line) -> None:
    """Slow the page's line down, as the browser's developer tools do."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", {
        "offline": False,
        "latency": line.rtt_ms,
        "downloadThroughput": line.down_kbps * 1000 / 8,
        "uploadThroughput": line.up_kbps * 1000 / 8,
    })  # fmt: skip
