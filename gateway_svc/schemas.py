"""What clients send: request bodies and query parameters. What they get is in `answers.py`.

Orders and results are the types of `contracts`; here is only what belongs to HTTP.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from contracts.events import JobResults
from contracts.orders import Customer, Note, Value, text
from contracts.rejection import RejectionCode
from contracts.rpc import CallOutcome, OrderStatus, VisitState
from contracts.times import Day, Instant, is_date

MAX_LIMIT = 200
DEFAULT_LIMIT = 50

def _moment(value: str) -> str:
    """A time or a date, in range, as text: scheduling knows the local time zone."""
    model: TypeAdapter[Any] = _DAY if is_date(value) else _INSTANT
    try:
        model.validate_python(value)
    except ValidationError as exc:
        raise ValueError("must be a time as in RFC 3339, or a date such as 2026-11-25") from exc
    return value


def _phone(value: str) -> str:
    """The number as orders store it."""
    try:
        return Customer(name="-", phone=value).phone
    except ValidationError as exc:
        raise ValueError("must be a Korean phone number such as 010-1234-5678") from exc


def _whole_number(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value, re.ASCII) is None:
        raise ValueError(f"must be a whole number from 1 to {MAX_LIMIT}")
    return value


Moment = Annotated[str, AfterValidator(_moment), Field(description="RFC 3339 time or date", max_length=40)]
Cursor = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[A-Za-z0-9_=.:-]+$")]
_DAY: TypeAdapter[Any] = TypeAdapter(Day)
_INSTANT: TypeAdapter[Any] = TypeAdapter(Instant)
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT), BeforeValidator(_whole_number)]


class SignIn(Value):
    """A staff user signs in."""

    username: text(max_length=64)  # type: ignore[valid-type]
    password: str = Field(min_length=1, max_length=200)


class Cancel(Value):
    """Why the subscriber wants out."""

    reason: Note = ""


class RecordCall(Value):
    """What came of a call. `call_back_at` is when the customer wants to be called again."""

    outcome: CallOutcome
    note: Note = ""
    call_back_at: Instant | None = None


class Appointment(Value):
    """The wanted window. Without a technician, the best one comes."""

    window_start: Instant
    window_end: Instant
    technician_id: text(max_length=64) | None = None  # type: ignore[valid-type]

    @field_validator("window_end")
    @classmethod
    def _after_start(cls, value: datetime, info: ValidationInfo) -> datetime:
        start = info.data.get("window_start")
        if start is not None and value <= start:
            raise ValueError("must be after window_start")
        return value


class Results(JobResults):
    """What was measured; a misspelt field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CompleteJob(Value):
    """The installation is done."""

    results: Results
    note: Note = ""


class RejectJob(Value):
    """The installation cannot be done (반송)."""

    reason_code: RejectionCode
    note: Note = ""


class Abandon(Value):
    """Why an order in fallout is given up."""

    reason: Note = ""


class RetryQuery(BaseModel):
    """`another_port`: the ports of the last try are blocked, and others are given out."""

    another_port: bool = False


class ListQuery(BaseModel):
    """One page of a list."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


class OrdersQuery(ListQuery):
    """`ont_serial` and `order_end` (the last 4 or more hex digits of the number) are for operators."""

    status: OrderStatus | None = None
    phone: Annotated[str, Field(max_length=20), AfterValidator(_phone)] | None = None
    ont_serial: Annotated[str, Field(pattern=r"^[A-Z]{4}[0-9A-F]{8}$")] | None = None
    order_end: Annotated[str, Field(pattern=r"^[0-9a-f]{4,32}$")] | None = None


class VisitsQuery(ListQuery):
    """Without `state`: the call queue."""

    state: VisitState | None = None


class JobsQuery(ListQuery):
    """`date` is a local day (Asia/Seoul); today where left out."""

    date: Day | None = None


class WindowsQuery(BaseModel):
    """Windows that start at `from` (now) or later and before `to`: RFC 3339 times, or local dates (Asia/Seoul)."""

    from_: Moment | None = Field(None, alias="from")
    to: Moment | None = None


class ServiceQuery(BaseModel):
    """Which service's parked message is meant; without it, every service that has parked this message."""

    service: Literal["order", "activation", "scheduling", "fieldwork", "mypage", "gateway"] | None = None
