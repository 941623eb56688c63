"""The page's rules: how a set of events becomes what a subscriber sees. Pure: no I/O, no clock, no framework.

`fold` is a function of the set: order of arrival and duplicates do not matter. Statuses have a rank, of several
visits the newest revision counts, and the timeline sorts by when things happened.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from contracts.errors import Invalid
from contracts.events import EVENTS, Event
from contracts.rejection import REJECTION_REASONS, RejectionCode
from contracts.rpc import OrderStatus, Risk
from mypage_svc.texts import TEXTS

SUBSCRIBES = tuple(EVENTS)
"""MyPage listens to every event there is."""

_ENVELOPE = {"event_id", "schema_version", "occurred_at", "order_id", "causation_id", "traceparent"}

_RANKED: tuple[tuple[OrderStatus, tuple[str, ...]], ...] = (
    ("placed", ("order_placed",)),
    ("fallout", ("activation_failed",)),
    ("activated", ("activation_completed",)),
    ("scheduled", ("visit_scheduled",)),
    ("cancelling", (
        "order_cancel_requested", "activation_cancel_requested", "visit_cancel_requested",
        "fieldwork_cancelled", "visit_cancelled", "activation_reverted/cancelled",
    )),
    ("rejecting", ("fieldwork_rejected", "activation_reverted/rejected")),
    # The pivot: nothing is undone after it, so the page need not wait for the order to be closed.
    ("completed", ("fieldwork_completed",)),
    ("cancelled", ("order_cancelled",)),
    ("rejected", ("order_rejected",)),
    ("completed", ("order_completed",)),
)

RANKS: dict[str, tuple[int, OrderStatus]] = {
    sign: (rank, status) for rank, (status, signs) in enumerate(_RANKED, start=1) for sign in signs
}
"""By event (an `activation_reverted` with its outcome): how far the order is when that has happened."""

OPEN: tuple[OrderStatus, ...] = ("placed", "fallout", "activated", "scheduled", "cancelling", "rejecting")
"""The statuses of orders that are under way, in the order of the flow."""

LAST_WORDS = ("order_completed", "order_rejected", "order_cancelled")
"""The order book's: after one of them nothing that happens to the order is on its way any more."""

RISKS: dict[str, Risk] = {
    "placed": "not_activated", "fallout": "fallout", "activated": "no_visit", "scheduled": "no_result",
    "cancelling": "not_put_back", "rejecting": "not_put_back",
}
"""What may be wrong with an order that waits too long in this status."""

STATUSES: frozenset[str] = frozenset({"accepted"} | {status for status, _ in _RANKED})


@dataclass(frozen=True, slots=True)
class Fact:
    """One event as MyPage keeps it: its payload is JSON, without the envelope."""

    event_id: UUID
    order_id: UUID
    event_type: str
    occurred_at: datetime
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """One order's page (`contracts.rpc.OrderPage`), its parts as JSON.

    For the search: `phone` (digits only) and `ont_serial`. `waiting_since`: from when on the order's wait in this
    status counts, None where it is closed.
    """

    order_id: UUID
    status: str
    customer: dict[str, Any] | None
    address: dict[str, Any] | None
    items: list[dict[str, Any]]
    visit: dict[str, Any] | None
    results: dict[str, Any] | None
    rejection: dict[str, Any] | None
    cancel_refused: bool
    version: int
    placed_at: datetime | None
    updated_at: datetime
    timeline: list[dict[str, Any]]
    phone: str | None
    ont_serial: str | None
    waiting_since: datetime | None


@dataclass(frozen=True, slots=True)
class Filters:
    """Which orders are wanted: None is any. `phone` is digits only, `order_end` the last hex digits of the number."""

    status: str | None = None
    phone: str | None = None
    ont_serial: str | None = None
    order_end: str | None = None


def filters(status: str | None, phone: Any, ont_serial: Any, order_end: Any) -> Filters:
    """Read the filters as people write them; raise Invalid naming the one at fault."""
    if status is not None and status not in STATUSES:
        raise invalid("status", f"must be one of {', '.join(sorted(STATUSES))}")
    return Filters(
        status,
        None if phone is None else phone_digits(phone),
        None if ont_serial is None else _matching("ont_serial", ont_serial, "[A-Z]{4}[0-9A-F]{8}", str.upper),
        None if order_end is None else _matching("order_end", order_end, "[0-9a-f]{4,32}", str.lower),
    )


def _matching(field: str, text: Any, pattern: str, case: Callable[[str], str]) -> str:
    found = case(re.sub(r"[\s-]", "", text)) if isinstance(text, str) else ""
    if not re.fullmatch(pattern, found):
        raise invalid(field, f"must match {pattern}")
    return found


def invalid(field: str, message: str) -> Invalid:
    """The error that names `field`."""
    return Invalid(f"{field} {message}", [{"field": field, "message": message}])


def fact(event: Event) -> Fact:
    """Take from a decoded event what MyPage keeps."""
    payload = event.model_dump(mode="json", exclude=_ENVELOPE)
    return Fact(event.event_id, event.order_id, event.event_type, event.occurred_at, payload)


