"""Promises of the technician's phone where its scripts or the browser's storage are late, silent or full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.technician_phone import NO_SIGNAL, Phone, PhoneOf, a_large_picture, a_phone, job_of
from tests.harness.client import Client, Json
from tools.waiting import wait_until

__all__ = ["a_phone"]

Scheduled = Callable[..., Json]

SCRIPTS = Path(__file__).parents[2] / "gateway_svc" / "static" / "js"

SLOW_STORAGE = """() => {
    const open = IDBFactory.prototype.open;
    IDBFactory.prototype.open = function (...args) {
        const asked = {};
        window.answerStorage = () => {
            const request = open.apply(this, args);
            for (const name of ["onupgradeneeded", "onsuccess"]) {
                request[name] = () => {
                    asked.result = request.result;
                    asked[name]();
                };
            }
        };
        return asked;
    };
}"""
"""The browser's storage says nothing until `answerStorage()` is called."""


PARTS = {path.name for path in SCRIPTS.glob("technician*.js")} - {"technician-sw.js"}
LOADED = "() => performance.getEntriesByType('resource').map((entry) => entry.name.split('/').at(-1))"


@dataclass
class LateScripts:
    """A phone that shows a job, and a part of its scripts that is on its way still."""

    phone: Phone
    script: Route


LateScriptsOf = Callable[[Json], LateScripts]


@pytest.fixture
def late_scripts(new_page: Callable[..., Page], sign_in: Callable[[Page, str], None]) -> LateScriptsOf:
    """`late_scripts(order)`: kim has the order's job open, as on a first visit: no service worker has the script."""

    def opened(order: Json) -> LateScripts:
        page = new_page(phone=True, expected=NO_SIGNAL)
        page.add_init_script("delete Navigator.prototype.serviceWorker")
        sign_in(page, "kim")
        page.wait_for_url("**/tech*")
        asked: list[Route] = []
        # Not `times=1`: with its last route gone, Chromium lets go of a request that is still held.
        page.route("**/js/technician-view.js", lambda route: route.continue_() if asked else asked.append(route))
        page.goto(f"/tech/jobs/{order['order_id']}", wait_until="commit")
        expect(page.locator("form[data-entry=start] button")).to_be_visible()
        wait_until(lambda: PARTS - set(page.evaluate(LOADED)) == {"technician-view.js"}, "all other scripts are there")
        return LateScripts(Phone(page), asked[0])

    return opened


def test_a_tap_before_the_scripts_have_run_is_kept_without_signal(
    client: Client, late_scripts: LateScriptsOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    late = late_scripts(order)
    answer = late.script.fetch()
    late.phone.lose_signal()
    late.phone.page.locator("form[data-entry=start] button").click()
    late.script.fulfill(response=answer)
    late.phone.shows_kept(1)
    late.phone.regain_signal()
    wait_until(lambda: job_of(client, order)["state"] == "started", "the entry is sent")


def test_a_picture_taken_before_the_scripts_have_run_is_sent(
    client: Client, late_scripts: LateScriptsOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    late = late_scripts(order)
    file = {"name": "a.png", "mimeType": "image/png", "buffer": a_large_picture(400, 300)}
    late.phone.page.locator("#photo").set_input_files(files=[file])
    late.script.continue_()
    wait_until(lambda: job_of(client, order)["photos"] == 1, "the picture is sent")


def test_a_tap_is_sent_as_it_is_where_the_scripts_do_not_come(
    client: Client, late_scripts: LateScriptsOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    late = late_scripts(order)
    late.phone.page.locator("form[data-entry=start] button").click()
    assert job_of(client, order)["state"] == "assigned"
    late.script.abort()
    late.phone.page.wait_for_url("**?notice=job-started")
    assert job_of(client, order)["state"] == "started"


def test_a_tap_before_the_storage_has_answered_is_kept_without_signal(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(expected=NO_SIGNAL)
    phone.page.add_init_script(f"({SLOW_STORAGE})()")
    phone.enter_dead_spot(order)
    phone.page.locator("form[data-entry=start] button").click()
    phone.page.evaluate("answerStorage()")
    phone.shows_kept(1)
    expect(phone.page.locator("form[data-entry=complete]")).to_be_visible()
    phone.regain_signal()
    wait_until(lambda: job_of(client, order)["state"] == "started", "the entry is sent")


def test_a_phone_whose_storage_says_nothing_sends_the_form_as_it_is(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone()
    phone.page.add_init_script(f"({SLOW_STORAGE})()")
    phone.open_job(order["order_id"])
    phone.page.locator("form[data-entry=start] button").click()
    phone.page.wait_for_url("**?notice=job-started")
    assert job_of(client, order)["state"] == "started"


def test_a_phone_without_room_sends_the_form_as_it_is(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone()
    phone.page.add_init_script(
        "IDBObjectStore.prototype.put = () => { throw new DOMException('no room', 'QuotaExceededError'); }"
    )
    phone.open_job(order["order_id"])
    phone.start()
    phone.page.wait_for_url("**?notice=job-started")
    assert job_of(client, order)["state"] == "started"
