"""A technician with a phone, as the tests of `/tech` need one."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.harness.browser_orders import day_of
from tests.harness.client import Client, Json
from tools.browser import Lang
from tools.visits import first_window
from tools.waiting import wait_until

GOOD = {"ont_serial": "HFRN1234ABCD", "rx_power_dbm": "19.5", "down_mbps": "487"}
WAITS_MS = 20_000
NO_SIGNAL = ["net::ERR_FAILED"]
"""What Chromium logs when a service worker has no network either."""


@dataclass
class Phone:
    """One phone; `page` is the open page."""

    page: Page

    def open_day(self, order: Json) -> None:
        """The list of the day on which the order's visit is."""
        self.page.goto(f"/tech?date={day_of(order)}")

    def open_job(self, order_id: str) -> None:
        self.page.goto(f"/tech/jobs/{order_id}")
        expect(self.page.locator(f"#job[data-order='{order_id}']")).to_be_visible()

    def start(self) -> None:
        self.page.locator("form[data-entry=start] button").click()
        expect(self.page.locator("form[data-entry=complete]")).to_be_visible()

    def fill(self, **values: str) -> None:
        """The checklist; what is not given is as it should be."""
        for name, value in (GOOD | values).items():
            self.page.locator(f"#{name}").fill(value)

    def send_results(self) -> None:
        self.page.locator("form[data-entry=complete] button[type=submit]").click()

    def reject(self, code: str, note: str = "") -> None:
        if not self.page.locator("form[data-entry=reject]").is_visible():
            self.page.locator("summary").click()
        self.page.locator(f"[name=reason_code][value={code}]").check()
        self.page.locator("#reject-note").fill(note)
        self.page.locator("form[data-entry=reject] button[type=submit]").click()

    def has_copies(self, order: Json) -> None:
        """Wait until the phone has copies of the order's job and of its day.

        Either comes without the other: the list of today leads to the job as well.
        """
        self.has_copies_of(f"/tech?date={day_of(order)}", f"/tech/jobs/{order['order_id']}")

    def has_copies_of(self, *paths: str) -> None:
        """Wait until the phone has copies of these pages."""
        # Not by wait_for_function: to it the promise of an asynchronous function is as good as true.
        wait_until(lambda: set(paths) <= set(self._copies()), f"the phone has copies of {', '.join(paths)}")

    def _copies(self) -> list[str]:
        """Paths, with their queries, of the pages of which the phone has copies."""
        paths: list[str] = self.page.evaluate("""async () => {
            const names = (await caches.keys()).filter((name) => name.startsWith("technician-pages-"));
            const found = await Promise.all(names.map(async (name) => (await caches.open(name)).keys()));
            return found.flat().map((request) => request.url.slice(location.origin.length));
        }""")
        return paths

    def open_day_with_copies(self, order: Json) -> None:
        """The list of the day, until the phone has copies of it and of the order's job."""
        self.open_day(order)
        self.has_copies(order)

    def enter_dead_spot(self, order: Json) -> None:
        """Open the order's job, and lose the signal."""
        self.open_day_with_copies(order)
        self.open_job(order["order_id"])
        self.lose_signal()

    def look_again(self) -> None:
        """Have the page ask for itself anew, as when it comes back from the browser's history."""
        self.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")

    def lose_signal(self) -> None:
        self.page.context.set_offline(True)

    def regain_signal(self) -> None:
        self.page.context.set_offline(False)

    def says_that_it_may_be_out_of_date(self) -> None:
        expect(self.page.locator("[data-signal] [data-when=no-answer]")).to_be_visible(timeout=WAITS_MS)
        expect(self.page.locator("[data-as-of]")).not_to_be_empty()

    def shows_kept(self, count: int) -> None:
        """So many entries are on this phone, and the page says so."""
        expect(self.page.locator("#kept [data-entry-id]")).to_have_count(count, timeout=WAITS_MS)
        expect(self.page.locator("#kept")).to_be_visible(visible=count > 0)

    def shows_state(self, state: str) -> None:
        expect(self.page.locator(f"#job[data-state={state}]")).to_be_visible(timeout=WAITS_MS)


PhoneOf = Callable[..., Phone]


@pytest.fixture
def a_phone(new_page: Callable[..., Page], sign_in: Callable[[Page, str], None]) -> PhoneOf:
    """`a_phone("en", who="lee")`: somebody's phone, signed in."""

    def signed_in(lang: Lang = "ko", who: str = "kim", **options: object) -> Phone:
        page = new_page(lang, phone=True, **options)
        sign_in(page, who)
        page.wait_for_url("**/tech*")
        return Phone(page)

    return signed_in


def move(client: Client, order: Json, technician: str) -> None:
    """The desk moves the visit: to kim at the time it was first fixed for, to somebody else whenever they can come."""
    order_id, technician_id = order["order_id"], f"tech-{technician}"

    def moved() -> bool:
        window = order["visit"] if technician == "kim" else first_window(client, order_id, technician_id)
        body = {name: window[name] for name in ("window_start", "window_end")} | {"technician_id": technician_id}
        path = f"/api/visits/{order_id}/appointment"
        return client.request("PUT", path, as_="dispatcher", json=body).status_code == 200

    wait_until(moved, f"the visit is {technician}'s")


def happened(client: Client, order_id: str, event: str) -> int:
    """How often the order's timeline holds the event."""
    return [entry["event"] for entry in client.order(order_id)["timeline"]].count(event)


def job_of(client: Client, order: Json, as_: str = "dispatcher") -> Json:
    """The job as the desk sees it."""
    jobs = client.call("GET", f"/api/jobs?date={day_of(order)}&limit=200", as_=as_)["items"]
    return next(job for job in jobs if job["order_id"] == order["order_id"])


def a_large_picture(width: int = 3000, height: int = 2000) -> bytes:
    """A PNG of that size, as a camera would make it larger than what is sent."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + bytes(value % 256 for value in range(width * 3))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(row * height, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def small_targets(page: Page) -> list[Any]:
    """Buttons, fields and links that stand alone in the main part and are lower than 44 px."""
    found: list[Any] = page.evaluate("""() =>
        [...document.querySelectorAll("main :is(button, .button, input, textarea, summary, .choice, .job > a, .back)")]
        .filter((element) => !["hidden", "radio", "checkbox"].includes(element.type))
        .filter((element) => element.checkVisibility() && element.getBoundingClientRect().height < 44)
        .map((element) => [element.outerHTML.slice(0, 80), element.getBoundingClientRect().height])""")
    return found
