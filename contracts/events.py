"""Every event of the system, its envelope and its payload: the one definition that all parts share.

An event is a fact in the past tense. It travels as JSON on the topic exchange `oss.events` with its
`event_type` as routing key. `decode` turns bytes into a typed event once, at the edge, whichever release sent them
(`contracts.versions`).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json

from contracts import versions
from contracts.orders import Address, Customer, OrderItem
from contracts.rejection import RejectionCode


class UnreadableEvent(ValueError):
    """Bytes that cannot become an event: not JSON, of an unknown type, a newer version, or malformed.

    Its text goes into logs: it says which field is wrong and how, and nothing of what the event holds.
    """


class Value(BaseModel):
    """A frozen part of an event. Unknown fields are ignored, so that a producer may add one first."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Event(Value):
    """The envelope. `occurred_at` is UTC (RFC 3339); `causation_id` is the message that led to this one.

    `traceparent` follows W3C Trace Context. A type that has changed sets `schema_version` to its newest version.
    """

    TYPE: ClassVar[str]

    event_id: UUID
    schema_version: int = versions.FIRST
    occurred_at: AwareDatetime
    order_id: UUID
    causation_id: UUID | None = None
    traceparent: str | None = None

    @property
    def event_type(self) -> str:
        return self.TYPE

    @property
    def trigger(self) -> str:
        """The name under which transition tables know this event."""
        return self.TYPE

    @property
    def message_id(self) -> str:
        return str(self.event_id)

    def encode(self) -> bytes:
        """Return the event as JSON bytes, `event_type` included, in the version that this release sends."""
        payload = versions.as_sent(self.TYPE, self.model_dump(mode="json"))
        return to_json({"event_type": self.TYPE, **payload})


class OrderPlaced(Event):
    TYPE = "order_placed"
    customer: Customer
    address: Address
    items: tuple[OrderItem, ...]


class Line(Value):
    """One live line on a network element. `port` is the element's own name for the service port."""

    product: str
    kind: Literal["internet", "tv"]
    element: str
    port: str


class ActivationCompleted(Event):
    TYPE = "activation_completed"
    lines: tuple[Line, ...] = ()


class ActivationFailed(Event):
    """Provisioning gave up; `reason` carries the element's own words."""

    TYPE = "activation_failed"
    reason: str
    element: str | None = None
    attempts: int


class VisitScheduled(Event):
    """`revision` grows with every reschedule, so that an older appointment never replaces a newer one."""

    TYPE = "visit_scheduled"
    revision: int
    window_start: AwareDatetime
    window_end: AwareDatetime
    technician_id: str
    technician_name: str
    customer: Customer
    address: Address
    items: tuple[OrderItem, ...]


class JobResults(Value):
    """What the technician measured (`rx_power_dbm` at the ONT, ITU-T G.984.2 class B+: -28 to -8 dBm)."""

    ont_serial: Annotated[str, Field(pattern=r"^[A-Z]{4}[0-9A-F]{8}$")]
    rx_power_dbm: Annotated[float, Field(ge=-40, le=10, allow_inf_nan=False)]
    down_mbps: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
    up_mbps: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | None = None


class FieldworkCompleted(Event):
    TYPE = "fieldwork_completed"
    technician_id: str
    results: JobResults
    note: str = ""


class FieldworkRejected(Event):
    TYPE = "fieldwork_rejected"
    technician_id: str
    reason_code: RejectionCode
    note: str = ""


class OrderCancelRequested(Event):
    TYPE = "order_cancel_requested"
    reason: str = ""
    requested_by: str = ""


class ActivationCancelRequested(Event):
    TYPE = "activation_cancel_requested"
    reason: str = ""


class VisitCancelRequested(Event):
    TYPE = "visit_cancel_requested"
    reason: str = ""


class FieldworkCancelled(Event):
    TYPE = "fieldwork_cancelled"
    reason: str = ""


class VisitCancelled(Event):
    TYPE = "visit_cancelled"
    reason: str = ""


class ActivationReverted(Event):
    """`outcome` says what the revert was for, because it may arrive before the event that explains it."""

    TYPE = "activation_reverted"
    outcome: Literal["rejected", "cancelled"]
    reason: str = ""

    @property
    def trigger(self) -> str:
        return f"{self.TYPE}/{self.outcome}"


class OrderCompleted(Event):
    TYPE = "order_completed"
    cancel_refused: bool = False


class OrderRejected(Event):
    TYPE = "order_rejected"
    reason: str = ""


class OrderCancelled(Event):
    TYPE = "order_cancelled"
    reason: str = ""


EVENTS: dict[str, type[Event]] = {
    cls.TYPE: cls
    for cls in (
        OrderPlaced, ActivationCompleted, ActivationFailed, VisitScheduled, FieldworkCompleted,
        FieldworkRejected, OrderCancelRequested, ActivationCancelRequested, VisitCancelRequested,
        FieldworkCancelled, VisitCancelled, ActivationReverted, OrderCompleted, OrderRejected,
        OrderCancelled,
    )
}


def decode(body: bytes) -> Event:
    """Turn a message body into its typed event; raise UnreadableEvent saying what was wrong.

    An older version is brought up to the newest. Unknown fields are ignored at any depth: a newer release may add some.
    """
    try:
        data = from_json(body)
    except ValueError as exc:
        raise UnreadableEvent(f"not JSON: {exc}") from exc
    if not isinstance(data, dict):
        raise UnreadableEvent(f"an event is a JSON object, not {type(data).__name__}")
    event_type = data.get("event_type")
    cls = EVENTS.get(event_type) if isinstance(event_type, str) else None
    if cls is None:
        raise UnreadableEvent(f"unknown event_type {event_type!r}")
    try:
        return cls.model_validate(_newest_form(cls.TYPE, data), extra="ignore")
    except ValidationError as exc:
        wrong = exc.errors(include_url=False, include_context=False, include_input=False)
        raise UnreadableEvent(f"malformed {event_type}: {wrong}") from exc


def _newest_form(event_type: str, data: dict[str, Any]) -> dict[str, Any]:
    version, newest = data.get("schema_version"), versions.newest(event_type)
    if not isinstance(version, int) or isinstance(version, bool) or not versions.FIRST <= version <= newest:
        raise UnreadableEvent(
            f"{event_type} has schema_version {version!r}, known up to {newest}:"
            " bring this service up to the release that sent it, then replay the message"
        )
    if version == newest:
        return data
    try:
        return versions.upgraded(event_type, version, data) | {"schema_version": newest}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as exc:
        raise UnreadableEvent(f"malformed {event_type} of schema_version {version}: {exc!r}") from exc