def fold(facts: Iterable[Fact]) -> Page:
    """Fold one order's facts (at least one, in any order, duplicates allowed) into its page."""
    distinct = sorted({known.event_id: known for known in facts}.values(), key=_when)
    newest = {known.event_type: known for known in distinct}
    placed = newest.get("order_placed")
    order = placed.payload if placed else {}
    customer = order.get("customer")
    status = _status(distinct)
    visit = _visit(distinct)
    results = newest["fieldwork_completed"].payload["results"] if "fieldwork_completed" in newest else None
    return Page(
        order_id=distinct[0].order_id,
        status=status,
        customer=customer,
        address=order.get("address"),
        items=order.get("items", []),
        visit=visit,
        results=results,
        rejection=_rejection(newest.get("fieldwork_rejected")),
        cancel_refused=status == "completed" and _cancel_was_tried(newest),
        version=len(distinct),
        placed_at=placed.occurred_at if placed else None,
        updated_at=distinct[-1].occurred_at,
        timeline=[_entry(known) for known in distinct],
        phone=phone_digits(customer["phone"]) if customer else None,
        ont_serial=results["ont_serial"] if results else None,
        waiting_since=_waiting_since(status, visit, distinct[-1].occurred_at),
    )


def risk(status: str, waiting_since: datetime | None, now: datetime, patience: Mapping[str, timedelta]) -> Risk | None:
    """Why an order needs an operator's eye: it has waited longer than the `patience` with its status; else None.

    A visit's result is not late before its window is over. An order in fallout needs one at once.
    """
    if waiting_since is None or status not in RISKS:
        return None
    return RISKS[status] if waiting_since <= late_since(status, now, patience) else None


def late_since(status: str, now: datetime, patience: Mapping[str, timedelta]) -> datetime:
    """Who has waited in `status` from this moment on, or longer, is at risk."""
    return now - patience.get(status, timedelta(0))


def phone_digits(text: Any) -> str:
    """Return the phone number's digits, however it is written; raise Invalid naming `phone` where it is none."""
    digits = re.sub(r"[\s-]", "", text) if isinstance(text, str) else ""
    if not re.fullmatch(r"[0-9]{8,11}", digits):
        raise Invalid(
            "phone is no Korean phone number",
            [{"field": "phone", "message": "must be a Korean phone number such as 010-1234-5678"}],
        )
    return digits


def _when(known: Fact) -> tuple[datetime, UUID]:
    return known.occurred_at, known.event_id


def _sign(known: Fact) -> str:
    outcome = known.payload.get("outcome")
    return f"{known.event_type}/{outcome}" if known.event_type == "activation_reverted" else known.event_type


def _status(facts: list[Fact]) -> OrderStatus:
    ranked = [RANKS[sign] for sign in map(_sign, facts) if sign in RANKS]
    return max(ranked)[1] if ranked else "accepted"


def _cancel_was_tried(newest: dict[str, Fact]) -> bool:
    closed = newest.get("order_completed")
    return "order_cancel_requested" in newest or bool(closed and closed.payload.get("cancel_refused"))


def _visit(facts: list[Fact]) -> dict[str, Any] | None:
    visits = [known for known in facts if known.event_type == "visit_scheduled"]
    if not visits:
        return None
    payload = max(visits, key=lambda known: (known.payload["revision"], *_when(known))).payload
    shown = ("revision", "window_start", "window_end", "technician_id", "technician_name")
    return {name: payload[name] for name in shown}


def _waiting_since(status: str, visit: dict[str, Any] | None, last_at: datetime) -> datetime | None:
    if status not in OPEN:
        return None
    return datetime.fromisoformat(visit["window_end"]) if status == "scheduled" and visit else last_at


def _rejection(rejected: Fact | None) -> dict[str, Any] | None:
    if rejected is None:
        return None
    code = rejected.payload["reason_code"]
    texts = REJECTION_REASONS.get(cast(RejectionCode, code), {"ko": code, "en": code})
    return {"reason_code": code, "text_ko": texts["ko"], "text_en": texts["en"]}


def _entry(known: Fact) -> dict[str, Any]:
    """One line of the timeline. The customer's and the technician's own words and names stay out of it."""
    text_ko, text_en = TEXTS.get(_sign(known), (known.event_type, known.event_type))
    return {
        "at": rfc3339(known.occurred_at),
        "event": known.event_type,
        "text_ko": text_ko,
        "text_en": text_en,
        "details": _details(known),
    }


_SHOWN = {
    "visit_scheduled": ("revision", "window_start", "window_end"),
    "activation_failed": ("attempts",),
    "activation_reverted": ("outcome",),
    "order_completed": ("cancel_refused",),
    "fieldwork_rejected": ("reason_code",),
}


def _details(known: Fact) -> dict[str, Any]:
    payload = known.payload
    match known.event_type:
        case "order_placed":
            return {"items": payload["items"]}
        case "activation_completed":
            return {"lines": len(payload.get("lines", ()))}
        case "fieldwork_completed":
            measured = ("rx_power_dbm", "down_mbps", "up_mbps")
            return {name: payload["results"].get(name) for name in measured}
        case other:
            return {name: payload.get(name) for name in _SHOWN.get(other, ())}


def rfc3339(moment: datetime) -> str:
    """Return an aware moment as RFC 3339 in UTC, the form in which every time is answered."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
