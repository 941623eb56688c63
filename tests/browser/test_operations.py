"""The operator's day: what needs a person is found, understood and mended, and nothing is hidden by who is away."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection
from nameko.standalone.rpc import ClusterRpcProxy
from playwright.sync_api import Locator, Page, expect

from contracts.events import ActivationCompleted, Event
from contracts.ids import new_id
from gateway_svc.pages.formats import order_number
from gateway_svc.pages.texts import Language, texts
from tests.harness.client import RESULTS, Client, an_order, internet
from tests.harness.network import without_profile
from tests.harness.orders import an_event, place_order
from tools.system import System
from tools.waiting import wait_until

both_languages = pytest.mark.parametrize("lang", ["ko", "en"])
NewPage = Callable[..., Page]
SignIn = Callable[[Page, str], None]
Axe = Callable[[Page], None]
OpenDesk = Callable[..., Page]


@pytest.fixture
def open_desk(new_page: NewPage, sign_in: SignIn) -> OpenDesk:
    """`open_desk("en")`: the desk of an operator who has just signed in."""

    def opened(lang: Language = "ko", **options: Any) -> Page:
        page = new_page(lang, **options)
        sign_in(page, "operator")
        page.wait_for_url("**/ops")
        return page

    return opened


@pytest.fixture
def fallout(system: System, client: Client) -> str:
    """An order that an element refused for good; by now the element would take it."""
    with without_profile(system, "internet-100"):
        order_id = str(client.place(an_order(items=[internet("internet-100")]))["order_id"])
        client.wait_for_status(order_id, "fallout")
    return order_id


def case_of(page: Page, order_id: str) -> Locator:
    """The order's case on the desk."""
    return page.locator("#ops-fallout li").filter(has_text=order_number(order_id))


def find(page: Page, what: str) -> None:
    page.locator("#q").fill(what)
    page.locator("#q").press("Enter")


def now_at(page: Page) -> Locator:
    """The step that the picture shows as the present one."""
    return page.locator(".ops-saga .step.now .name")


def park(system: System, event: Event | bytes) -> str:
    """Hand the order service a message that it cannot handle; its id, once it is parked."""
    message_id = str(uuid4()) if isinstance(event, bytes) else event.message_id
    body = event if isinstance(event, bytes) else event.encode()
    with Connection(system.amqp_uri) as connection, connection.Producer() as producer:
        producer.publish(body, routing_key="order.events", message_id=message_id, content_type="application/json")
    parked = "select 1 from parked_messages where id = :id"
    wait_until(lambda: system.db("order", parked, id=message_id), "the message is parked")
    return message_id


@both_languages
def test_a_fallout_case_is_found_understood_retried_and_done(
    open_desk: OpenDesk, client: Client, axe: Axe, fallout: str, lang: Language
) -> None:
    t = texts(lang)
    page = open_desk(lang)
    case = case_of(page, fallout)
    expect(case).to_contain_text("internet-100")
    expect(page.locator("#ops-risk")).to_contain_text(order_number(fallout))
    case.locator("summary").click()
    expect(case.locator(".ops-tried li").first).to_be_visible()
    axe(page)

    find(page, order_number(fallout))
    page.wait_for_url(f"**/ops/orders/{fallout}")
    expect(now_at(page)).to_have_text(t("ops-saga-fallout"))
    expect(page.locator("#ops-saga-words")).to_contain_text(t("ops-saga-placed"))
    expect(page.locator("#ops-timeline tr.attempt").first).to_contain_text("internet-100")
    axe(page)

    page.get_by_role("button", name=t("ops-retry"), exact=True).click()
    expect(page.locator("#notice")).to_have_text(t("notice-ops-retried"))
    expect(now_at(page)).to_have_text(t("ops-saga-activated"))
    expect(page.locator("#ops-head .badge")).to_have_text(t("status-activated"))
    expect(page.locator("#ops-timeline")).to_contain_text(t("ops-action-retry-fallout-case"))
    page.goto("/ops")
    expect(case_of(page, fallout)).to_have_count(0)
    client.cancel(fallout)


