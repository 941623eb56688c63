"""An order's trace is one list in order of time, that says who caused what, who has taken it in, and who is silent."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import eventlet
import pytest
import sqlalchemy as sa

from chassis.rpc_client import DeadlineExceeded
from contracts.errors import NotFound
from contracts.events import EVENTS
from contracts.ids import new_id
from gateway_svc import masking, staff, trace, trace_parts
from gateway_svc.answers import OrderTrace
from gateway_svc.journal import Journal
from tests.harness.intake import an_order

PLACED, LIVE, VISIT = (str(new_id()) for _ in range(3))


def sent(message_id: str, event_type: str, at: str, cause: str | None = None) -> dict[str, Any]:
    return {
        "message_id": message_id, "event_type": event_type, "at": at, "sent_at": at, "causation_id": cause,
        "traceparent": None,
    }


def answer(*items: dict[str, Any], handled: tuple[tuple[str, str], ...] = (), parked: Any = ()) -> dict[str, Any]:
    return {
        "sent": list(items), "handled": [{"message_id": key, "at": at} for key, at in handled], "parked": list(parked)
    }


def told(entries: list[trace.Entry]) -> list[tuple[str, str, str]]:
    return [(entry["service"], entry["kind"], entry["what"]) for entry in entries]


def test_everything_known_stands_in_order_of_time_whatever_way_times_are_written() -> None:
    entries = trace.merge(
        {
            "scheduling": answer(sent(VISIT, "visit_scheduled", "2026-11-26T00:05:00Z", LIVE)),
            "order": answer(sent(PLACED, "order_placed", "2026-11-26T00:00:00.5Z")),
            "activation": answer(
                sent(LIVE, "activation_completed", "2026-11-26T09:01:00+09:00", PLACED),
                parked=[{"message_id": VISIT, "event_type": "visit_scheduled", "queue": "activation.events",
                         "error": "boom", "attempts": 6, "parked_at": "2026-11-26T00:06:00Z"}],
            ),
        },
        journal=[{"at": datetime(2026, 11, 26, tzinfo=UTC), "what": "order", "id": "j",
                  "details": {"state": "forwarded"}}],
        activation={"tried": [{"at": "2026-11-26T00:00:30+00:00", "step": "write", "element": "olt-1", "error": "no",
                               "ports": []}]},
        visit={"attempts": [{"at": "2026-11-26T00:04:59Z", "outcome": "agreed", "by": "dispatcher", "note": "",
                             "call_back_at": None}]},
        job={"state": "completed", "technician_name": "김기사", "started_at": "2026-11-26T01:00:00Z",
             "closed_at": "2026-11-26T02:00:00Z", "note": "끝"},
        audit=[{"id": "a", "at": datetime(2026, 11, 26, 0, 4, 58, tzinfo=UTC), "action": "record_call",
                "username": "dispatcher", "role": "dispatcher", "status": 200}],
    )  # fmt: skip
    assert told(entries) == [
        ("gateway", "journal", "order"), ("order", "message", "order_placed"), ("activation", "attempt", "write"),
        ("activation", "message", "activation_completed"), ("gateway", "audit", "record_call"),
        ("scheduling", "call", "agreed"), ("scheduling", "message", "visit_scheduled"),
        ("activation", "parked", "visit_scheduled"), ("fieldwork", "job", "started"), ("fieldwork", "job", "completed"),
    ]
    assert all(entry["at"].endswith("Z") and len(entry["at"]) == 27 for entry in entries)


def test_a_message_says_what_caused_it_and_who_has_taken_it_in() -> None:
    (placed, live) = trace.merge(
        {"order": answer(sent(PLACED, "order_placed", "2026-11-26T00:00:00Z")),
         "activation": answer(sent(LIVE, "activation_completed", "2026-11-26T00:00:01Z", PLACED))},
        handled={
            "mypage": answer(handled=((PLACED, "2026-11-26T00:00:03Z"),)),
            "activation": answer(handled=((PLACED, "2026-11-26T00:00:02Z"),)),
        },
    )
    assert placed["cause"] is None and live["cause"] == {"id": PLACED, "service": "order", "what": "order_placed"}
    assert [taker["service"] for taker in placed["details"]["handled"]] == ["activation", "mypage"]
    assert live["details"]["handled"] == []


def test_of_one_moment_the_cause_comes_before_what_it_caused() -> None:
    at = "2026-11-26T00:00:00Z"
    entries = trace.merge({
        "a": answer(sent(VISIT, "third", at, LIVE)), "b": answer(sent(LIVE, "second", at, PLACED)),
        "c": answer(sent(PLACED, "first", at)),
    })
    assert [entry["what"] for entry in entries] == ["first", "second", "third"]


def test_a_cause_whose_sender_is_silent_is_named_by_its_id() -> None:
    (only,) = trace.merge({"activation": answer(sent(LIVE, "activation_completed", "2026-11-26T00:00:00Z", PLACED))})
    assert only["cause"] == {"id": PLACED, "service": None, "what": None}


def test_messages_that_claim_to_cause_each_other_end_no_request() -> None:
    at = "2026-11-26T00:00:00Z"
    assert len(trace.merge({"a": answer(sent(PLACED, "x", at, LIVE), sent(LIVE, "y", at, PLACED))})) == 2


class Service:
    """One service's side: what it answers, or how long it is silent."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.silent = answers, False

    def call(self, method: str, timeout_s: float, **arguments: Any) -> Any:
        if self.silent:
            eventlet.sleep(timeout_s)
            raise DeadlineExceeded("somebody", "no answer", 1.0)
        if method not in self.answers:
            raise NotFound("not here")
        found = self.answers[method]
        return found(**arguments) if callable(found) else found


