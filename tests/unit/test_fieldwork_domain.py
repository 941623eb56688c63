"""Promises of the job's rules: late appointments, ownership, repeats, what a technician may send."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from contracts.errors import Forbidden, Invalid, NotFound
from contracts.events import Event, VisitCancelRequested, VisitScheduled
from contracts.ids import new_id
from contracts.rpc import Job as JobAnswer
from fieldwork_svc import domain, models, queries
from fieldwork_svc.domain import Job

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
ORDER = UUID("0193a000-0000-7000-8000-000000000001")
RESULTS = {"ont_serial": "HFRN1234ABCD", "rx_power_dbm": -19.5, "down_mbps": 487.0}


def a_visit(revision: int = 1, technician: str = "tech-1", order_id: UUID = ORDER) -> VisitScheduled:
    start = NOW + timedelta(days=revision)
    return VisitScheduled(
        event_id=new_id(),
        occurred_at=NOW,
        order_id=order_id,
        revision=revision,
        window_start=start,
        window_end=start + timedelta(hours=2),
        technician_id=technician,
        technician_name="김기사",
        customer={"name": "김하늘", "phone": "010-1234-5678"},
        address={"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1"},
        items=[{"product": "internet-500", "quantity": 1}],
    )


def a_cancel(order_id: UUID = ORDER) -> VisitCancelRequested:
    return VisitCancelRequested(event_id=new_id(), occurred_at=NOW, order_id=order_id, reason="moving")


def told(job: Job, *messages: Event | domain.Command) -> tuple[Job, list[Event]]:
    """Let messages take effect as the shell does: guard, table, evolve, events."""
    caused: list[Event] = []
    for message in messages:
        if isinstance(message, Event) and not domain.without_stale({job.order_id: job}, [message]):
            continue
        transition = domain.TABLE.decide(job.state, message.trigger)
        if transition.ignored:
            continue
        job = replace(domain.evolve(job, message, NOW), state=transition.to)
        for name in transition.emits:
            envelope = {"event_id": new_id(), "occurred_at": NOW, "order_id": job.order_id}
            caused.append(domain.event(name, job, message, envelope))
    return job, caused


def test_visit_becomes_an_assigned_job_with_all_the_technician_needs() -> None:
    job, caused = told(Job(ORDER), a_visit(technician="tech-7"))
    assert (job.state, job.revision, job.technician_id, caused) == ("assigned", 1, "tech-7", [])
    answer = JobAnswer.model_validate_json(JobAnswer(**queries.as_answer(job)).model_dump_json())
    assert answer.customer.phone == "010-1234-5678"
    assert answer.items[0].product == "internet-500"


def test_reschedule_puts_a_started_job_back_with_the_new_window_and_technician() -> None:
    job, _ = told(Job(ORDER), a_visit(1), domain.Start(ORDER, "tech-1"))
    assert (job.state, job.started_at) == ("started", NOW)
    moved, _ = told(job, a_visit(2, "tech-2"))
    assert (moved.state, moved.technician_id, moved.started_at) == ("assigned", "tech-2", None)
    assert moved.window_start == NOW + timedelta(days=2)


@pytest.mark.parametrize("late", [1, 2])
def test_older_or_equal_revision_that_arrives_late_changes_nothing(late: int) -> None:
    job, _ = told(Job(ORDER), a_visit(2, "tech-2"), domain.Start(ORDER, "tech-2"))
    after, caused = told(job, a_visit(late, "tech-1"))
    assert after == job
    assert caused == []


def test_within_one_batch_only_growing_revisions_pass() -> None:
    other = new_id()
    batch = [a_visit(2), a_visit(1), a_cancel(), a_visit(1, order_id=other), a_visit(3)]
    passed = domain.without_stale({ORDER: Job(ORDER), other: Job(other)}, batch)
    assert passed == [batch[0], batch[2], batch[3], batch[4]]


def test_completed_job_carries_its_results_into_the_event() -> None:
    done, caused = told(Job(ORDER), a_visit(), domain.complete(ORDER, "tech-1", RESULTS, "문 앞"))
    assert (done.state, done.closed_at, done.note) == ("completed", NOW, "문 앞")
    assert [event.event_type for event in caused] == ["fieldwork_completed"]
    assert caused[0].model_dump()["results"]["rx_power_dbm"] == -19.5


def test_rejected_job_carries_its_reason_into_the_event() -> None:
    done, caused = told(Job(ORDER), a_visit(), domain.reject(ORDER, "tech-1", "no_duct", None))
    assert (done.state, done.reason_code, done.note) == ("rejected", "no_duct", "")
    assert caused[0].model_dump()["reason_code"] == "no_duct"


def test_cancel_that_overtakes_its_visit_leaves_a_tombstone() -> None:
    job, caused = told(Job(ORDER), a_cancel())
    assert [event.event_type for event in caused] == ["fieldwork_cancelled"]
    after, caused = told(job, a_visit())
    assert (after.state, caused) == ("cancelled", [])
    with pytest.raises(NotFound):
        domain.check_owner(after, "tech-1")


def test_only_the_assigned_technician_may_act() -> None:
    job, _ = told(Job(ORDER), a_visit(1, "tech-1"), a_visit(2, "tech-2"))
    domain.check_owner(job, "tech-2")
    with pytest.raises(Forbidden):
        domain.check_owner(job, "tech-1")


def test_same_report_again_is_a_repeat_and_another_is_not() -> None:
    complete = domain.complete(ORDER, "tech-1", RESULTS, "ok")
    done, _ = told(Job(ORDER), a_visit(), complete)
    assert domain.is_repeat(done, complete)
    assert not domain.is_repeat(done, domain.complete(ORDER, "tech-1", RESULTS, "other note"))
    assert not domain.is_repeat(done, domain.complete(ORDER, "tech-1", RESULTS | {"down_mbps": 90.0}, "ok"))
    assert not domain.is_repeat(done, domain.reject(ORDER, "tech-1", "other", "ok"))
    rejected, _ = told(Job(ORDER), a_visit(), domain.reject(ORDER, "tech-1", "unsafe", ""))
    assert domain.is_repeat(rejected, domain.reject(ORDER, "tech-1", "unsafe", None))
    assert not domain.is_repeat(rejected, domain.reject(ORDER, "tech-1", "no_power", ""))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ont_serial": "hfrn1234abcd"}, "results.ont_serial"),
        ({"ont_serial": 5}, "results.ont_serial"),
        ({"ont_serial": "HFRN1234ABCD\n"}, "results.ont_serial"),
        ({"rx_power_dbm": float("nan")}, "results.rx_power_dbm"),
        ({"rx_power_dbm": "-20"}, "results.rx_power_dbm"),
        ({"rx_power_dbm": True}, "results.rx_power_dbm"),
        ({"rx_power_dbm": -99}, "results.rx_power_dbm"),
        ({"rx_power_dbm": 10**400}, "results.rx_power_dbm"),
        ({"down_mbps": 0}, "results.down_mbps"),
        ({"up_mbps": []}, "results.up_mbps"),
        ({"rx_power": -20}, "results.rx_power"),
    ],
)
def test_implausible_result_is_invalid_and_named(change: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        domain.complete(ORDER, "tech-1", RESULTS | change, "")
    assert [fault["field"] for fault in caught.value.fields] == [field]


@pytest.mark.parametrize("missing", ["ont_serial", "rx_power_dbm", "down_mbps"])
def test_missing_result_is_invalid_and_named(missing: str) -> None:
    with pytest.raises(Invalid) as caught:
        domain.complete(ORDER, "tech-1", {name: value for name, value in RESULTS.items() if name != missing}, "")
    assert [fault["field"] for fault in caught.value.fields] == [f"results.{missing}"]


@pytest.mark.parametrize("results", [None, [], "x", 3])
def test_results_that_are_no_object_are_invalid(results: object) -> None:
    with pytest.raises(Invalid) as caught:
        domain.complete(ORDER, "tech-1", results, "")
    assert caught.value.fields[0]["field"] == "results"


@pytest.mark.parametrize("code", ["", "bored", None, 1, [], {}])
def test_unknown_rejection_reason_is_invalid_and_named(code: object) -> None:
    with pytest.raises(Invalid) as caught:
        domain.reject(ORDER, "tech-1", code, "")
    assert caught.value.fields[0]["field"] == "reason_code"


@pytest.mark.parametrize("note", ["x" * 501, 5, "\x00", ["a"]])
def test_bad_note_is_invalid_and_named(note: object) -> None:
    with pytest.raises(Invalid) as caught:
        domain.reject(ORDER, "tech-1", "other", note)
    assert caught.value.fields[0]["field"] == "note"


def test_day_is_the_local_one() -> None:
    start, end = domain.day_bounds(date(2026, 11, 25), ZoneInfo("Asia/Seoul"))
    assert start.astimezone(UTC) == datetime(2026, 11, 24, 15, tzinfo=UTC)
    assert end - start == timedelta(days=1)


@pytest.mark.parametrize("text", ["", "25.11.2026", "2026-02-30", None, 7, "9999-12-31"])
def test_bad_day_is_invalid_and_named(text: object) -> None:
    with pytest.raises(Invalid) as caught:
        domain.day_bounds(domain.parse_day(text), ZoneInfo("Asia/Seoul"))
    assert caught.value.fields[0]["field"] == "date"


def test_every_event_the_table_names_can_be_built() -> None:
    named = {name for _, _, row in domain.TABLE for name in getattr(row, "emits", ())}
    assert named == {"fieldwork_completed", "fieldwork_rejected", "fieldwork_cancelled"}


def test_row_is_what_the_table_keeps() -> None:
    assert {field.name for field in fields(Job)} | {"created_at", "updated_at"} == set(models.table.c.keys())