@both_languages
def test_giving_up_says_what_it_means_and_ends_the_order(
    open_desk: OpenDesk, client: Client, axe: Axe, fallout: str, lang: Language
) -> None:
    t = texts(lang)
    page = open_desk(lang)
    case_of(page, fallout).get_by_role("link", name=t("ops-abandon")).click()
    expect(page.get_by_text(t("ops-abandon-means"))).to_be_visible()
    axe(page)
    page.locator("#reason").fill("duplicate")
    page.get_by_role("button", name=t("ops-abandon-sure")).click()
    expect(page.locator("#notice")).to_have_text(t("notice-ops-abandoned"))
    expect(now_at(page)).to_have_text(t("ops-saga-cancelled"))
    client.wait_for_status(fallout, "cancelled")


@both_languages
def test_a_parked_message_is_replayed_and_another_is_dropped(
    system: System, open_desk: OpenDesk, axe: Axe, lang: Language
) -> None:
    t = texts(lang)
    # The order service does not know the order yet, so it cannot take in what became of it.
    order_id = new_id()
    healing = park(system, an_event(ActivationCompleted, order_id))
    poison = park(system, b'{"event_type": "no_such_event", "phone": "010-1234-5678"}')
    page = open_desk(lang)
    rows = page.locator("#ops-parked tbody tr")
    row = rows.filter(has=page.locator(f'form[action*="{healing}"]'))
    expect(row).to_contain_text("does not expect 'activation_completed'")
    axe(page)

    with ClusterRpcProxy({"AMQP_URI": system.amqp_uri}, timeout=30) as cluster:
        cluster.order.place_orders([place_order(order_id)])
    row.get_by_role("button").click()
    expect(page.locator("#notice")).to_have_text(t("notice-ops-replayed"))
    expect(row).to_have_count(0)
    taken = "select 1 from inbox where message_id = :id"
    wait_until(lambda: system.db("order", taken, id=healing), "the replayed message takes effect")

    rows.filter(has=page.locator(f'form[action*="{poison}"]')).get_by_role("link", name=t("ops-drop")).click()
    expect(page.get_by_text(t("ops-drop-means"))).to_be_visible()
    page.locator("summary").click()
    expect(page.locator(".ops-body")).to_contain_text("010-****-5678")
    axe(page)
    page.get_by_role("button", name=t("ops-drop-sure"), exact=True).click()
    page.wait_for_url("**/ops?notice=ops-dropped")
    expect(page.locator(f'form[action*="{poison}"]')).to_have_count(0)
    assert system.db("order", "select 1 from parked_messages where id = :id", id=poison) == []
    page.goto("/ops/audit?username=operator")
    expect(page.locator("tbody tr").first).to_contain_text(poison)


def test_orders_are_found_by_number_phone_and_serial(open_desk: OpenDesk, client: Client) -> None:
    serial = f"HFRN{uuid4().hex[:8].upper()}"
    phone = f"010-{int(uuid4()) % 9000 + 1000}-{int(uuid4()) % 10000:04}"
    order_id = str(client.place(an_order(phone=phone))["order_id"])
    client.schedule(order_id)
    client.complete(order_id, results=RESULTS | {"ont_serial": serial})
    client.wait_for_status(order_id, "completed")
    page = open_desk("en")
    for typed in (order_id, order_number(order_id), order_id[-12:], phone, phone.replace("-", ""), serial.lower()):
        page.goto("/ops")
        find(page, typed)
        page.wait_for_url(f"**/ops/orders/{order_id}")
    second = str(client.place(an_order(phone=phone))["order_id"])
    client.wait_for_status(second, "activated")
    find(page, phone)
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("main")).not_to_contain_text(phone)
    find(page, "!!")
    expect(page.locator("#errors")).to_be_visible()
    client.cancel(second)


