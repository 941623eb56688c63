"""Promises of the copies of pages on the technician's phone: which there are, and that none is lost to a worse one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import Page, Worker, expect

from tests.browser.technician_phone import NO_SIGNAL, WAITS_MS, Phone, PhoneOf, a_phone, happened
from tests.harness.browser_orders import day_of
from tests.harness.client import Client, Json
from tools.browser import Lang
from tools.system import System
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
        await forget(); // the list of today may have led to the job
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
    phone.open_day_with_copies(order)
    inside(phone, "self.fetch = () => Promise.resolve(answer(breakingOff(), { 'Content-Type': 'text/html' }));")
    phone.open_job(order["order_id"])


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_with_field_work_down_work_goes_on_with_the_copies_and_is_sent_once_when_it_is_back(
    lang: Lang, system: System, client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled,
    axe: Callable[[Page], None],
) -> None:  # fmt: skip
    order = a_scheduled_order(client, on_an_open_day=True)
    order_id = order["order_id"]
    phone = a_phone(lang, expected=["was answered with 503"])
    phone.open_day_with_copies(order)
    with system.stopped("fieldwork"):
        phone.open_job(order_id)
        phone.says_that_it_may_be_out_of_date()
        axe(phone.page)
        phone.start()
        phone.fill()
        phone.send_results()
        phone.shows_kept(2)
        phone.open_day(order)
        listed = phone.page.locator(f"#jobs [data-order='{order_id}']")
        expect(listed).to_be_visible()
        phone.says_that_it_may_be_out_of_date()
        expect(listed).to_be_visible()
    phone.shows_kept(0)
    expect(phone.page.locator(f"#jobs .completed[data-order='{order_id}']")).to_be_visible(timeout=WAITS_MS)
    expect(phone.page.locator("[data-signal]")).to_be_hidden(timeout=WAITS_MS)
    client.wait_for_status(order_id, "completed")
    assert happened(client, order_id, "fieldwork_completed") == 1


def test_an_open_list_is_not_replaced_by_one_that_could_not_be_loaded(
    system: System, client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(expected=["was answered with 503"])
    phone.open_day(order)
    expect(phone.page.locator(".live.on")).to_be_attached(timeout=WAITS_MS)
    with system.stopped("fieldwork"):
        phone.look_again()
        phone.says_that_it_may_be_out_of_date()
        expect(phone.page.locator(f"#jobs [data-order='{order['order_id']}']")).to_be_visible()
    expect(phone.page.locator("[data-signal]")).to_be_hidden(timeout=WAITS_MS)


@pytest.mark.parametrize("status", [429, 502, 503])
def test_where_the_server_cannot_give_a_page_its_copy_is_shown(
    status: int, client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(expected=[f"was answered with {status}"])
    phone.open_day_with_copies(order)
    inside(phone, f"self.fetch = () => Promise.resolve(new Response('from a proxy', {{ status: {status} }}));")
    phone.open_job(order["order_id"])
    phone.says_that_it_may_be_out_of_date()


def test_a_copy_says_that_it_is_one_however_late_the_scripts_come(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone()
    phone.open_day_with_copies(order)
    inside(phone, """
        self.fetch = () => Promise.resolve(new Response("from a proxy", { status: 429 }));
        const plain = self.asset;
        self.asset = async (request) => { // the storage of a slow phone
            if (request.url.endsWith("/technician-view.js")) await new Promise((resolve) => setTimeout(resolve, 2000));
            return plain(request);
        };
    """)
    phone.open_job(order["order_id"])
    phone.says_that_it_may_be_out_of_date()


def test_a_copy_of_another_technicians_page_is_not_shown_to_who_has_signed_in(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(expected=["was answered with 503"])
    phone.open_day_with_copies(order)
    inside(phone, """
        const headers = { "Oss-Kept-For": "tech-lee", "Content-Type": "text/html" };
        const body = '<link rel="icon" href="data:,">for lee';
        self.fetch = () => Promise.resolve(new Response(body, { status: 503, headers }));
    """)
    phone.page.goto(f"/tech/jobs/{order['order_id']}")
    expect(phone.page.locator("body")).to_have_text("for lee")


def test_an_open_list_of_today_becomes_that_of_the_next_day_at_midnight_whole(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone("en")
    phone.open_day(order)
    page = phone.page
    expect(page.locator(".live.on")).to_be_attached(timeout=WAITS_MS)
    job = page.locator(f"#jobs [data-order='{order['order_id']}']")
    expect(job).to_be_visible()
    next_day, day_after = (day_of(order) + timedelta(days=later) for later in (1, 2))
    inside(phone, f"""
        const network = self.fetch;
        const isList = (wanted) => new URL(wanted.url ?? wanted).pathname === "/tech";
        self.fetch = (wanted, ...more) => network(isList(wanted) ? "/tech?date={next_day}" : wanted, ...more);
    """)
    phone.look_again()
    expect(job).to_have_count(0)
    expect(page.locator("h1")).to_contain_text(f"{next_day:%b} {next_day.day}")
    expect(page.locator(".day a").last).to_have_attribute("href", f"/tech?date={day_after}")
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    expect(page.locator("[data-said]")).to_be_empty()


def test_a_copy_outlives_an_answer_that_there_is_no_page_now(a_phone: PhoneOf) -> None:
    kept = inside(a_phone(), """
        await keep(url, answer("all of it"));
        await keep(url, new Response("no page", { status: 503, headers: usual }));
        return text(url);
    """)
    assert kept == "all of it"


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
