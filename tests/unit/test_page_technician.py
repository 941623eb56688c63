"""Promises of the technician's pages that need no browser: what a checklist asks, and what a phone is answered."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from chassis import clock
from chassis.rpc_client import DeadlineExceeded
from contracts.errors import Conflict, Forbidden, Invalid, NotFound
from contracts.ids import new_id
from gateway_svc.auth import Caller, Tokens
from gateway_svc.pages import assets, routing
from gateway_svc.pages.routing import PAGES
from gateway_svc.pages.technician import TechnicianPages
from gateway_svc.pages.technician_answers import KEPT_FOR
from gateway_svc.pages.technician_results import read_checklist

TOKENS = Tokens(["k" * 32])
ITEMS = ({"product": "internet-500", "quantity": 1},)
GOOD = {"results.ont_serial": "HFRN1234ABCD", "results.rx_power_dbm": "-19.5", "results.down_mbps": "487"}
ORDER = new_id()


def a_job(state: str = "started", **more: Any) -> dict[str, Any]:
    now = clock.utc_now().isoformat()
    return {
        "order_id": str(ORDER), "state": state, "revision": 1, "window_start": now, "window_end": now,
        "technician_id": "tech-kim", "technician_name": "김도현", "items": list(ITEMS), "photos": 0,
        "customer": {"name": "<b>김하늘</b>", "phone": "010-1234-5678"},
        "address": {"postcode": "06236", "line1": "서울 강남구 테헤란로 1", "line2": ""},
        "started_at": now, "closed_at": now, "results": None, "reason_code": None, "note": "",
    } | more  # fmt: skip


class Fieldwork:
    """Answers as fieldwork_svc would; `does` is what a command gets, and `asked` what was commanded."""

    def __init__(self, does: Any = None, job: Any = None) -> None:
        self.does, self.job, self.asked = does, job or a_job(), []

    def call(self, method: str, *, timeout_s: float | None = None, **arguments: Any) -> Any:
        answers = {"get_job": self.job, "list_photos": {"items": []},
                   "list_jobs": {"items": [self.job], "next_cursor": None}}
        answer = answers.get(method, self.does)
        if method not in answers:
            self.asked.append((method, arguments))
        if isinstance(answer, Exception):
            raise answer
        return answer


class Site(TechnicianPages):
    def __init__(self, fieldwork: Fieldwork) -> None:
        self.fieldwork: Any = fieldwork
        self.tokens = TOKENS
        self.settings = {"PAGE_TIMEOUT_S": 1}

    def audit(self, *said: Any) -> None:
        """Nobody asks here."""


def ask(
    fieldwork: Fieldwork, method: str, path: str, form: dict[str, str] | None = None, *, script: bool = False,
    technician: str | None = "tech-kim", **request: Any,
) -> Response:
    """One request of kim's phone, through the decorator."""
    caller = Caller("kim", "technician", clock.utc_now() + timedelta(hours=1), technician_id=technician)
    headers = {"Cookie": f"oss_staff={TOKENS.issue(caller, clock.utc_now())}; oss_visitor=v",
               "X-CSRF-Token": TOKENS.sign("csrf:v"), "Accept-Language": "en"} | ({"Oss-Script": "1"} if script else {})
    headers |= request.pop("headers", {})
    environ = EnvironBuilder(path.replace("<order_id>", str(ORDER)), method=method, data=form, headers=headers,
                             **request).get_environ()
    entry = next(page for page in PAGES if (page.method, page.path) == (method, path))
    handler = getattr(TechnicianPages, entry.name).__wrapped__
    values = {"order_id": str(ORDER)} if "order_id" in path else {}
    return routing._answer(Site(fieldwork), entry, "staff", handler, Request(environ), values)


def text(answer: Response) -> str:
    return answer.get_data(as_text=True)


JOB = "/tech/jobs/<order_id>"


