"""MyPage in front of the running system, as a browser without scripts sees it."""

from __future__ import annotations

import re

import pytest

from contracts.ids import new_id
from tests.harness.browser_orders import a_scheduled_order, an_activated_order, fewest_can_come
from tests.harness.client import RESULTS, Client, Json, an_order
from tests.harness.pages import Visitor
from tests.harness.subscriber import a_phone, come_back, order_of, sign_up, stage_of
from tools.system import System
from tools.waiting import wait_until


@pytest.fixture
def visitor(system: System) -> Visitor:
    return Visitor(system.url)


def follow(visitor: Visitor, order_id: str, *stages: str) -> str:
    """MyPage as soon as it tells one of these stages."""
    pages: list[str] = []

    def told() -> bool:
        pages.append(visitor.get(f"/my/{order_id}").text)
        return stage_of(pages[-1]) in stages

    wait_until(told, lambda: f"{stages}; it tells {stage_of(pages[-1])}")
    return pages[-1]


def at_mypage(visitor: Visitor, client: Client, order: Json) -> str:
    """Sign in to this order, which mypage knows and this gateway's journal need not."""
    order_id = str(order["order_id"])
    assert order_of(come_back(visitor, order_id, client.order(order_id)["customer"]["phone"])) == order_id
    return order_id


def test_a_signed_up_order_is_placed_once_and_followed(system: System, client: Client, visitor: Visitor) -> None:
    phone = a_phone()
    form = visitor.get("/signup").text
    order_id = order_of(sign_up(visitor, form, customer__phone=phone))
    assert order_of(sign_up(visitor, form, customer__phone=phone)) == order_id
    page = follow(visitor, order_id, "activated")
    assert "Internet 500M" in page and "₩45,100" in page and phone not in page, "their number is masked"
    (listed,) = client.call("GET", "/api/orders", as_="operator", params={"phone": phone})["items"]
    assert listed["order_id"] == order_id


def test_a_wrong_phone_and_an_unknown_number_get_the_same_answer(client: Client, visitor: Visitor) -> None:
    order = an_activated_order(client, an_order(phone=a_phone()))
    answers = [come_back(visitor, number, a_phone()) for number in (order["order_id"], str(new_id()))]
    assert [answer.status_code for answer in answers] == [401, 401]
    said = [re.search(r'id="errors"[^>]*>([^<]+)<', answer.text) for answer in answers]
    assert said[0] and said[1] and said[0][1] == said[1][1]


def test_who_guesses_is_locked_out_of_that_order_and_nobody_else(system: System, client: Client) -> None:
    order = an_activated_order(client, an_order(phone=(phone := a_phone())))
    limit = int(system.env.get("SIGN_IN_FAILURES", 5))
    thief = Visitor(system.url)
    answers = [come_back(thief, order["order_id"], a_phone()).status_code for _ in range(limit + 1)]
    assert answers == [401] * limit + [429]
    assert come_back(thief, order["order_id"], phone).status_code == 429
    another = an_activated_order(client, an_order(phone=phone))
    assert come_back(thief, another["order_id"], phone).status_code == 200


def test_the_visit_is_chosen_moved_and_told_as_it_now_is(client: Client, visitor: Visitor) -> None:
    order_id = at_mypage(visitor, client, an_activated_order(client, an_order(phone=a_phone())))
    free = client.call("GET", f"/api/visits/{order_id}/windows", as_="dispatcher")["items"]
    for window in (free[-1], free[-2]):
        form = visitor.get(f"/my/{order_id}/visit").text
        value = f"{window['window_start']}/{window['window_end']}"
        assert f'value="{value}"' in form
        answer = visitor.post(f"/my/{order_id}/visit", {"window": value}, seen=form)
        assert "The time of the visit is agreed" in answer.text
        assert f'datetime="{window["window_start"]}"' in answer.text, "what was just fixed is shown at once"
    wait_until(lambda: "The visit has been moved" in visitor.get(f"/my/{order_id}").text, "the page tells of the move")
    assert stage_of(visitor.get(f"/my/{order_id}").text) in ("scheduled", "scheduled-today")
    wait_until(lambda: client.order(order_id)["visit"]["window_start"] == free[-2]["window_start"], "mypage knows it")
    bookings = client.call("GET", f"/api/visits/{order_id}/windows", as_="dispatcher")["items"]
    assert free[-1]["window_start"] in {window["window_start"] for window in bookings}, "the first window is free again"


