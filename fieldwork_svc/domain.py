"""The job's state machine. Pure: no I/O, no clock, no framework.

`fieldwork_completed` is the pivot: whichever of complete, reject and cancel reaches the job's row first
decides the order's outcome, and the others have lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, ClassVar, get_args
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from chassis.table import IGNORE, NONE, Refusal, Row, Table, rows, to
from contracts.errors import Conflict, Forbidden, Invalid, NotFound
from contracts.events import (
    Event,
    FieldworkCancelled,
    FieldworkCompleted,
    FieldworkRejected,
    JobResults,
    VisitCancelRequested,
    VisitScheduled,
)
from contracts.orders import Note
from contracts.rejection import RejectionCode

_UNKNOWN_WHY = "there is no job for this order"
_CANCELLED_WHY = "the customer cancelled; the job is withdrawn"
_DONE_WHY = "the job is already completed"
_REJECTED_WHY = "the job is already rejected"

_OPEN: dict[str, Row] = {
    "visit_scheduled": to("assigned"),
    "start": to("started"),
    "complete": to("completed", "fieldwork_completed"),
    "reject": to("rejected", "fieldwork_rejected"),
    "visit_cancel_requested": to("cancelled", "fieldwork_cancelled"),
}

_CLOSED: dict[str, Row] = {"visit_scheduled": IGNORE, "visit_cancel_requested": IGNORE}

CONSUMES = (
    "visit_scheduled", "visit_cancel_requested",
)
"""The events this service acts on: its `@batch_handler` and the saga model test both read them here."""

TABLE = Table(
    name="fieldwork",
    rows=rows(
        (NONE, {
            "visit_scheduled": to("assigned"),
            "visit_cancel_requested": to("cancelled", "fieldwork_cancelled"),
            "start": Refusal(_UNKNOWN_WHY), "complete": Refusal(_UNKNOWN_WHY), "reject": Refusal(_UNKNOWN_WHY),
        }),
        ("assigned", _OPEN),
        ("started", _OPEN | {"start": IGNORE}),
        ("completed", _CLOSED | {
            "start": Refusal(_DONE_WHY), "complete": Refusal(_DONE_WHY), "reject": Refusal(_DONE_WHY),
        }),
        ("rejected", _CLOSED | {
            "start": Refusal(_REJECTED_WHY), "complete": Refusal(_REJECTED_WHY), "reject": Refusal(_REJECTED_WHY),
        }),
        ("cancelled", _CLOSED | {
            "start": Refusal(_CANCELLED_WHY), "complete": Refusal(_CANCELLED_WHY),
            "reject": Refusal(_CANCELLED_WHY),
        }),
    ),
    final=frozenset({"completed", "rejected", "cancelled"}),
)


@dataclass(frozen=True, slots=True)
class Job:
    """One job, the technician's work order. `revision` 0: no visit is known (a tombstone, or nothing yet).

    `results` is a `JobResults` as JSON (`rx_power_dbm` in dBm, speeds in Mbit/s).
    """

    order_id: UUID
    state: str = NONE
    revision: int = 0
    window_start: datetime | None = None
    window_end: datetime | None = None
    technician_id: str | None = None
    technician_name: str | None = None
    customer: dict[str, Any] | None = None
    address: dict[str, Any] | None = None
    items: list[dict[str, Any]] | None = None
    started_at: datetime | None = None
    closed_at: datetime | None = None
    results: dict[str, Any] | None = None
    reason_code: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """The technician is on site."""

    trigger: ClassVar[str] = "start"
    order_id: UUID
    technician_id: str
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Complete:
    """The technician has installed it."""

    trigger: ClassVar[str] = "complete"
    order_id: UUID
    technician_id: str
    results: JobResults
    note: str = ""
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """The technician could not install it (반송)."""

    trigger: ClassVar[str] = "reject"
    order_id: UUID
    technician_id: str
    reason_code: RejectionCode
    note: str = ""
    message_id: str | None = None


Command = Start | Complete | Reject

_NOTE: TypeAdapter[str] = TypeAdapter(Note)


def evolve(job: Job, message: Any, now: datetime) -> Job:
    """Take over what `message` says into the job; its state is the table's business."""
    match message:
        case VisitScheduled():
            visit = message.model_dump(mode="json", include={"customer", "address", "items"})
            return replace(
                job,
                revision=message.revision,
                window_start=message.window_start,
                window_end=message.window_end,
                technician_id=message.technician_id,
                technician_name=message.technician_name,
                started_at=None,
                **visit,
            )
        case Start():
            return replace(job, started_at=now)
        case Complete():
            return replace(job, closed_at=now, results=_as_json(message.results), note=message.note)
        case Reject():
            return replace(job, closed_at=now, reason_code=message.reason_code, note=message.note)
        case VisitCancelRequested():
            return replace(job, closed_at=now)
    raise TypeError(f"a job does not evolve with {type(message).__name__}")


