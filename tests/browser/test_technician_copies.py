"""Promises of the copies of pages on the technician's phone: which there are, and that none is lost to a worse one."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Worker, expect

from tests.browser.technician_phone import NO_SIGNAL, WAITS_MS, Phone, PhoneOf, a_phone
from tests.harness.client import Client, Json
from tools.waiting import wait_until

__all__ = ["a_phone"]

Scheduled = Callable[..., Json]

AN_ANSWER = """
    const now = new Date().toUTCString();
    const usual = { "Oss-Kept-For": "tech-kim", Date: now };
    const answer = (body, headers = {}) => new Response(body, { headers: { ...usual, ...headers } });
    const text = async (url) => (await copyOf(url))?.text();
    const url = `${self.location.origin}/tech/jobs/1`;
    const long_ago = new Date(Date.now() - 72 * 3600 * 1000).toUTCString();
"""
"""What the tests inside the service worker begin with."""

BREAKING_OFF = """
    const breakingOff = () => {
        let begun = false;
        return new ReadableStream({ pull(into) {
            if (begun) into.error(new Error("no signal"));
            else into.enqueue(new TextEncoder().encode("<!doctype html><title>half a"));
            begun = true;
        } }, { highWaterMark: 0 });
    };
"""
"""A body of which the first part comes."""


def service_worker(phone: Phone) -> Worker:
    """The phone's service worker, once the open page's requests go through it."""
    phone.page.wait_for_function("() => navigator.serviceWorker.controller?.state === 'activated'", timeout=WAITS_MS)
    (worker,) = phone.page.context.service_workers
    return worker


def inside(phone: Phone, script: str) -> object:
    """What this body of an asynchronous function returns in the phone's service worker."""
    return service_worker(phone).evaluate(f"async () => {{ {AN_ANSWER} {BREAKING_OFF} {script} }}")


def test_the_list_that_a_job_goes_back_to_is_there_though_it_was_never_opened(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client, on_an_open_day=True)
    phone = a_phone(expected=NO_SIGNAL)
    phone.open_job(order["order_id"])
    phone.has_copies(order)
    phone.lose_signal()
    phone.page.locator("a.back").click()
    expect(phone.page.locator(f"#jobs [data-order='{order['order_id']}']")).to_be_visible()


def test_a_page_that_was_loaded_past_the_service_worker_goes_through_it_all_the_same(a_phone: PhoneOf) -> None:
    phone = a_phone()
    service_worker(phone)
    phone.page.context.new_cdp_session(phone.page).send("Page.reload", {"ignoreCache": True})
    phone.page.wait_for_function("() => performance.getEntriesByType('navigation')[0].type === 'reload'")
    service_worker(phone)


def test_what_a_busy_server_did_not_give_is_asked_for_again(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone()
    inside(phone, """
        const network = self.fetch;
        self.refused = 0;
        self.fetch = (wanted, ...more) => {
            if (!(wanted.url ?? wanted).includes("/tech/jobs/")) return network(wanted, ...more);
            self.refused += 1;
            return Promise.resolve(new Response("busy", { status: 503 }));
        };
        self.getBetter = () => { self.fetch = network; };
        await caches.delete("technician-pages-tech-kim"); // the list of today may have led to the job
    """)
    phone.open_day(order)
    expect(phone.page.locator(".live.on")).to_be_attached(timeout=WAITS_MS)
    wait_until(lambda: inside(phone, "return self.refused > 0"), "the job's page is asked for, and refused")
    inside(phone, "self.getBetter();")
    phone.has_copies(order)


def test_a_page_of_which_half_comes_is_shown_as_it_was_kept(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(expected=NO_SIGNAL)
    phone.open_day(order)
    phone.has_copies(order)
    inside(phone, "self.fetch = () => Promise.resolve(answer(breakingOff(), { 'Content-Type': 'text/html' }));")
    phone.open_job(order["order_id"])


def test_a_copy_outlives_a_newer_answer_that_breaks_off(a_phone: PhoneOf) -> None:
    kept = inside(a_phone(), """
        await keep(url, answer("all of it"));
        await keep(url, answer(breakingOff())).catch(() => {});
        return text(url);
    """)
    assert kept == "all of it"


def test_a_copy_is_kept_by_a_phone_whose_clock_is_days_ahead(a_phone: PhoneOf) -> None:
    kept = inside(a_phone(), """
        await keep(url, answer("new", { Date: long_ago }));
        await keep(`${url}2`, answer("another", { Date: long_ago }));
        return text(url);
    """)
    assert kept == "new"


def test_tidying_an_old_copy_away_never_takes_the_new_one(a_phone: PhoneOf) -> None:
    kept = inside(a_phone(), """
        const pages = await caches.open("technician-pages-tech-kim");
        const match = Cache.prototype.match;
        Cache.prototype.match = async function (wanted) { // the storage of a slow phone
            const copy = await match.call(this, wanted);
            await new Promise((resolve) => setTimeout(resolve, 100));
            return copy;
        };
        await pages.put(url, answer("old", { Date: long_ago }));
        const tidying = keep(`${url}2`, answer("another"));
        while (!await match.call(pages, `${url}2`)) continue;
        await Promise.all([tidying, keep(url, answer("new"))]);
        return text(url);
    """)
    assert kept == "new"


def test_looking_through_weeks_ahead_leaves_the_copies_of_today(a_phone: PhoneOf) -> None:
    kept = inside(a_phone(), """
        await keep(url, answer("today"));
        for (let other = 0; other < 120; other += 1) await keep(`${url}-${other}`, answer("ahead"));
        return text(url);
    """)
    assert kept == "today"


def test_an_answer_that_is_on_its_way_while_somebody_signs_out_is_not_kept(a_phone: PhoneOf) -> None:
    left = inside(a_phone(), """
        let come;
        const late = new Promise((resolve) => { come = () => resolve(answer("late")); });
        const nothing = new Promise(() => {});
        self.fetch = (wanted) => (`${wanted.url ?? wanted}`.endsWith("/jobs/1") ? late : nothing);
        const keeping = keepAll([url]);
        await forget();
        come();
        await keeping;
        return (await caches.keys()).filter((name) => name.startsWith("technician-pages-"));
    """)
    assert left == []
