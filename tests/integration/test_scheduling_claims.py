"""Call claims: two dispatchers never call the same customer at once, and a claim ends by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import kombu
import pytest

from chassis import clock
from contracts.changes import EXCHANGE, Change, decode_all
from contracts.errors import Conflict, Invalid, NotFound
from scheduling_svc import call_queue, claims, policy
from scheduling_svc.service import SAGA
from tests.harness.scheduling import Scheduling, an_appointment, running, scheduling
from tools.waiting import wait_until

__all__ = ["running", "scheduling"]

POLICY = policy.urgency({})
LASTS = policy.claim_lasts({})


def claim(scheduling: Scheduling, order_id: str, by: str = "anna") -> Any:
    return scheduling.call("claim_visit", order_id=order_id, by=by)


def record(scheduling: Scheduling, order_id: str, by: str = "anna", **more: Any) -> Any:
    return scheduling.call("record_call", **{"order_id": order_id, "by": by, "outcome": "no_answer", **more})


def claim_of(scheduling: Scheduling, order_id: str) -> Any:
    return scheduling.call("get_visit", order_id=order_id)["claim"]


def test_a_claim_is_seen_by_everyone_and_keeps_others_away(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    assert claim(scheduling, order_id)["claim"] == {"by": "anna", "until": "2026-11-24T23:03:00Z"}
    (item,) = scheduling.call("list_visits")["items"]
    assert (item["claim"]["by"], item["cancel_risk"], item["age_s"]) == ("anna", "low", 0)
    with pytest.raises(Conflict, match="anna is calling this customer, until 2026-11-24T23:03:00Z"):
        claim(scheduling, order_id, "bea")
    for refused in ("record_call", "set_appointment"):
        arguments = {"record_call": {"order_id": order_id, "by": "bea", "outcome": "refused"},
                     "set_appointment": an_appointment(order_id, 9) | {"by": "bea"}}[refused]
        with pytest.raises(Conflict, match="anna is calling"):
            scheduling.call(refused, **arguments)
    visit = scheduling.call("get_visit", order_id=order_id)
    assert (visit["state"], visit["attempts"], scheduling.live_bookings()) == ("requested", [], [])


def test_repeating_a_claim_renews_it_and_without_renewal_it_ends(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    claim(scheduling, order_id)
    scheduling.now += timedelta(seconds=120)
    assert claim(scheduling, order_id)["claim"]["until"] == "2026-11-24T23:05:00Z"
    scheduling.now += timedelta(seconds=180)
    assert claim_of(scheduling, order_id) is None
    assert claim(scheduling, order_id, "bea")["claim"]["by"] == "bea"
    with pytest.raises(Conflict):
        claim(scheduling, order_id)


def test_recording_the_call_or_fixing_the_visit_ends_the_claim_of_the_caller(scheduling: Scheduling) -> None:
    called, fixed = scheduling.request(), scheduling.request()
    for order_id in (called, fixed):
        claim(scheduling, order_id, "dispatcher")
    assert record(scheduling, called, "dispatcher")["claim"] is None
    assert scheduling.appoint(fixed, 9)["claim"] is None
    assert claim_of(scheduling, called) is None and claim_of(scheduling, fixed) is None


def test_a_call_that_is_delivered_again_is_answered_though_somebody_else_calls_by_now(scheduling: Scheduling) -> None:
    order_id, call_id = scheduling.request(), str(clock.new_uuid7())
    record(scheduling, order_id, call_id=call_id)
    claim(scheduling, order_id, "bea")
    assert record(scheduling, order_id, call_id=call_id)["calls"] == 1
    assert claim_of(scheduling, order_id)["by"] == "bea"


def test_the_subscribers_own_move_is_let_through(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    claim(scheduling, order_id)
    arguments = an_appointment(order_id, 9) | {"by": f"subscriber:{order_id}"}
    assert scheduling.call("set_appointment", **arguments)["state"] == "scheduled"
    assert claim_of(scheduling, order_id)["by"] == "anna"


def test_a_release_ends_the_own_claim_only(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    claim(scheduling, order_id)
    assert scheduling.call("release_visit", order_id=order_id, by="bea")["claim"]["by"] == "anna"
    for _ in range(2):
        assert scheduling.call("release_visit", order_id=order_id, by="anna")["claim"] is None


@pytest.mark.parametrize("method", ["claim_visit", "release_visit"])
def test_a_wrong_claim_is_refused_by_field(scheduling: Scheduling, method: str) -> None:
    for arguments, field in (({"order_id": "x", "by": "anna"}, "order_id"),
                             ({"order_id": scheduling.request(), "by": ""}, "by")):
        with pytest.raises(Invalid) as refused:
            scheduling.call(method, **arguments)
        assert [error["field"] for error in refused.value.fields] == [field]
    with pytest.raises(NotFound):
        scheduling.call(method, order_id=str(clock.new_uuid7()), by="anna")
    with pytest.raises(Invalid):
        scheduling.call("claim_next", by="")


def test_a_closed_visit_cannot_be_claimed_and_closing_ends_the_claim(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    claim(scheduling, order_id)
    scheduling.receive(scheduling.event("activation_cancel_requested", order_id))
    assert claim_of(scheduling, order_id) is None
    with pytest.raises(Conflict, match="closed"):
        claim(scheduling, order_id)


def test_of_many_who_claim_one_visit_at_once_exactly_one_gets_it(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    answers = [call.wait() for call in [
        scheduling.calling("claim_visit", order_id=order_id, by=f"d{n}") for n in range(6)
    ]]
    assert [type(answer) for answer in answers].count(Conflict) == 5


def test_next_hands_out_the_first_due_visit_that_nobody_holds_and_never_one_who_refused(
    scheduling: Scheduling,
) -> None:
    held, refused, first, second = (scheduling.request() for _ in range(4))
    claim(scheduling, held, "bea")
    record(scheduling, refused, outcome="refused")
    taken = [scheduling.call("claim_next", by=by) for by in ("anna", "carl", "dora")]
    assert [visit and visit["order_id"] for visit in taken] == [first, second, None]
    assert taken[0]["claim"]["by"] == "anna"
    scheduling.now += timedelta(seconds=180)
    assert scheduling.call("claim_next", by="dora")["order_id"] == held


def test_all_who_press_next_at_once_get_customers_of_their_own(scheduling: Scheduling) -> None:
    orders = [scheduling.request() for _ in range(6)]
    calls = [scheduling.calling("claim_next", by=f"d{n}") for n in range(8)]
    got = [call.wait() for call in calls]
    assert sorted(visit["order_id"] for visit in got if visit) == sorted(orders)
    assert got.count(None) == 2


def test_next_passes_by_a_visit_that_another_transaction_is_just_claiming(scheduling: Scheduling) -> None:
    first, second = scheduling.request(), scheduling.request()
    with scheduling.store.transaction() as tx:
        assert claims.claim_next(tx, "bea", LASTS, POLICY) == UUID(first)
        # Not committed yet: Anna neither waits for Bea nor gets Bea's customer.
        assert scheduling.call("claim_next", by="anna")["order_id"] == second


def test_next_passes_by_a_visit_whose_call_is_just_being_recorded(scheduling: Scheduling) -> None:
    first = scheduling.request()
    with scheduling.store.transaction() as tx:
        visit = SAGA.load(tx, [UUID(first)])[UUID(first)]
        SAGA.store(tx, [visit])
        tx.conn.exec_driver_sql("select 1")  # the call itself, in its table; what was stored travels with that
        assert scheduling.call("claim_next", by="anna") is None
    assert scheduling.call("claim_next", by="anna")["order_id"] == first


def test_who_sees_an_unclaimed_visit_too_late_looks_again(scheduling: Scheduling) -> None:
    """Between the look at the queue and the lock on the visit another may claim it: the claim itself decides."""
    first, second = scheduling.request(), scheduling.request()
    with scheduling.store.transaction() as tx:
        assert call_queue.take_next(tx.conn, "anna", POLICY, tx.now) == UUID(first)
        assert claims._take(tx, UUID(first), "bea", LASTS) is not None
        assert claims._take(tx, UUID(first), "anna", LASTS) is None
        assert claims.claim_next(tx, "anna", LASTS, POLICY) == UUID(second)


def test_a_move_of_a_visit_that_somebody_moved_meanwhile_is_refused(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    seen = scheduling.appoint(order_id, 9, "tech-near")["revision"]
    scheduling.appoint(order_id, 11, "tech-near")
    with pytest.raises(Conflict, match="moved this visit meanwhile"):
        scheduling.call("set_appointment", **an_appointment(order_id, 13), revision=seen)
    (booking,) = scheduling.live_bookings()
    assert booking[1] == "tech-near" and booking[2].hour == 2
    moved = scheduling.call("set_appointment", **an_appointment(order_id, 13, "tech-far"), revision=seen + 1)
    assert (moved["technician_id"], moved["revision"]) == ("tech-far", 3)


def test_an_appointment_agreed_in_a_call_records_the_call_once(scheduling: Scheduling) -> None:
    order_id = scheduling.request()
    wanted = an_appointment(order_id, 9) | {"note": "공동현관 1234"}
    for _ in range(2):
        visit = scheduling.call("set_appointment", **wanted)
    assert (visit["calls"], visit["last_outcome"], visit["state"]) == (1, "agreed", "scheduled")
    moved = scheduling.call("set_appointment", **an_appointment(order_id, 11) | {"note": ""})
    attempts = scheduling.call("get_visit", order_id=order_id)["attempts"]
    assert [(a["outcome"], a["note"]) for a in attempts] == [("agreed", "공동현관 1234"), ("agreed", "")]
    assert moved["calls"] == 2


def test_the_day_board_shows_who_works_when_and_who_is_booked(scheduling: Scheduling) -> None:
    order_id, tomorrow, gone = scheduling.request(), scheduling.request(), scheduling.request()
    scheduling.appoint(order_id, 17, "tech-near")
    scheduling.appoint(tomorrow, 9, "tech-near", days=1)
    scheduling.appoint(gone, 9, "tech-near")
    scheduling.appoint(gone, 9, "tech-far", days=2)
    board = scheduling.call("day_board", date="2026-11-25")
    assert board["windows"][0] == {"window_start": "2026-11-25T00:00:00Z", "window_end": "2026-11-25T02:00:00Z"}
    near = {technician["id"]: technician for technician in board["technicians"]}["tech-near"]
    assert (near["name"], near["skills"], near["areas"], len(near["works"])) == (
        "이서연", ["internet", "tv"], ["06"], 5)
    (visit,) = near["visits"]
    assert visit == {
        "order_id": order_id, "window_start": "2026-11-25T08:00:00Z", "window_end": "2026-11-25T10:00:00Z",
        "customer_name": "김하늘", "postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1",
        "kinds": ["internet", "tv"], "state": "scheduled", "revision": 1,
    }


@pytest.mark.parametrize("date", [None, "", "tomorrow", "2026-02-30", "1999-12-31", 20261125])
def test_a_board_of_no_day_is_refused_by_field(scheduling: Scheduling, date: Any) -> None:
    with pytest.raises(Invalid) as refused:
        scheduling.call("day_board", date=date)
    assert [error["field"] for error in refused.value.fields] == ["date"]


def test_every_change_is_told_to_the_gateways(scheduling: Scheduling) -> None:
    uri = scheduling.container.config["AMQP_URI"]
    with kombu.Connection(uri) as connection:
        channel = connection.default_channel
        kombu.Exchange(EXCHANGE, "fanout", durable=True)(channel).declare()
        queue = kombu.Queue("hints", kombu.Exchange(EXCHANGE, "fanout", durable=True), durable=False)(channel)
        queue.declare()

        def heard(order_id: str) -> bool:
            message = queue.get(no_ack=True)
            return message is not None and Change("visits", order_id) in decode_all(message.body)

        def told(what: str, order_id: str) -> None:
            wait_until(lambda: heard(order_id), f"the hint that {what}")

        order_id = scheduling.request()
        told("a visit was requested", order_id)
        for what, change in {
            "it is claimed": lambda: claim(scheduling, order_id),
            "the claim was released": lambda: scheduling.call("release_visit", order_id=order_id, by="anna"),
            "the next was claimed": lambda: scheduling.call("claim_next", by="anna"),
            "the call was recorded": lambda: record(scheduling, order_id, outcome="agreed"),
            "it is fixed": lambda: scheduling.appoint(order_id, 9),
            "it is being cancelled": lambda: scheduling.receive(
                scheduling.event("activation_cancel_requested", order_id)),
        }.items():
            change()
            told(what, order_id)