def event(name: str, job: Job, message: Any, envelope: Mapping[str, Any]) -> Event:
    """Build the event that the table named for what `message` did to `job`."""
    match name, message:
        case "fieldwork_completed", Complete():
            return FieldworkCompleted(
                **envelope, technician_id=message.technician_id, results=message.results, note=message.note
            )
        case "fieldwork_rejected", Reject():
            return FieldworkRejected(
                **envelope, technician_id=message.technician_id, reason_code=message.reason_code, note=message.note
            )
        case "fieldwork_cancelled", VisitCancelRequested():
            return FieldworkCancelled(**envelope, reason=message.reason)
    raise ValueError(f"{type(message).__name__} does not cause {name!r}")


def without_stale(jobs: Mapping[UUID, Job], events: Iterable[Event]) -> list[Event]:
    """Drop each `visit_scheduled` whose revision is not newer than what the job, or the batch so far, knows.

    An appointment that arrives late must change nothing, not even put a started job back to `assigned`.
    """
    newest = {order_id: job.revision for order_id, job in jobs.items()}
    fresh: list[Event] = []
    for news in events:
        if isinstance(news, VisitScheduled):
            if news.revision <= newest.get(news.order_id, 0):
                continue
            newest[news.order_id] = news.revision
        fresh.append(news)
    return fresh


def check_owner(job: Job, technician_id: str) -> None:
    """Raise NotFound where there is no such job, Forbidden where it is somebody else's."""
    if job.technician_id is None:
        raise NotFound(f"there is no job for order {job.order_id}")
    check_reader(job.technician_id, technician_id)


def check_reader(owner: str | None, technician_id: str | None) -> None:
    """Raise Forbidden where the job is another technician's; None, for staff of the desk, reads every job."""
    if technician_id is not None and owner != technician_id:
        raise Forbidden("this job is assigned to another technician now")


def check_takes_photos(job: Job) -> None:
    """Raise Conflict for a withdrawn job. One that is done still takes what was photographed before, in a dead spot."""
    if job.state == "cancelled":
        raise Conflict(_CANCELLED_WHY)


def is_repeat(job: Job, command: Command) -> bool:
    """Whether `command` says again what already happened: a phone in a dead spot sends twice."""
    match command:
        case Complete():
            done = job.state == "completed" and job.results == _as_json(command.results)
        case Reject():
            done = job.state == "rejected" and job.reason_code == command.reason_code
        case Start():
            # Also when it is closed by now: that he was on site was said, and heard.
            return job.started_at is not None and job.state in {"started", "completed", "rejected"}
    return done and job.note == command.note


def complete(order_id: UUID, technician_id: str, results: Any, note: Any) -> Complete:
    """Check what the technician sent; raise Invalid naming `results.<name>` or `note`."""
    known = frozenset(JobResults.model_fields)
    if not isinstance(results, dict):
        raise _invalid("results", f"must be an object with {', '.join(JobResults.model_fields)}")
    unknown = [str(name)[:50] for name in results if name not in known]
    fields = [_fault(f"results.{name}", "is not a known measurement") for name in unknown]
    checked: JobResults | None = None
    try:
        checked = JobResults.model_validate(results, strict=True)
    except ValidationError as exc:
        fields += [
            _fault(".".join(("results", *map(str, error["loc"]))), error["msg"])
            for error in exc.errors(include_url=False, include_input=False)
        ]
    if checked is None or fields:
        raise Invalid("the results are not complete or not plausible", fields)
    return Complete(order_id, technician_id, checked, _note(note))


def reject(order_id: UUID, technician_id: str, reason_code: Any, note: Any) -> Reject:
    """Check what the technician sent; raise Invalid naming `reason_code` or `note`."""
    for code in get_args(RejectionCode):
        if reason_code == code:
            return Reject(order_id, technician_id, code, _note(note))
    raise _invalid("reason_code", f"must be one of {', '.join(get_args(RejectionCode))}")


def day_bounds(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the first moment of local `day` in `zone`, and of the day after; raise Invalid where there is none."""
    try:
        return datetime.combine(day, time(), zone), datetime.combine(day + timedelta(days=1), time(), zone)
    except OverflowError:
        raise _invalid("date", "is beyond the calendar") from None


def parse_day(text: Any) -> date:
    """Read an ISO 8601 date (`2026-11-25`); raise Invalid naming `date`."""
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        raise _invalid("date", "must be a date such as 2026-11-25") from None


def _as_json(results: JobResults) -> dict[str, Any]:
    return results.model_dump(mode="json")


def _note(note: Any) -> str:
    try:
        return _NOTE.validate_python("" if note is None else note)
    except ValidationError as exc:
        raise _invalid("note", exc.errors(include_url=False)[0]["msg"]) from None


def _fault(field: str, message: str) -> dict[str, str]:
    return {"field": field, "message": message}


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", [_fault(field, message)])
