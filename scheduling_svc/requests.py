"""What callers may ask of scheduling, checked once at the edge: typed values in, Invalid naming the field out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from contracts.errors import Invalid
from contracts.orders import Note, Value, text
from contracts.rpc import CallOutcome, VisitRequest, VisitResult, VisitState
from contracts.times import Day, Instant, is_date
from scheduling_svc.windows import Grid

Outcome = Literal["accepted", "cancelled"]
"""What became of a visit request (`contracts.rpc.VisitAnswer`)."""


class Call(Value):
    """A call that was made. `by` is who called; a call with a `call_id` counts once however often it comes."""

    order_id: UUID
    by: text(max_length=100)  # type: ignore[valid-type]
    outcome: CallOutcome
    note: Note = ""
    call_back_at: Instant | None = None
    call_id: UUID | None = None


class Appointment(Value):
    """The wanted window; without a technician the best one is taken. `by` is who asks.

    With a `revision`, the visit is moved only where it still has that one: nobody moved it meanwhile. With a `note`
    (it may be empty), a call in which the customer agreed is recorded with the appointment.
    """

    order_id: UUID
    by: text(max_length=100)  # type: ignore[valid-type]
    window_start: Instant
    window_end: Instant
    technician_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    revision: Annotated[int, Field(ge=0, strict=True)] | None = None
    note: Note | None = None


class VisitList(Value):
    """`state` None is the call queue."""

    state: VisitState | None = None
    limit: Annotated[int, Field(ge=1, le=200, strict=True)] = 50
    cursor: Annotated[str, Field(max_length=500)] | None = None


class OneOrder(Value):
    """A question about one order."""

    order_id: UUID


class NextClaim(Value):
    """A claim on whoever comes first. `by` is who will call."""

    by: text(max_length=100)  # type: ignore[valid-type]


class VisitClaim(OneOrder, NextClaim):
    """A claim on one visit. `by` is who calls the customer."""


class BoardDay(Value):
    """A local day; `date` as in 2026-11-25."""

    date: Day


_DAY: TypeAdapter[date] = TypeAdapter(Day)
_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)
_Checked = TypeVar("_Checked", bound=BaseModel)


def checked(model: type[_Checked], **data: Any) -> _Checked:
    """Return `data` as a `model`; raise Invalid with one entry for each field at fault."""
    return _validated(model, data)


def visit_request(data: Any) -> VisitRequest:
    """Return `data` as a request; raise Invalid."""
    return _validated(VisitRequest, data)


def result_of(data: Any, request: VisitRequest | Invalid, outcomes: Mapping[UUID, Outcome]) -> VisitResult:
    """What to answer to the request that `data` was."""
    if isinstance(request, VisitRequest):
        return VisitResult(order_id=request.order_id, outcome=outcomes[request.order_id])
    try:
        order_id = UUID(data["order_id"])
    except (KeyError, TypeError, ValueError, AttributeError):
        order_id = None
    return VisitResult(order_id=order_id, outcome="invalid", error=request.as_dict())


def _validated(model: type[_Checked], data: Any) -> _Checked:
    try:
        return model.model_validate(data)
    except ValidationError as exc:
        fields = [
            {"field": ".".join(str(part) for part in error["loc"]) or "body", "message": _message(error)}
            for error in exc.errors(include_url=False, include_context=False)
        ]
        detail = "; ".join(f"{field['field']}: {field['message']}" for field in fields)
        raise Invalid(detail, fields) from exc


def _message(error: Any) -> str:
    return str(error["msg"]).removeprefix("Value error, ")


def moment(field: str, value: Any, grid: Grid) -> datetime:
    """Read `from` or `to`: an RFC 3339 time, or a local date, which means its first instant. Raises Invalid."""
    message = "must be a time as in RFC 3339, or a date such as 2026-11-25"
    if not isinstance(value, str):
        raise Invalid(f"{field} {message}", [{"field": field, "message": message}])
    try:
        if is_date(value):
            return datetime.combine(_DAY.validate_python(value), time(), grid.timezone).astimezone(UTC)
        return _INSTANT.validate_python(value)
    except ValidationError as exc:
        raise Invalid(f"{field} {message}", [{"field": field, "message": message}]) from exc