def test_a_window_that_was_taken_meanwhile_is_told_with_what_is_free_now(client: Client, visitor: Visitor) -> None:
    order_id = at_mypage(visitor, client, an_activated_order(client, an_order(phone=a_phone())))
    form = visitor.get(f"/my/{order_id}/visit").text
    free = client.call("GET", f"/api/visits/{order_id}/windows", as_="dispatcher")["items"]
    wanted = fewest_can_come(free)
    body = {name: wanted[name] for name in ("window_start", "window_end")}
    for technician in wanted["technicians"]:
        other = an_activated_order(client, an_order(phone=a_phone()))
        client.call("PUT", f"/api/visits/{other['order_id']}/appointment", as_="dispatcher",
                    json=body | {"technician_id": technician["id"]})
    value = f"{wanted['window_start']}/{wanted['window_end']}"
    answer = visitor.post(f"/my/{order_id}/visit", {"window": value}, seen=form)
    assert answer.status_code == 409 and "Somebody else has just taken that time" in answer.text
    assert f'value="{value}"' not in answer.text and 'name="window"' in answer.text
    nothing = visitor.post(f"/my/{order_id}/visit", {}, seen=form)
    assert nothing.status_code == 422 and "Choose a time first" in nothing.text
    nonsense = visitor.post(f"/my/{order_id}/visit", {"window": "yesterday/today"}, seen=form)
    assert nonsense.status_code == 409


def test_cancelling_says_what_it_means_and_what_came_of_it(client: Client, visitor: Visitor) -> None:
    order_id = at_mypage(visitor, client, a_scheduled_order(client, order=an_order(phone=a_phone())))
    asked = visitor.get(f"/my/{order_id}/cancel").text
    assert "called off" in asked
    answer = visitor.post(f"/my/{order_id}/cancel", {"reason": ""}, seen=asked)
    assert "We have your request to cancel" in answer.text
    page = follow(visitor, order_id, "cancelled")
    assert "/cancel" not in page and "data-live" not in page, "nothing more will happen"
    late = visitor.post(f"/my/{order_id}/cancel", {}, seen=asked)
    assert late.status_code == 409 and "This order is cancelled already" in late.text


def test_a_cancel_after_the_work_is_told_to_be_too_late(client: Client, visitor: Visitor) -> None:
    order_id = at_mypage(visitor, client, a_scheduled_order(client, order=an_order(phone=a_phone())))
    asked = visitor.get(f"/my/{order_id}/cancel").text
    client.call("POST", f"/api/jobs/{order_id}/complete", as_="kim", json={"results": RESULTS})
    client.wait_for_status(order_id, "completed")

    def refused() -> bool:
        answer = visitor.post(f"/my/{order_id}/cancel", {}, seen=asked)
        return answer.status_code == 409 and "The installation is finished" in answer.text

    wait_until(refused, "the cancel is refused, also where it overtook the news of the work")
    page = follow(visitor, order_id, "completed", "completed-anyway")
    assert "480 Mbps" in page and "ABCD12345678" in page


def test_mypage_away_is_said_and_the_journal_helps(system: System, visitor: Visitor) -> None:
    phone = a_phone()
    order_id = order_of(sign_up(visitor, customer__phone=phone))
    follow(visitor, order_id, "activated")
    with system.stopped("mypage"):
        page = visitor.get(f"/my/{order_id}").text
        assert stage_of(page) == "received" and "data-missing" in page
        assert "Choose the time of the visit" in page, "what scheduling knows is shown all the same"
        assert order_of(come_back(Visitor(system.url), order_id, phone)) == order_id
    assert stage_of(follow(visitor, order_id, "activated")) == "activated"


def test_scheduling_away_is_said_and_the_rest_is_shown(system: System, client: Client, visitor: Visitor) -> None:
    order_id = at_mypage(visitor, client, a_scheduled_order(client, order=an_order(phone=a_phone())))
    with system.stopped("scheduling"):
        page = visitor.get(f"/my/{order_id}").text
        assert stage_of(page) in ("scheduled", "scheduled-today")
        assert "We cannot load the visit at the moment" in page and "/cancel" in page
        assert visitor.get(f"/my/{order_id}/visit").status_code == 503