def test_the_picture_follows_the_order_while_one_looks_at_it(open_desk: OpenDesk, client: Client, axe: Axe) -> None:
    t = texts("en")
    order_id = str(client.place()["order_id"])
    page = open_desk("en")
    page.goto(f"/ops/orders/{order_id}")
    now = now_at(page)
    expect(now).to_have_text(t("ops-saga-activated"))
    client.schedule(order_id)
    expect(now).to_have_text(t("ops-saga-scheduled"))
    client.complete(order_id)
    expect(now).to_have_text(t("ops-saga-completed"))
    expect(page.locator(".ops-saga .step.passed")).to_have_count(4)
    expect(page.locator("#ops-saga-words")).to_contain_text("Passed: Order placed → Activated → Visit scheduled")
    expect(page.locator("#ops-timeline tr.message strong")).to_have_text([t(f"ops-event-{name}") for name in (
        "order-placed", "activation-completed", "visit-scheduled", "fieldwork-completed", "order-completed"
    )])
    expect(page.locator("#ops-timeline tr.call")).to_have_count(1)
    expect(page.locator("#ops-timeline")).to_contain_text("MyPage +")
    axe(page)


def test_a_phone_number_is_shown_to_who_asks_for_it_and_that_is_written_down(
    open_desk: OpenDesk, client: Client
) -> None:
    order_id = str(client.place(an_order(phone="010-5555-4321"))["order_id"])
    client.wait_for_status(order_id, "activated")
    page = open_desk("ko")
    page.goto(f"/ops/orders/{order_id}")
    expect(page.locator("#ops-phone")).to_have_text("010-****-4321")
    page.get_by_role("button", name=texts("ko")("ops-reveal")).click()
    expect(page.locator("#ops-phone")).to_have_text("010-5555-4321")
    page.goto(f"/ops/audit?order={order_id}")
    expect(page.locator("tbody tr").first).to_contain_text(texts("ko")("ops-action-reveal-contact"))
    client.cancel(order_id)


def test_with_mypage_away_the_pages_answer_in_time_and_say_so(
    system: System, open_desk: OpenDesk, client: Client
) -> None:
    order_id = str(client.place()["order_id"])
    client.wait_for_status(order_id, "activated")
    page = open_desk("en")
    with system.stopped("mypage"):
        for path, shown in (("/ops", "#ops-fallout"), (f"/ops/orders/{order_id}", "#ops-timeline tr.message")):
            began = time.monotonic()
            page.goto(path)
            expect(page.locator("#ops-silent")).to_contain_text("MyPage")
            expect(page.locator(shown).first).to_be_visible()
            assert time.monotonic() - began < 10, "within the deadline of a page, on a busy machine"
        expect(now_at(page)).to_have_text(texts("en")("ops-saga-activated"))  # the others know
        page.goto("/ops/system")
        expect(page.locator("tr").filter(has_text="MyPage")).to_contain_text("no answer")
    client.cancel(order_id)


def test_why_a_retry_was_not_done_stays_on_a_page_that_goes_on_changing(
    system: System, open_desk: OpenDesk, client: Client, fallout: str
) -> None:
    page = open_desk("en", expected=["/retry was answered with 503"])
    with system.stopped("activation"):
        case_of(page, fallout).get_by_role("button", name="Retry").first.click()
        expect(page.locator("#errors")).to_have_text(texts("en")("ops-no-answer"))
        expect(page).to_have_url(re.compile(f"/ops/orders/{fallout}$"))
        expect(page.locator("#ops-silent")).to_be_visible()
    client.cancel(str(client.place()["order_id"]))
    expect(page.locator("#ops-silent")).to_have_count(0)
    expect(page.locator("#errors")).to_have_text(texts("en")("ops-no-answer"))
    page.get_by_role("button", name="Retry").first.click()
    expect(page.locator("#notice")).to_have_text(texts("en")("notice-ops-retried"))
    expect(page.locator("#errors")).to_have_count(0)
    client.cancel(fallout)


def test_without_javascript_a_case_is_retried(open_desk: OpenDesk, client: Client, fallout: str) -> None:
    page = open_desk("en", javascript=False)
    case_of(page, fallout).get_by_role("button", name="Retry").first.click()
    expect(page.locator("#notice")).to_have_text(texts("en")("notice-ops-retried"))
    client.wait_for_status(fallout, "activated")
    page.goto(f"/ops/orders/{fallout}")
    expect(page.locator("#ops-saga-words")).to_contain_text(re.compile("Now: Activated"))
    client.cancel(fallout)
