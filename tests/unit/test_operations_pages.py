"""The operations pages show what is known, name who is silent, and never take longer than their deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import Conflict
from contracts.ids import new_id
from gateway_svc import staff
from gateway_svc.intake import Intake
from gateway_svc.journal import Journal, Mark
from gateway_svc.operated import Operated
from gateway_svc.pages import operations_rows, operations_search
from gateway_svc.pages.formats import without_contacts
from gateway_svc.pages.texts import texts
from gateway_svc.service import GatewayService
from tests.harness.intake import Clock, an_order
from tests.harness.operations_desk import CASE, MESSAGE, ORDER, PARKED, Desk, an_order_page

LATEST_S = 2.4
"""With a busy machine; asking one after another would take longer."""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(staff, "audited", lambda conn, limit, **wanted: [])
    journal = Journal(tmp_path / "journal.sqlite3")
    yield Desk(Intake(journal, lambda: None, Clock()))
    journal.close()


def test_the_desk_shows_a_case_in_the_elements_words_with_a_button_for_each_action(desk: Desk) -> None:
    desk.service("activation").answers["list_fallouts"] = {"items": [CASE], "next_cursor": None}
    shown = desk.read("show_operations")
    assert "port &lt;1/1/3&gt; is locked" in shown
    assert shown.count(f'action="/ops/orders/{ORDER}/retry"') == 2 and f'href="/ops/orders/{ORDER}/abandon"' in shown


def test_the_desk_lists_the_parked_messages_of_all_services_and_of_the_journal(desk: Desk) -> None:
    desk.service("fieldwork").answers["list_parked"] = {"items": [PARKED], "next_cursor": None}
    entry = desk.intake.journal.append(an_order())
    desk.intake.journal.mark([Mark(entry.entry_id, "failed", error={"error": "Invalid", "detail": "no such product"})])
    shown = desk.read("show_operations")
    assert f"/ops/parked/fieldwork/{MESSAGE}/replay" in shown and f"/ops/parked/gateway/{entry.entry_id}/drop" in shown
    assert "010-1234-5678" not in shown


@pytest.mark.parametrize("silent", ["mypage", "activation", "order"])
def test_a_silent_service_is_named_and_the_rest_is_there_in_time(desk: Desk, silent: str) -> None:
    desk.service(silent).silent = True
    began = time.monotonic()
    shown = desk.read("show_operations")
    assert time.monotonic() - began < LATEST_S
    name = {"mypage": "MyPage", "activation": "Activation", "order": "Order"}[silent]
    assert f"No answer in time from: {name}." in shown
    assert ("the counts are not known" in shown) == (silent == "mypage")


def test_an_orders_page_survives_the_loss_of_everybody(desk: Desk) -> None:
    for service in desk.services.values():
        service.silent = True  # type: ignore[attr-defined]
    began = time.monotonic()
    response = desk.open("show_order_trace", order_id=ORDER)
    assert response.status_code == 200 and time.monotonic() - began < LATEST_S
    assert "Order, Activation, Scheduling, Field work, MyPage" in response.get_data(as_text=True)


def test_an_order_that_nobody_knows_is_not_found(desk: Desk) -> None:
    assert desk.open("show_order_trace", order_id=ORDER).status_code == 404


def test_contacts_are_masked_until_somebody_asks_for_them(desk: Desk) -> None:
    desk.service("mypage").answers["get_order"] = an_order_page()
    masked = desk.read("show_order_trace", order_id=ORDER)
    assert "010-****-5678" in masked and "010-1234-5678" not in masked and "sky@example.com" not in masked
    revealed = desk.read("reveal_contact", form={}, order_id=ORDER)
    assert "010-1234-5678" in revealed and "sky@example.com" in revealed


def test_a_retry_is_handed_on_with_who_asked_for_it(desk: Desk) -> None:
    desk.service("activation").answers["retry_fallout"] = {}
    response = desk.open("retry_fallout_case", form={"another_port": "1", "next": "/ops"}, order_id=ORDER)
    assert (response.status_code, response.headers["Location"]) == (303, "/ops?notice=ops-retried")
    assert desk.service("activation").calls == [
        ("retry_fallout", {"order_id": ORDER, "by": "operator", "another_port": True})
    ]


def test_a_refused_retry_and_one_without_an_answer_are_told_on_the_orders_page(desk: Desk) -> None:
    desk.service("mypage").answers["get_order"] = an_order_page()
    desk.service("activation").answers["retry_fallout"] = Conflict("there is no other port, exhausted: service-port")
    refused = desk.open("retry_fallout_case", form={}, order_id=ORDER)
    assert refused.status_code == 409 and "there is no other port" in refused.get_data(as_text=True)
    desk.service("activation").silent = True
    lost = desk.open("retry_fallout_case", form={}, order_id=ORDER)
    assert lost.status_code == 503 and "may have acted all the same" in lost.get_data(as_text=True)


def test_giving_up_names_first_what_is_put_back(desk: Desk) -> None:
    desk.service("activation").answers |= {"get_activation": {"fallout": CASE}, "abandon_fallout": {}}
    assert "service-port/1/1/3" in desk.read("ask_abandon", order_id=ORDER)
    too_long = desk.open("abandon_fallout_case", form={"reason": "x" * 501}, order_id=ORDER)
    assert too_long.status_code == 422 and "x" * 501 in too_long.get_data(as_text=True), "nothing typed is lost"
    assert desk.open("abandon_fallout_case", form={"reason": "중복"}, order_id=ORDER).status_code == 303
    assert desk.service("activation").calls[-1] == (
        "abandon_fallout", {"order_id": ORDER, "by": "operator", "reason": "중복"}
    )
    desk.service("activation").answers["get_activation"] = {"state": "in_service"}
    assert "not in fallout" in desk.read("ask_abandon", order_id=ORDER)


def test_a_message_is_shown_with_contacts_masked_before_it_is_dropped(desk: Desk) -> None:
    fieldwork = desk.service("fieldwork")
    fieldwork.answers |= {"list_parked": {"items": [PARKED], "next_cursor": None}, "drop_parked": {}}
    asked = desk.read("ask_drop_parked", service="fieldwork", message_id=MESSAGE)
    assert "010-****-5678" in asked and "010-1234" not in asked and "sky@" not in asked
    done = desk.open("drop_parked_page", form={"next": "//elsewhere.example"}, service="fieldwork", message_id=MESSAGE)
    assert done.headers["Location"] == "/ops?notice=ops-dropped"
    assert fieldwork.calls[-1] == ("drop_parked", {"message_id": MESSAGE})


@pytest.mark.parametrize(("service", "message_id", "status"), [
    ("fieldwork", MESSAGE, 404), ("gateway", MESSAGE, 404), ("fieldwork", "x", 404), ("nobody", MESSAGE, 404),
])  # fmt: skip
def test_a_message_that_is_not_parked_any_more_is_said_to_be_gone(
    desk: Desk, service: str, message_id: str, status: int
) -> None:
    assert desk.open("replay_parked_page", form={}, service=service, message_id=message_id).status_code == status


def test_what_is_wrong_is_shown_without_the_contacts_in_it(desk: Desk) -> None:
    error = "Undecodable: customer.phone: input_value='01012345678', a.b@c.example"
    desk.service("fieldwork").answers["list_parked"] = {"items": [PARKED | {"error": error}], "next_cursor": None}
    for shown in (desk.read("show_operations"), desk.read("ask_drop_parked", service="fieldwork", message_id=MESSAGE)):
        assert "Undecodable" in shown and "01012345678" not in shown and "a.b@c" not in shown


def test_contacts_are_masked_however_they_are_written() -> None:
    assert without_contacts("01012345678 010 1234 5678 a.b@c.example 2026-11-26") == (
        "010-****-5678 010-****-5678 ***@*** 2026-11-26"
    )


@pytest.mark.parametrize(("typed", "wanted"), [
    ("DC85-E9CA", [{"order_end": "dc85e9ca"}]),
    (" 010-1234-5678", [{"phone": "01012345678"}, {"order_end": "01012345678"}]),
    ("hfrn1234abcd", [{"ont_serial": "HFRN1234ABCD"}]),
    ("ABCD12345678", [{"ont_serial": "ABCD12345678"}, {"order_end": "abcd12345678"}]),
    ("김하늘", []), ("abc", []), ("", []), ("%", []), ("x" * 500, []), ("\x00", []),
])  # fmt: skip
def test_what_an_operator_may_mean_is_looked_for(typed: str, wanted: list[dict[str, str]]) -> None:
    assert operations_search.filters(typed) == wanted


def test_the_only_order_found_is_opened_and_several_are_listed(desk: Desk) -> None:
    mypage = desk.service("mypage")
    assert desk.open("search_orders", f"/ops/search?q={ORDER.upper()}").headers["Location"] == f"/ops/orders/{ORDER}"
    mypage.answers["list_orders"] = {"items": [an_order_page()], "next_cursor": None}
    assert desk.open("search_orders", "/ops/search?q=HFRN1234ABCD").headers["Location"] == f"/ops/orders/{ORDER}"
    mypage.answers["list_orders"] = {"items": [an_order_page(), an_order_page(order_id=str(new_id()))]}
    listed = desk.read("search_orders", "/ops/search?q=HFRN1234ABCD")
    assert "2 orders found" in listed and "010-****-5678" in listed
    assert desk.open("search_orders", "/ops/search?q=!").status_code == 422
    mypage.silent = True
    assert "does not answer" in desk.read("search_orders", "/ops/search?q=HFRN1234ABCD")


def test_an_order_that_is_only_in_the_journal_is_found_by_its_number(desk: Desk) -> None:
    body = {key: an_order_page()[key] for key in ("customer", "address", "items")}
    entry = desk.intake.journal.append(replace(an_order(), body=body))
    found = desk.open("search_orders", f"/ops/search?q={str(entry.order_id)[-8:]}")
    assert found.headers["Location"] == f"/ops/orders/{entry.order_id}"
    assert desk.open("show_order_trace", order_id=str(entry.order_id)).status_code == 200


def test_the_system_page_says_who_is_silent_and_which_breakers_are_open(desk: Desk) -> None:
    desk.service("scheduling").silent = True
    desk.service("activation").answers["overview"]["info"] = {"breaker-olt-1": "open"}
    shown = desk.read("show_system")
    assert "no answer" in shown and "olt-1" in shown and 'class="badge bad">open' in shown


@pytest.mark.parametrize("query", ["", "?username=operator", f"?order={ORDER}", "?before=x", "?username=%00"])
def test_the_audit_log_can_be_filtered(desk: Desk, query: str) -> None:
    assert desk.open("show_audit", f"/ops/audit{query}").status_code == 200
    assert desk.open("show_audit", "/ops/audit?order=77").status_code == 422


def test_a_row_tells_who_took_a_message_in_and_after_how_long() -> None:
    (row,) = operations_rows.rows([{
        "at": "2026-11-26T00:00:00.000000Z", "kind": "message", "service": "order", "what": "order_placed", "id": "a",
        "cause": None,
        "details": {"sent_at": None, "traceparent": None, "waits_for": ["mypage"],
                    "handled": [{"service": "activation", "at": "2026-11-26T00:00:00.038000Z"}]},
    }], texts("en"))  # fmt: skip
    assert (row["title"], row["unsent"], row["waits_for"]) == ("Order placed", True, ["mypage"])
    assert row["handled"] == [{"service": "activation", "ms": 38}]


def test_no_part_of_the_gateway_hides_a_method_of_another() -> None:
    """Mixins share one namespace: two of the same name are one, and the later never runs."""
    owners: dict[str, str] = {}
    twice = []
    for cls in GatewayService.__mro__:
        if cls.__module__.startswith("gateway_svc.") and cls not in (GatewayService, Operated):
            names = [name for name, value in vars(cls).items() if callable(value) or isinstance(value, property)]
            twice += [f"{name}: {owners[name]}, {cls.__name__}" for name in names if name in owners]
            owners |= dict.fromkeys(names, cls.__name__)
    assert twice == []