def test_a_checklist_is_read_as_it_is_typed() -> None:
    typed = {"results.ont_serial": "hfrn 1234 abcd", "results.rx_power_dbm": "19,5", "results.down_mbps": "487,5"}
    checklist = read_checklist(MultiDict(typed), ITEMS)
    assert checklist.form.value is not None
    results = checklist.form.value.results
    assert (results.ont_serial, results.rx_power_dbm, results.down_mbps) == ("HFRN1234ABCD", -19.5, 487.5)
    assert checklist.names == {"ont_serial.corrected"}


def test_a_yes_counts_for_the_values_it_was_said_to() -> None:
    typed = GOOD | {"results.rx_power_dbm": "-30"}
    asked = read_checklist(MultiDict(typed), ITEMS)
    assert (asked.names, asked.confirmed) == ({"rx_power_dbm.too_low"}, False)
    yes = {"confirmed": "yes", "asked": asked.proof}
    assert read_checklist(MultiDict(typed | yes), ITEMS).confirmed
    assert not read_checklist(MultiDict(typed | yes | {"results.rx_power_dbm": "-31"}), ITEMS).confirmed
    assert not read_checklist(MultiDict(typed | yes | {"results.down_mbps": "3"}), ITEMS).confirmed


def test_what_cannot_be_read_is_shown_again_as_it_was_typed() -> None:
    checklist = read_checklist(MultiDict({"results.rx_power_dbm": "19,5,1", "note": "문 앞"}), ITEMS)
    assert set(checklist.form.errors) == {"results.ont_serial", "results.rx_power_dbm", "results.down_mbps"}
    assert (checklist.form["results.rx_power_dbm"], checklist.form["note"]) == ("19,5,1", "문 앞")


@pytest.mark.parametrize(
    ("error", "job", "status", "outcome"),
    [
        (Forbidden(), a_job(), 403, "moved"),
        (NotFound(), a_job(), 404, "unknown"),
        (Conflict(), a_job("cancelled"), 409, "cancelled"),
        (Conflict(), a_job("completed"), 409, "completed"),
        (Conflict(), a_job("rejected", reason_code="no_duct"), 409, "rejected"),
        (Invalid(), a_job(), 422, "invalid"),
        (DeadlineExceeded("fieldwork", "no answer", 1.0), a_job(), 503, "later"),
    ],
)
def test_a_phone_is_told_in_one_word_why_and_a_person_on_the_page(
    error: Exception, job: Any, status: int, outcome: str
) -> None:
    answer = ask(Fieldwork(error, job), "POST", f"{JOB}/start", script=True)
    assert (answer.status_code, json.loads(answer.data)) == (status, {"outcome": outcome})
    page = ask(Fieldwork(error, job), "POST", f"{JOB}/start")
    assert (page.status_code, page.mimetype, KEPT_FOR in page.headers) == (status, "text/html", False)
    assert 'class="notice bad"' in text(page)


def test_what_was_done_is_answered_and_leads_back_to_the_job() -> None:
    fieldwork = Fieldwork(a_job())
    answer = ask(fieldwork, "POST", f"{JOB}/complete", GOOD, script=True)
    assert (answer.status_code, json.loads(answer.data)) == (200, {"outcome": "done"})
    done = ask(fieldwork, "POST", f"{JOB}/complete", GOOD)
    assert (done.status_code, done.headers["Location"]) == (303, f"/tech/jobs/{ORDER}?notice=job-completed")
    assert {(name, arguments["technician_id"]) for name, arguments in fieldwork.asked} == {("complete_job", "tech-kim")}


def test_without_scripts_the_server_asks_about_what_is_out_of_range() -> None:
    fieldwork, far = Fieldwork(a_job()), GOOD | {"results.rx_power_dbm": "-33"}
    page = ask(fieldwork, "POST", f"{JOB}/complete", far)
    assert page.status_code == 422 and fieldwork.asked == []
    assert 'data-question="rx_power_dbm.too_low">' in text(page)
    assert 'data-question="down_mbps.too_low" hidden' in text(page)
    yes = far | {"confirmed": "yes", "asked": "rx_power_dbm=-33.0"}
    assert ask(fieldwork, "POST", f"{JOB}/complete", yes).status_code == 303


