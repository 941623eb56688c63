"""RPC payloads: what each service answers, and the typed values that cross.

Every call is `rpc-<service>`, method by name, JSON keyword arguments, a JSON answer. Times are RFC 3339
in UTC, ids UUIDv7 text. Errors are those of `contracts.errors`. Lists answer `Page` as a dict.

order        place_orders(orders=[PlaceOrder]) -> [PlaceOrderResult]
             cancel_order(order_id, reason, requested_by) -> {"order_id", "status"}        NotFound, Conflict
             get_order(order_id) -> dict                                                   NotFound
             Both also take a second id that another gateway gave the same request, and answer with the order's own.
activation   get_activation(order_id) -> dict, with its case as `fallout` (Fallout or None)       NotFound
             list_fallouts(limit, cursor) -> Page of Fallout
             retry_fallout(order_id, by, another_port=False)                               NotFound, Conflict
             abandon_fallout(order_id, by, reason)                                         NotFound, Conflict
             audit(element=None) -> Audit                                                  NotFound
             repair(findings=[Finding], by) -> {"items": [Repaired]}                       Invalid
             inventory() -> {"pools": [...], "blocked": [...]}
             unblock_port(element, port, by) -> {"element", "port"}                        Conflict
scheduling   request_visit(VisitRequest as keywords) -> VisitAnswer                        Overloaded, Invalid
             request_visits(requests=[VisitRequest]) -> [VisitResult], in their order      Overloaded
             list_visits(state, limit, cursor) -> Page of visits, in the order to call
             get_visit(order_id)                                                           NotFound
             record_call(order_id, by, outcome, note, call_back_at, call_id)               NotFound, Conflict, Invalid
             free_windows(order_id, from_, to) -> {"items": [{"window_start", "window_end", "technicians": [...]}]}
             set_appointment(order_id, window_start, window_end, technician_id, by, revision=None, note=None)
                                                                                           NotFound, Conflict, Invalid
             claim_visit(order_id, by) -> visit                                            NotFound, Conflict, Invalid
             claim_next(by) -> visit or None                                               Invalid
             release_visit(order_id, by) -> visit                                          NotFound, Invalid
             day_board(date) -> DayBoard of contracts.day_board                            Invalid
             list_technicians() -> {"items": [...]}
             Every visit carries "claim": {"by", "until"} or None, "cancel_risk": "low" | "medium" | "high", "age_s".
fieldwork    list_jobs(technician_id or None, date or None, limit, cursor) -> Page of Job      Invalid
             get_job(order_id, technician_id=None) -> Job                                  NotFound, Forbidden
             start_job(order_id, technician_id) -> Job                                     NotFound, Conflict, Forbidden
             complete_job(order_id, technician_id, results, note) -> Job  NotFound, Conflict, Forbidden, Invalid
             reject_job(order_id, technician_id, reason_code, note) -> Job  NotFound, Conflict, Forbidden, Invalid
             add_photo(order_id, technician_id, photo_id, media_type, content_b64) -> {"photo_id"}
                                                                        NotFound, Conflict, Forbidden, Invalid
             list_photos(order_id, technician_id=None) -> {"items": [Photo]}               NotFound, Forbidden
             get_photo(order_id, photo_id, technician_id=None) -> {"media_type", "content_b64"}  NotFound, Forbidden
mypage       get_order(order_id) -> OrderPage                                              NotFound
             list_orders(status, phone, limit, cursor, ont_serial, order_end) -> Page of OrderPage (timeline left out)
             count_orders() -> {"items": [{"status", "count", "over_1h", "over_1d", "over_3d", "oldest_at",
                 "oldest_order_id"}]}: of each status of orders under way, in the order of the flow
             list_at_risk(limit, cursor) -> Page of AtRisk, who has waited longest first                   Invalid
             rebuild() -> {"orders": n}
every one    overview(); list_parked(limit, cursor); replay_parked(message_id); drop_parked(message_id);
             republish_events(order_id) -> {"events", "of_days", "goes_on"};
             order_messages(order_id, message_ids=[]) -> {"service", "sent": [...], "handled": [...], "parked": [...],
                 "pruned_before": {"sent", "handled"}}
                 (shapes in chassis.service; `handled`: those of `message_ids` that took effect there)     Invalid
             show_pruning() -> {"items": [...]}; start_pruning()
"""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime

from contracts.events import JobResults
from contracts.orders import Address, Customer, OrderItem, OrderRequest, Value
from contracts.rejection import RejectionCode

CallOutcome = Literal["agreed", "no_answer", "call_back", "refused"]

VisitState = Literal["requested", "flagged", "scheduled", "cancelling", "cancelled", "completed", "rejected"]

OrderStatus = Literal[
    "accepted", "placed", "activated", "scheduled", "completed",
    "rejecting", "rejected", "cancelling", "cancelled", "fallout",
]


class PlaceOrder(OrderRequest):
    """An order as the gateway forwards it. `accepted_at` is when the gateway took it.

    `traceparent` is the request's: orders of many requests travel in one call, and each carries on its own trace.
    """

    order_id: UUID
    accepted_at: AwareDatetime
    idempotency_key: str | None = None
    traceparent: str | None = None


class PlaceOrderResult(Value):
    """`order_id` is the id under which the order stands: for a repeated idempotency key, the first one's.

    `error` is set where the order breaks a rule (the same shape as `DomainError.as_dict`); `order_id` is None
    where the request held none that can be read.
    """

    order_id: UUID | None
    status: Literal["placed", "invalid"]
    error: dict[str, Any] | None = None


class VisitRequest(Value):
    """Activation asks scheduling for a visit. Repeating it changes nothing."""

    order_id: UUID
    customer: Customer
    address: Address
    items: tuple[OrderItem, ...]


