"""Appointments: a window is booked once, whoever asks at the same moment; moving and closing frees it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from contracts.errors import Conflict, Invalid, NotFound
from scheduling_svc import appointments
from scheduling_svc.models import Base
from scheduling_svc.requests import Appointment, checked
from scheduling_svc.service import SAGA
from tests.harness.scheduling import Scheduling, an_appointment, at_seoul, running, scheduling

__all__ = ["running", "scheduling"]

RESULTS = {"ont_serial": "ABCD12345678", "rx_power_dbm": -18.5, "down_mbps": 480}
UNKNOWN = "01939c00-0000-7000-8000-000000000001"


def test_an_appointment_without_a_technician_takes_the_best_one_and_says_so(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    visit = scheduling.appoint(order_id, 13)
    assert (visit["state"], visit["technician_id"], visit["technician_name"]) == ("scheduled", "tech-near", "이서연")
    assert visit["window_start"] == "2026-11-25T04:00:00Z"
    assert scheduling.queue() == []
    (event,) = scheduling.emitted(order_id)
    assert (event["event_type"], event["revision"], event["technician_name"]) == ("visit_scheduled", 1, "이서연")
    assert (event["customer"]["name"], event["address"]["postcode"]) == ("김하늘", "06236")
    assert [item["product"] for item in event["items"]] == ["internet-500", "tv-basic"]


def test_of_many_who_want_one_window_at_once_exactly_one_gets_it(scheduling: Scheduling) -> None:
    orders = [scheduling.request() for _ in range(6)]
    calls = [scheduling.calling("set_appointment", **an_appointment(o, 9, "tech-near")) for o in orders]
    answers = [call.wait() for call in calls]
    won = [order for order, answer in zip(orders, answers, strict=True) if isinstance(answer, dict)]
    assert len(won) == 1
    assert [type(answer) for answer in answers].count(Conflict) == 5
    assert [booking[:2] for booking in scheduling.live_bookings()] == [(won[0], "tech-near")]
    assert sorted(scheduling.queue()) == sorted(set(orders) - set(won))


@pytest.mark.parametrize("technician_id", ["tech-near", None])
def test_who_loses_the_race_for_a_window_is_told_or_gets_the_next_best(
    scheduling: Scheduling, technician_id: str | None
) -> None:
    first, second = scheduling.request(), scheduling.request()
    wanted = checked(Appointment, **an_appointment(first, 9, "tech-near"))
    with scheduling.store.transaction() as tx:
        visit = SAGA.load(tx, [wanted.order_id])[wanted.order_id]
        command = appointments.fix(tx, visit, wanted, scheduling.grid)
        assert command is not None
        SAGA.command(tx, command)
        # The first has booked and not committed: the second does not see the booking, and waits at the index.
        racing = scheduling.calling("set_appointment", **an_appointment(second, 9, technician_id))
        scheduling.wait_until_blocked()
    answer = racing.wait()
    if technician_id is None:
        assert answer["technician_id"] == "tech-far"
    else:
        assert isinstance(answer, Conflict)
        assert "booked already" in answer.detail
    slots = [booking[1:] for booking in scheduling.live_bookings()]
    assert len(slots) == len(set(slots)) == (1 if technician_id else 2)


def test_a_reschedule_frees_the_old_window_and_announces_the_new_one(scheduling: Scheduling) -> None:
    order_id, other = scheduling.request(), scheduling.request()
    scheduling.appoint(order_id, 9, "tech-near")
    moved = scheduling.appoint(order_id, 15, "tech-far", days=1)
    assert (moved["revision"], moved["technician_id"]) == (2, "tech-far")
    assert [event["revision"] for event in scheduling.emitted(order_id)] == [1, 2]
    assert scheduling.live_bookings() == [(order_id, "tech-far", at_seoul(15, days=1))]
    assert scheduling.appoint(other, 9, "tech-near")["state"] == "scheduled"


def test_setting_what_stands_already_changes_nothing(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    first = scheduling.appoint(order_id, 9)
    assert scheduling.appoint(order_id, 9) == first
    assert scheduling.appoint(order_id, 9, first["technician_id"]) == first
    assert len(scheduling.emitted(order_id)) == 1


def test_a_refused_reschedule_leaves_the_old_appointment_standing(scheduling: Scheduling) -> None:
    order_id, other = scheduling.request(), scheduling.request()
    scheduling.appoint(order_id, 9, "tech-near")
    scheduling.appoint(other, 11, "tech-near")
    with pytest.raises(Conflict):
        scheduling.appoint(order_id, 11, "tech-near")
    assert scheduling.call("get_visit", order_id=order_id)["revision"] == 1
    assert scheduling.live_bookings()[0] == (order_id, "tech-near", at_seoul(9))


def test_when_nobody_is_left_the_window_is_refused_and_no_longer_offered(scheduling: Scheduling) -> None:
    for _ in range(2):
        scheduling.appoint(scheduling.request(), 9)
    last = scheduling.request()
    with pytest.raises(Conflict, match="every technician who could come is booked"):
        scheduling.appoint(last, 9)
    offered = scheduling.call("free_windows", order_id=last)["items"]
    assert offered[0]["window_start"] == "2026-11-25T02:00:00Z"
    assert offered[0]["technicians"] == [{"id": "tech-near", "name": "이서연"}, {"id": "tech-far", "name": "김도현"}]


def test_free_windows_are_those_still_ahead_within_the_asked_bounds(scheduling: Scheduling) -> None:
    order_id = scheduling.request(products=("internet-100",))
    scheduling.now = at_seoul(9)
    offered = scheduling.call("free_windows", order_id=order_id, to="2026-11-26")["items"]
    assert [item["window_start"][11:13] for item in offered] == ["02", "04", "06", "08"]
    assert {technician["id"] for technician in offered[0]["technicians"]} == {"tech-near", "tech-far", "tech-internet"}
    tomorrow = scheduling.call("free_windows", order_id=order_id, from_="2026-11-26", to="2026-11-27")["items"]
    assert [item["window_start"][:10] for item in tomorrow] == ["2026-11-26"] * 5
    assert scheduling.call("free_windows", order_id=order_id, from_="2099-12-31")["items"] == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"technician_id": "nobody"}, "technician_id"),
        ({"technician_id": "tech-internet"}, "technician_id"),
        ({"window_start": at_seoul(8).isoformat()}, "window_start"),
        ({"window_start": at_seoul(9, days=-1).isoformat()}, "window_start"),
        ({"window_end": at_seoul(13).isoformat()}, "window_end"),
        ({"window_end": None}, "window_end"),
        ({"order_id": "x"}, "order_id"),
    ],
)
def test_a_wrong_appointment_is_refused_by_field(scheduling: Scheduling, changes: dict[str, Any], field: str) -> None:
    order_id = scheduling.request()
    with pytest.raises(Invalid) as refused:
        scheduling.call("set_appointment", **{**an_appointment(order_id, 9), **changes})
    assert [error["field"] for error in refused.value.fields] == [field]
    assert scheduling.live_bookings() == []


def test_without_a_visit_there_is_nothing_to_appoint(scheduling: Scheduling) -> None:
    with pytest.raises(NotFound):
        scheduling.appoint(UNKNOWN, 9)
    with pytest.raises(NotFound):
        scheduling.call("free_windows", order_id=UNKNOWN)


def test_a_cancelled_visit_keeps_its_window_until_field_work_lets_go(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    scheduling.appoint(order_id, 9)
    scheduling.receive(scheduling.event("activation_cancel_requested", order_id, reason="이사"))
    assert len(scheduling.live_bookings()) == 1
    with pytest.raises(Conflict, match="being cancelled"):
        scheduling.appoint(order_id, 11)
    scheduling.receive(scheduling.event("fieldwork_cancelled", order_id))
    assert scheduling.live_bookings() == []
    events = [(event["event_type"], event.get("reason")) for event in scheduling.emitted(order_id)][1:]
    assert events == [("visit_cancel_requested", "이사"), ("visit_cancelled", "이사")]


def test_a_rejected_visit_frees_a_window_ahead_and_keeps_one_that_has_begun(scheduling: Scheduling) -> None:
    early, late = scheduling.request(), scheduling.request()
    scheduling.appoint(early, 9)
    scheduling.appoint(late, 15)
    scheduling.now = at_seoul(9) + timedelta(minutes=30)
    rejection = {"technician_id": "tech-near", "reason_code": "no_fibre"}
    scheduling.receive(*(scheduling.event("fieldwork_rejected", order, **rejection) for order in (early, late)))
    assert [booking[0] for booking in scheduling.live_bookings()] == [early]
    assert scheduling.call("get_visit", order_id=late)["state"] == "rejected"


def test_a_completed_visit_is_closed_and_counts_no_longer(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    scheduling.appoint(order_id, 9, "tech-far")
    loads = {t["id"]: t["load_by_day"] for t in scheduling.call("list_technicians")["items"]}
    assert loads == {"tech-far": {"2026-11-25": 1}, "tech-internet": {}, "tech-near": {}}
    completed = scheduling.event("fieldwork_completed", order_id, technician_id="tech-far", results=RESULTS)
    scheduling.receive(completed, completed)
    assert scheduling.call("get_visit", order_id=order_id)["state"] == "completed"
    assert {t["load"] for t in scheduling.call("list_technicians")["items"]} == {0}
    with pytest.raises(Conflict, match="closed"):
        scheduling.call("free_windows", order_id=order_id)


def test_the_migrations_make_exactly_the_tables_that_the_code_expects(scheduling: Scheduling) -> None:
    with scheduling.store.engine.connect() as conn:
        assert compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), Base.metadata) == []