@pytest.mark.parametrize(
    ("form", "field"),
    [({}, "reason_code"), ({"reason_code": "bored"}, "reason_code"), ({"reason_code": "other"}, "note")],
)
def test_a_rejection_needs_a_reason_and_other_a_note(form: dict[str, str], field: str) -> None:
    fieldwork = Fieldwork(a_job())
    answer = ask(fieldwork, "POST", f"{JOB}/reject", form, script=True)
    assert json.loads(answer.data) == {"outcome": "invalid", "fields": [field]}
    assert ask(fieldwork, "POST", f"{JOB}/reject", form).status_code == 422
    assert fieldwork.asked == []


def test_a_photo_comes_as_a_body_or_in_a_form() -> None:
    fieldwork, photo_id = Fieldwork({"photo_id": "x"}), str(new_id())
    sent = {"headers": {"Photo-Id": photo_id}, "content_type": "image/jpeg", "input_stream": None}
    answer = ask(fieldwork, "POST", f"{JOB}/photos", b"\xff\xd8\xff", script=True, **sent)  # type: ignore[arg-type]
    assert json.loads(answer.data) == {"outcome": "done"}
    assert fieldwork.asked[0][1]["photo_id"] == photo_id
    for wrong in ({}, {"photo_id": photo_id}, {"photo_id": "x"}):
        assert ask(fieldwork, "POST", f"{JOB}/photos", wrong).status_code == 422
    assert len(fieldwork.asked) == 1


def test_pages_that_a_phone_may_keep_name_whose_they_are() -> None:
    for path in ("/tech", JOB):
        page = ask(Fieldwork(), "GET", path)
        assert (page.status_code, page.headers[KEPT_FOR]) == (200, "tech-kim")
        assert "no-store" in page.headers["Cache-Control"]
        assert "<b>김하늘" not in text(page) and "&lt;b&gt;김하늘" in text(page)
    assert KEPT_FOR not in ask(Fieldwork(), "GET", "/tech/offline").headers


def test_a_job_that_is_gone_is_told_and_not_kept() -> None:
    gone = Fieldwork(job=Forbidden())
    page = ask(gone, "GET", JOB)
    assert page.status_code == 403 and "another technician" in text(page) and KEPT_FOR not in page.headers
    assert ask(gone, "GET", JOB, script=True).status_code == 200, "an open page takes it over"


@pytest.mark.parametrize(("path", "says"), [("/tech", "could not be loaded"), (JOB, "try again")])
def test_without_field_work_a_page_says_so_and_whose_copies_the_phone_may_show_instead(path: str, says: str) -> None:
    fieldwork = Fieldwork()
    fieldwork.call = lambda *_, **__: (_ for _ in ()).throw(DeadlineExceeded("fieldwork", "no answer", 1.0))  # type: ignore[method-assign]
    page = ask(fieldwork, "GET", path)
    assert (page.status_code, page.headers[KEPT_FOR]) == (503, "tech-kim")
    assert says in text(page).lower()


def test_a_user_name_without_a_technician_signs_in_as_somebody_else() -> None:
    assert ask(Fieldwork(), "GET", "/tech", technician=None).status_code == 303


@pytest.mark.parametrize("day", ["soon", "2026-13-01", ""])
def test_nonsense_for_a_day_is_today(day: str) -> None:
    assert "today" in text(ask(Fieldwork(), "GET", "/tech", query_string={"date": day}))


def test_the_service_worker_names_files_that_are_there_and_may_hold_the_pages() -> None:
    answer = TechnicianPages.service_worker(Site(Fieldwork()), Request({}))
    head = text(answer).splitlines()
    assert (answer.headers["Service-Worker-Allowed"], answer.headers["Cache-Control"]) == ("/tech", "no-cache")
    urls = json.loads(head[1].split(" = ")[1].rstrip(";"))
    names = [url.removeprefix(f"/static/{assets.version()}/") for url in urls]
    assert {"app.css", "js/page.js", "js/technician.js"} <= set(names) <= set(assets.assets())
    assert "js/technician-sw.js" not in names