class Database:
    """The audit log: empty, gone, or silent."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.silent = False

    @contextmanager
    def read(self) -> Iterator[None]:
        if self.silent:
            eventlet.sleep(60)
        if self.trouble is not None:
            raise self.trouble
        yield None


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[trace_parts.Sources]:
    monkeypatch.setattr(staff, "audited", lambda conn, limit, order_id: [])
    names = ("order", "activation", "scheduling", "fieldwork", "mypage")
    services = {name: Service(order_messages=lambda order_id, message_ids=(): answer()) for name in names}
    journal = Journal(tmp_path / "journal.sqlite3")
    yield trace_parts.Sources(services, journal, Database())  # type: ignore[arg-type]
    journal.close()


def placed_at_order_svc(order_id: str, message_ids: Any = ()) -> dict[str, Any]:
    return answer(sent(PLACED, "order_placed", "2026-11-26T00:00:00Z"))


def test_who_does_not_answer_is_named_and_nobody_is_waited_for(sources: trace_parts.Sources) -> None:
    sources.services["order"].answers["order_messages"] = placed_at_order_svc  # type: ignore[attr-defined]
    sources.services["fieldwork"].silent = True  # type: ignore[attr-defined]
    sources.database.silent = True  # type: ignore[attr-defined]
    with eventlet.Timeout(1.9):  # one after the other they would take two seconds
        found = OrderTrace.model_validate(trace_parts.of_order(sources, new_id(), 1.0))
    assert found.unreachable == ["fieldwork", "gateway"]
    assert [entry.what for entry in found.entries] == ["order_placed"]


def test_a_database_that_is_away_takes_only_the_audit_log_with_it(sources: trace_parts.Sources) -> None:
    sources.services["order"].answers["order_messages"] = placed_at_order_svc  # type: ignore[attr-defined]
    sources.database.trouble = sa.exc.OperationalError("select", {}, OSError("gone"))  # type: ignore[attr-defined]
    assert trace_parts.of_order(sources, new_id(), 0.3)["unreachable"] == ["gateway"]


def test_an_order_that_nobody_knows_is_not_found_but_one_that_cannot_be_looked_up_is_not(
    sources: trace_parts.Sources,
) -> None:
    with pytest.raises(NotFound):
        trace_parts.of_order(sources, new_id(), 0.3)
    sources.services["order"].silent = True  # type: ignore[attr-defined]
    assert trace_parts.of_order(sources, new_id(), 0.3)["unreachable"] == ["order"]


def test_an_order_that_only_the_journal_has_is_shown_from_there(sources: trace_parts.Sources) -> None:
    entry = sources.journal.append(an_order())
    (only,) = trace_parts.of_order(sources, entry.order_id, 0.3)["entries"]
    assert (only["kind"], only["what"], only["details"]["state"]) == ("journal", "order", "pending")


def test_every_service_is_asked_which_of_all_messages_it_has_handled(sources: trace_parts.Sources) -> None:
    asked: list[tuple[UUID, list[str]]] = []

    def at_mypage(order_id: str, message_ids: Any = ()) -> dict[str, Any]:
        asked.append((UUID(order_id), list(message_ids)))
        return answer(handled=tuple((key, "2026-11-26T00:00:01Z") for key in message_ids))

    sources.services["order"].answers["order_messages"] = placed_at_order_svc  # type: ignore[attr-defined]
    sources.services["mypage"].answers["order_messages"] = at_mypage  # type: ignore[attr-defined]
    order_id = new_id()
    (placed,) = trace_parts.of_order(sources, order_id, 0.3)["entries"]
    assert asked == [(order_id, []), (order_id, [PLACED])]
    assert [taker["service"] for taker in placed["details"]["handled"]] == ["mypage"]


CUSTOMER = {"name": "김하늘", "phone": "010-1234-5678", "email": "sky@example.com"}


@pytest.mark.parametrize("role", ["subscriber", "dispatcher", "operator"])
def test_who_deals_with_the_customer_sees_how_to_reach_them(role: Any) -> None:
    page = {"customer": CUSTOMER, "address": {"postcode": "06236"}}
    assert masking.order_for(role, page) == masking.listed_for(role, page) == page


def test_a_technician_sees_no_phone_number_and_no_email_of_other_peoples_orders() -> None:
    page = {"status": "placed", "customer": CUSTOMER, "address": {"postcode": "06236"}}
    assert masking.order_for("technician", page)["customer"] == {
        "name": "김하늘", "phone": "010-****-5678", "email": None
    }
    assert masking.listed_for("technician", page) == {"status": "placed", "customer": None, "address": None}
    assert masking.order_for("technician", page | {"customer": None})["customer"] is None
    assert page["customer"] == CUSTOMER, "what others are shown is left as it is"


def test_who_acts_on_an_event_is_what_the_services_say() -> None:
    domains = {name: importlib.import_module(f"{name}_svc.domain") for name in (
        "order", "activation", "scheduling", "fieldwork")}
    listening = {
        event: {name for name, domain in domains.items() if event in domain.CONSUMES} for event in EVENTS
    }
    assert {event: set(trace.CONSUMERS.get(event, ())) for event in EVENTS} == listening


def test_a_message_names_who_has_yet_to_take_it_in() -> None:
    (placed,) = trace.merge(
        {"order": answer(sent(PLACED, "order_placed", "2026-11-26T00:00:00Z"))},
        handled={"activation": answer(), "mypage": answer(handled=((PLACED, "2026-11-26T00:00:03Z"),))},
    )
    assert placed["details"]["waits_for"] == ["activation"]
    (unknown,) = trace.merge({"order": answer(sent(PLACED, "order_placed", "2026-11-26T00:00:00Z"))})
    assert unknown["details"]["waits_for"] == [], "nobody could be asked"
