"""What clients get, as the OpenAPI document shows it. Orders and jobs are the types of `contracts`."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from contracts.catalogue import Product
from contracts.rejection import RejectionCode
from contracts.rpc import AtRisk, Fallout, Job, OrderPage, OrderStatus, Photo, VisitState
from gateway_svc import trace
from gateway_svc.auth import Role


class Session(BaseModel):
    """A signed token and what it allows."""

    token: str
    role: Role
    expires_at: AwareDatetime


class Links(BaseModel):
    """Where this order can be followed and cancelled."""

    self: str
    stream: str
    cancel: str


class OrderAnswer(BaseModel):
    """`placed` (201): order_svc has it. `accepted` (202): it is written down here and will be placed."""

    order_id: UUID
    status: Literal["placed", "accepted"]
    token: str
    links: Links


class CancelAnswer(BaseModel):
    order_id: UUID
    status: OrderStatus


class OrderList(BaseModel):
    """Newest first; timelines are left out."""

    items: list[OrderPage]
    next_cursor: str | None


class JobList(BaseModel):
    items: list[Job]
    next_cursor: str | None


class PhotoKept(BaseModel):
    photo_id: UUID


class PhotoList(BaseModel):
    """Oldest first; all of them."""

    items: list[Photo]
    next_cursor: None = None


class ProductList(BaseModel):
    items: list[Product]
    next_cursor: None = None


class RejectionReason(BaseModel):
    code: RejectionCode
    ko: str
    en: str


class RejectionReasonList(BaseModel):
    items: list[RejectionReason]
    next_cursor: None = None


class Thing(BaseModel):
    """An object whose further fields its service's canvas describes."""

    model_config = ConfigDict(extra="allow")


class CallClaim(BaseModel):
    """Who is on the phone with the customer, until when at the latest."""

    by: str
    until: AwareDatetime


class Visit(Thing):
    """A visit: `why` says why to call now (None outside the call queue), `due` whether it is time.

    `age_s` is the age of the request in seconds (None where a cancel came before it), `cancel_risk` how likely the
    customer is to cancel before a visit is agreed.
    """

    order_id: UUID
    state: VisitState
    claim: CallClaim | None
    cancel_risk: Literal["low", "medium", "high"]
    age_s: int | None


class VisitList(BaseModel):
    """In the order to call."""

    items: list[Visit]
    next_cursor: str | None


class Window(Thing):
    """A free visit window and the technicians who could come, best first."""

    window_start: AwareDatetime
    window_end: AwareDatetime
    technicians: list[Any]


class WindowList(BaseModel):
    items: list[Window]
    next_cursor: str | None


class Technician(Thing):
    id: str
    name: str
    skills: list[str]
    areas: list[str]
    load: int


class TechnicianList(BaseModel):
    items: list[Technician]
    next_cursor: str | None


class FalloutList(BaseModel):
    items: list[Fallout]
    next_cursor: str | None


class ParkedMessage(Thing):
    """A message whose handler gave up. `service` says whose handler."""

    message_id: str
    service: str
    error: str


class ParkedList(BaseModel):
    """`unreachable` names the services that could not be asked."""

    items: list[ParkedMessage]
    next_cursor: str | None
    unreachable: list[str]


class ParkedDone(BaseModel):
    """Where the message was replayed or dropped."""

    message_id: str
    services: list[str]


class JournalLag(BaseModel):
    """Orders and cancels that wait here for order_svc, and those that need a person."""

    pending: int
    failed: int
    oldest_pending_at: AwareDatetime | None
    blocked: bool


class OldestOpen(BaseModel):
    """The oldest open order of one status."""

    status: OrderStatus
    order_id: UUID
    since: AwareDatetime


class OrderCount(BaseModel):
    """Orders of one open status: how many, how many of them were placed that long ago, and the oldest."""

    status: OrderStatus
    count: int
    over_1h: int
    over_1d: int
    over_3d: int
    oldest_at: AwareDatetime | None
    oldest_order_id: UUID | None


class Overview(BaseModel):
    """The state of everything. A service that does not answer is `{"status": "unreachable"}`, `orders` then None."""

    services: dict[str, dict[str, Any]]
    breakers: dict[str, str]
    journal: JournalLag
    orders: list[OrderCount] | None
    oldest_open: list[OldestOpen]


class AtRiskList(BaseModel):
    """Who has waited longest first."""

    items: list[AtRisk]
    next_cursor: str | None


class Cause(BaseModel):
    """The message that led to another; its sender is None where that did not answer."""

    id: str
    service: str | None
    what: str | None


class TraceEntry(BaseModel):
    """One thing that happened. `what`: an event's type, a call's outcome, a provisioning step, an action of staff.

    `details` of a message: `sent_at` (None: not yet confirmed by the broker), `handled` (who took it in, when),
    `waits_for` (who is still to do so), `traceparent`; of the others what their service tells.
    """

    at: AwareDatetime
    kind: trace.Kind
    service: str
    what: str
    id: str | None
    cause: Cause | None
    details: dict[str, Any]


class OrderTrace(BaseModel):
    """What happened to an order, in order of time. `unreachable` names those who could not be asked in time.

    `pruned` names those who keep messages of the order's time no longer, so that some may be missing.
    """

    order_id: UUID
    entries: list[TraceEntry]
    unreachable: list[str]
    pruned: list[str]


class FieldError(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details; `errors` where fields are at fault."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldError] | None = None

