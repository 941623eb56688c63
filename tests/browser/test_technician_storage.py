"""Promises of the technician's phone where the browser's storage is late, silent or full."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.technician_phone import NO_SIGNAL, PhoneOf, a_phone, job_of
from tests.harness.client import Client, Json
from tools.waiting import wait_until

__all__ = ["a_phone"]

Scheduled = Callable[..., Json]

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