class VisitAnswer(Value):
    """`accepted`: a visit stands in the call queue, or further on. `cancelled`: a cancel came first."""

    outcome: Literal["accepted", "cancelled"]


class VisitResult(Value):
    """What became of one of several requests; `error` is set where it is `invalid` (as `DomainError.as_dict`).

    `order_id` is None where the request held none that can be read.
    """

    order_id: UUID | None
    outcome: Literal["accepted", "cancelled", "invalid"]
    error: dict[str, Any] | None = None


FalloutAction = Literal["retry", "retry_on_another_port", "abandon"]


class Fallout(Value):
    """An order that needs a person. `reason` is in the element's own words, where an element is what failed.

    `what_was_tried`: the last failed tries as `{"at", "step", "element", "error", "ports"}`. `standing`: where on
    elements something of it may still stand, as `{"element", "key"}`. `actions` are what may help; a revert that is
    stuck has none, because it goes on by itself as soon as `element` does what it is asked.
    """

    order_id: UUID
    state: Literal["fallout", "reverting_cancelled", "reverting_rejected"]
    since: AwareDatetime
    reason: str
    element: str | None
    attempts: int
    what_was_tried: tuple[dict[str, Any], ...]
    standing: tuple[dict[str, str], ...] = ()
    actions: tuple[FalloutAction, ...]


class Finding(Value):
    """One difference between what activation believes and what an element holds, and what would mend it.

    `order_id` None: by its name the entry is an order's, but there is no such order. `do`: `write` what is planned,
    `put_back` what stood there before, or `delete`. `fields` differ. `wanted` and `found` are digests of the contents
    (None: nothing), which may hold secrets: they tell a repair that nothing has changed since.
    """

    kind: Literal["missing", "extra", "different"]
    element: str
    key: str
    order_id: UUID | None
    do: Literal["write", "put_back", "delete"]
    fields: tuple[str, ...] = ()
    wanted: str | None
    found: str | None


class ElementAudit(Value):
    """What was found on one element. `foreign`: entries that never were ours. `unreachable`: why nothing is known."""

    checked: int = 0
    missing: tuple[Finding, ...] = ()
    extra: tuple[Finding, ...] = ()
    different: tuple[Finding, ...] = ()
    foreign: int = 0
    unreachable: str | None = None


class Audit(Value):
    """One comparison. `left_out`: orders that were being worked on, or wait for an operator, and were not compared."""

    at: AwareDatetime
    elements: dict[str, ElementAudit]
    left_out: int


class Repaired(Value):
    """What became of one finding; `why` where it was not repaired."""

    element: str
    key: str
    done: bool
    why: str | None = None


class Page(Value):
    """One page of a list; `next_cursor` is opaque and None on the last page."""

    items: list[dict[str, Any]]
    next_cursor: str | None = None


PHOTO_TYPES = ("image/jpeg", "image/png", "image/webp")
PHOTO_BYTES_MAX = 1024 * 1024
"""One picture, decoded. As base64 in JSON it makes an RPC message of some 1.4 MB."""
PHOTOS_MAX = 6
"""Photos a job."""

JobState = Literal["assigned", "started", "completed", "rejected", "cancelled"]


class Job(Value):
    """The technician's work order. `results` once completed, `reason_code` once rejected; `photos`: how many."""

    order_id: UUID
    state: JobState
    revision: int
    window_start: AwareDatetime
    window_end: AwareDatetime
    technician_id: str
    technician_name: str
    customer: Customer
    address: Address
    items: tuple[OrderItem, ...]
    started_at: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None
    results: JobResults | None = None
    reason_code: RejectionCode | None = None
    note: str = ""
    photos: int = 0


class Photo(Value):
    """What is known of a job's photo but the picture itself. `by` is the technician's id, `taken_at` when it came."""

    photo_id: UUID
    media_type: Literal["image/jpeg", "image/png", "image/webp"]
    bytes: int
    taken_at: AwareDatetime
    by: str


class PageVisit(Value):
    """The visit as the subscriber sees it: the newest revision known."""

    revision: int
    window_start: AwareDatetime
    window_end: AwareDatetime
    technician_id: str
    technician_name: str


class PageRejection(Value):
    """Why the technician could not install, in the words of `contracts.rejection`."""

    reason_code: RejectionCode
    text_ko: str
    text_en: str


class TimelineEntry(Value):
    """One thing that happened. `details` never holds personal data."""

    at: AwareDatetime
    event: str
    text_ko: str
    text_en: str
    details: dict[str, Any]


class OrderPage(Value):
    """An order as MyPage knows it. `customer`, `address` and `placed_at` are None until `order_placed` arrived.

    `version` counts the distinct events the page is made of: it grows with every change. `timeline` is left
    out (empty) in lists. `cancel_refused`: the subscriber wanted to cancel, but the work was done first.
    """

    order_id: UUID
    status: OrderStatus
    customer: Customer | None
    address: Address | None
    items: tuple[OrderItem, ...]
    visit: PageVisit | None
    results: JobResults | None
    rejection: PageRejection | None
    cancel_refused: bool
    version: int
    placed_at: AwareDatetime | None
    updated_at: AwareDatetime
    timeline: tuple[TimelineEntry, ...] = ()


Risk = Literal["not_activated", "fallout", "no_visit", "no_result", "not_put_back"]
"""Placed but not activated; provisioning gave up; activated but no visit fixed; the visit's window is over but there
is no result; cancelled or rejected but not yet put back."""


class AtRisk(OrderPage):
    """An order that has waited too long. `since`: from when on its wait counts."""

    risk: Risk
    since: AwareDatetime
