"""Promises of the technician's phone with signal: from the list to the result, in both languages, with and without
scripts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.technician_phone import (
    GOOD,
    WAITS_MS,
    PhoneOf,
    a_large_picture,
    a_phone,
    happened,
    job_of,
    move,
    small_targets,
)  # fmt: skip
from tests.harness.client import Client, Json
from tools.browser import Lang
from tools.waiting import wait_until

__all__ = ["a_phone"]

WORDS: dict[Lang, dict[str, str]] = {
    "ko": {"lang": "ko", "call": "전화", "results": "설치 결과", "next": "다음"},
    "en": {"lang": "en", "call": "Call", "results": "Results", "next": "Next"},
}

Axe = Callable[[Page], None]
Scheduled = Callable[..., Json]


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_a_job_from_the_list_to_its_results(
    lang: Lang, client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled, axe: Axe
) -> None:
    order = a_scheduled_order(client)
    order_id, words = order["order_id"], WORDS[lang]
    phone = a_phone(lang)
    page = phone.page
    phone.open_day(order)
    card = page.locator(f"#jobs [data-order='{order_id}']")
    expect(card).to_contain_text("테헤란로 1")
    expect(page.locator("html")).to_have_attribute("lang", words["lang"])
    assert small_targets(page) == []
    axe(page)

    card.locator("a").click()
    call = page.get_by_role("link", name=words["call"])
    expect(call).to_have_attribute("href", "tel:010-1234-5678")
    expect(page.locator("a[href^='geo:']")).to_be_visible()
    axe(page)
    phone.start()
    phone.shows_state("started")
    assert small_targets(page) == []
    axe(page)
    phone.fill(up_mbps="480")
    phone.send_results()
    phone.shows_state("completed")
    expect(page.get_by_role("heading", name=words["results"])).to_be_visible()
    expect(page.locator("#job")).to_contain_text("-19.5 dBm")
    axe(page)
    client.wait_for_status(order_id, "completed")
    job = job_of(client, order)
    assert job["results"] == {
        "ont_serial": GOOD["ont_serial"], "rx_power_dbm": -19.5, "down_mbps": 487.0, "up_mbps": 480.0
    }
    assert happened(client, order_id, "fieldwork_completed") == 1


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_what_is_out_of_range_is_asked_about_before_it_is_sent(
    lang: Lang, client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled, axe: Axe
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(lang)
    page = phone.page
    phone.open_job(order["order_id"])
    phone.start()
    phone.fill(ont_serial="hfrn 1234-abcO", rx_power_dbm="30,5", down_mbps="90")
    expect(page.locator("#rx_power_dbm-read")).to_contain_text("-30.5 dBm")
    phone.send_results()
    asked = page.locator("#questions [data-question]:visible")
    expect(asked).to_have_count(3)
    assert [item.get_attribute("data-question") for item in asked.all()] == [
        "ont_serial.corrected", "rx_power_dbm.too_low", "down_mbps.too_low"
    ]
    expect(asked.first).to_contain_text("HFRN1234ABC0")
    axe(page)

    phone.send_results()
    expect(page.locator("#questions")).to_be_visible()
    page.locator("[name=confirmed]").check()
    page.locator("#down_mbps").fill("4870")
    phone.send_results()
    expect(page.locator("[data-question='down_mbps.too_high']")).to_be_visible()
    assert job_of(client, order)["state"] == "started", "a yes to other values sends nothing"

    page.locator("[name=confirmed]").check()
    phone.send_results()
    phone.shows_state("completed")
    results = job_of(client, order)["results"]
    assert (results["ont_serial"], results["rx_power_dbm"], results["down_mbps"]) == ("HFRN1234ABC0", -30.5, 4870.0)


def test_what_cannot_be_a_measurement_is_refused_beside_its_field(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled, axe: Axe
) -> None:
    phone = a_phone()
    phone.open_job(a_scheduled_order(client)["order_id"])
    phone.start()
    phone.fill(ont_serial="HFRN12", rx_power_dbm="x", down_mbps="0", up_mbps="-1")
    phone.send_results()
    for name in ("ont_serial", "rx_power_dbm", "down_mbps", "up_mbps"):
        expect(phone.page.locator(f"#{name}-error")).to_be_visible()
    expect(phone.page.locator("#ont_serial")).to_be_focused()
    axe(phone.page)
    phone.shows_kept(0)
    phone.fill(up_mbps="")
    phone.send_results()
    phone.shows_state("completed")


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_a_job_that_cannot_be_installed_is_rejected_with_reason_and_note(
    lang: Lang, client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled, axe: Axe
) -> None:
    order = a_scheduled_order(client)
    phone = a_phone(lang)
    phone.open_job(order["order_id"])
    phone.reject("other")
    expect(phone.page.locator("[data-note-missing]")).to_be_visible()
    axe(phone.page)
    phone.reject("other", "문 앞이 공사 중")
    phone.shows_state("rejected")
    job = job_of(client, order)
    assert (job["reason_code"], job["note"]) == ("other", "문 앞이 공사 중")
    client.wait_for_status(order["order_id"], "rejected")


def test_a_photo_is_made_small_and_seen_by_the_operator(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled, axe: Axe
) -> None:
    order_id = a_scheduled_order(client)["order_id"]
    phone = a_phone()
    phone.open_job(order_id)
    file = {"name": "camera.png", "mimeType": "image/png", "buffer": a_large_picture()}
    phone.page.locator("#photo").set_input_files(files=[file])
    shown = phone.page.locator(".photos img")
    expect(shown).to_have_count(1, timeout=WAITS_MS)
    wait_until(lambda: shown.evaluate("picture => picture.naturalWidth") > 0, "the photo is drawn")
    assert shown.evaluate("picture => [picture.naturalWidth, picture.naturalHeight]") == [1280, 853]
    axe(phone.page)
    listed = client.call("GET", f"/api/jobs/{order_id}/photos", as_="operator")["items"]
    assert [photo["media_type"] for photo in listed] == ["image/jpeg"]
    picture = client.request("GET", f"/api/jobs/{order_id}/photos/{listed[0]['photo_id']}", as_="operator").content
    assert picture.startswith(b"\xff\xd8\xff") and len(picture) == listed[0]["bytes"]

    nonsense = {"name": "camera.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}
    phone.page.locator("#photo").set_input_files(files=[nonsense])
    expect(phone.page.locator("[data-photo-error]")).to_be_visible()
    phone.shows_kept(0)


def test_a_photo_taken_while_the_page_behind_the_camera_changed_is_sent(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order = a_scheduled_order(client)
    order_id = order["order_id"]
    phone = a_phone()
    phone.open_job(order_id)
    expect(phone.page.locator(".live.on")).to_be_attached(timeout=WAITS_MS)
    with phone.page.expect_file_chooser() as camera:
        phone.page.locator("#photo").click()
    client.call("POST", f"/api/jobs/{order_id}/start", as_="kim")
    phone.shows_state("started")
    camera.value.set_files(files=[{"name": "a.png", "mimeType": "image/png", "buffer": a_large_picture(400, 300)}])
    expect(phone.page.locator(".photos img")).to_have_count(1, timeout=WAITS_MS)
    assert job_of(client, order)["photos"] == 1


def test_a_new_and_a_withdrawn_job_show_without_a_reload(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    first = a_scheduled_order(client)
    phone = a_phone()
    phone.open_day(first)
    expect(phone.page.locator(".live.on")).to_be_attached(timeout=WAITS_MS)
    phone.page.evaluate("window.sameDocument = true")
    card = phone.page.locator(f"#jobs [data-order='{first['order_id']}']")
    expect(card).to_be_visible()
    move(client, first, "lee")
    expect(card).to_have_count(0, timeout=WAITS_MS)
    move(client, first, "kim")
    expect(card).to_be_visible(timeout=WAITS_MS)
    client.cancel(first["order_id"])
    expect(phone.page.locator(f".cancelled[data-order='{first['order_id']}']")).to_be_visible(timeout=WAITS_MS)
    assert phone.page.evaluate("window.sameDocument"), "the page was loaded anew"


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_everything_works_without_scripts(
    lang: Lang, client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order, other = a_scheduled_order(client), a_scheduled_order(client)
    phone = a_phone(lang, javascript=False)
    page = phone.page
    phone.open_day(order)
    page.locator(f"#jobs [data-order='{order['order_id']}'] a").click()
    phone.start()
    phone.fill(ont_serial="")
    page.locator("#note, #complete-note").fill("문 앞")
    phone.send_results()
    expect(page.locator("#ont_serial-error")).to_be_visible()
    expect(page.locator("#complete-note")).to_have_value("문 앞")
    phone.fill(rx_power_dbm="-31")
    phone.send_results()
    expect(page.locator("[data-question='rx_power_dbm.too_low']")).to_be_visible()
    page.locator("[name=confirmed]").check()
    page.locator("#rx_power_dbm").fill("-32")
    phone.send_results()
    expect(page.locator("#questions")).to_be_visible()
    page.locator("[name=confirmed]").check()
    phone.send_results()
    phone.shows_state("completed")
    assert job_of(client, order)["results"]["rx_power_dbm"] == -32.0
    photo = {"name": "a.png", "mimeType": "image/png", "buffer": a_large_picture(40, 30)}
    page.locator("#photo").set_input_files(files=[photo])
    page.locator("form[data-entry=photo] button").click()
    expect(page.locator(".photos img")).to_have_count(1)

    phone.open_job(other["order_id"])
    phone.reject("no_power", "두꺼비집 없음")
    phone.shows_state("rejected")


def test_another_technicians_job_is_not_shown(
    client: Client, a_phone: PhoneOf, a_scheduled_order: Scheduled
) -> None:
    order_id = a_scheduled_order(client)["order_id"]
    phone = a_phone(who="lee")
    answer = phone.page.goto(f"/tech/jobs/{order_id}")
    assert answer is not None and answer.status == 403
    expect(phone.page.locator("main")).not_to_contain_text("테헤란로")
