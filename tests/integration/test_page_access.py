"""Ways into the pages of the running system, and out again; what nobody else can do with them."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from gateway_svc.pages.routing import PAGES
from tests.harness.client import Client, an_order
from tests.harness.pages import Visitor, csrf
from tools.system import System

PHONE = "010-7391-4682"


@pytest.fixture
def password(system: System) -> str:
    return system.env["STAFF_PASSWORD"]


@pytest.mark.parametrize(("user", "desk"), [("dispatcher", "/dispatch"), ("kim", "/tech"), ("operator", "/ops")])
def test_staff_sign_in_and_land_on_their_desk(system: System, password: str, user: str, desk: str) -> None:
    visitor = Visitor(system.url)
    answer = visitor.sign_in(user, password, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, desk)
    assert visitor.get(desk).status_code == 200
    assert visitor.post("/signout", {}, seen=visitor.get(desk).text).url.startswith(f"{system.url}/signin")
    assert visitor.get(desk).url.startswith(f"{system.url}/signin?next=")


def test_who_came_from_a_page_goes_back_to_it(system: System, password: str) -> None:
    visitor = Visitor(system.url)
    form = visitor.get("/ops?lang=en").text
    fields = {"username": "operator", "password": password, "next": "/ops?lang=en"}
    assert visitor.post("/signin", fields, seen=form).url == f"{system.url}/ops?lang=en"


def test_a_wrong_password_is_said_and_then_locked_out_also_at_the_api(system: System, password: str) -> None:
    visitor = Visitor(system.url)
    limit = int(system.env.get("SIGN_IN_FAILURES", 5))
    name = f"nobody-{uuid4().hex[:8]}"  # a name of its own: the lock holds for minutes
    answers = [visitor.sign_in(name, "not the password").status_code for _ in range(limit + 1)]
    assert answers == [401] * limit + [429]
    body = {"username": name, "password": password}
    assert requests.post(f"{system.url}/api/sessions", json=body, timeout=30).status_code == 429


def test_a_form_from_elsewhere_signs_nobody_in(system: System, password: str) -> None:
    fields = {"username": "operator", "password": password}
    answer = requests.post(f"{system.url}/signin", data=fields, timeout=30, allow_redirects=False)
    assert answer.status_code == 403 and "oss_staff" not in answer.headers.get("Set-Cookie", "")


def test_the_api_takes_no_cookie_and_pages_take_no_bearer(system: System, client: Client, password: str) -> None:
    visitor = Visitor(system.url)
    visitor.sign_in("operator", password)
    assert visitor.get("/api/ops/overview").status_code == 401
    bearer = client.login("operator")
    answer = requests.get(
        f"{system.url}/ops", headers={"Authorization": f"Bearer {bearer}"}, timeout=30, allow_redirects=False
    )
    assert answer.status_code == 303


@pytest.mark.parametrize("user", ["dispatcher", "kim", "operator", None])
def test_every_page_answers_everybody_without_a_server_error(system: System, password: str, user: str | None) -> None:
    visitor = Visitor(system.url)
    if user is not None:
        visitor.sign_in(user, password)
    seen = visitor.get("/signin?lang=en").text
    order_id = "01a214a8-b9f0-7fd2-8d18-4fa7ed888bdd"
    for entry in PAGES:
        path = re.sub(r"<(\w+)>", lambda name: order_id if name[1] == "order_id" else "x", entry.path)
        if entry.path.endswith("/events") or entry.path in ("/signout", "/signin"):
            continue  # an open stream; the ways out and in have tests of their own
        if entry.method == "GET":
            answer = visitor.get(path, allow_redirects=False)
        else:
            answer = visitor.http.post(system.url + path, data={"csrf": csrf(seen)}, timeout=30, allow_redirects=False)
        assert answer.status_code < 500, f"{entry.method} {path} for {user}: {answer.status_code}"


def test_no_log_of_any_service_holds_a_phone_number_that_passed_through_everything(
    system: System, client: Client
) -> None:
    order_id = str(client.place(an_order(phone=PHONE))["order_id"])
    client.wait_for_status(order_id, "activated")
    client.schedule(order_id)
    client.wait_for_status(order_id, "scheduled")
    client.complete(order_id)
    client.wait_for_status(order_id, "completed")
    client.call("GET", "/api/orders", as_="operator", params={"phone": PHONE})
    numbers = re.compile(PHONE.replace("-", "[-. ]?"))
    logs = sorted(Path(system.folder / "logs").glob("*.log"))
    assert {log.stem for log in logs} >= {"gateway", "order", "activation", "scheduling", "fieldwork", "mypage"}
    assert [log.name for log in logs if numbers.search(log.read_text(encoding="utf-8", errors="replace"))] == []
