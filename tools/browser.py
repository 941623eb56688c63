"""The browser for tests and pictures: the system's Chromium, driven by Playwright, in a profile of its own each time.

Playwright's own browsers are not used: they come from a download that a closed network does not have.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tools.packages import Server, ensure

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
