"""Routes for subscribers: the catalogue, placing an order, following it, cancelling it."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from werkzeug.wrappers import Request, Response

from chassis import clock, tracing
from chassis.logging import get_logger
from chassis.rpc_client import CallFailed, RemoteFault, RpcClient
from contracts.catalogue import PRODUCTS
from contracts.errors import BY_NAME, Conflict, DomainError, Invalid, NotFound
from contracts.ids import new_id
from contracts.orders import OrderRequest, check_internet_quantity
from contracts.rpc import OrderPage
from gateway_svc import answers, elsewhere, journal_page, schemas, sse
from gateway_svc.auth import Caller, Tokens, subscriber
from gateway_svc.changes import Board
from gateway_svc.extensions import Limits, seconds_until
from gateway_svc.intake import Intake
from gateway_svc.journal import Entry
from gateway_svc.routing import EVERYONE, Answer, Call, one_page, route

MAX_KEY_LENGTH = 255

_log = get_logger(__name__)


class OrderRoutes:
    """Orders. Placing one touches the journal and, when it is there, order_svc; no database."""

    settings: dict[str, Any]
    tokens: Tokens
    intake: Intake
    limits: Limits
    changes: Board
    order: RpcClient
    mypage: RpcClient

    @route("GET", "/api/products", tag="catalogue", answers={200: answers.ProductList})
    def list_products(self, call: Call) -> Any:
        """The catalogue: what can be ordered."""
        return one_page(PRODUCTS.values())

    @route("POST", "/api/orders", body=OrderRequest, headers=("Idempotency-Key",),
           answers={201: answers.OrderAnswer, 202: answers.OrderAnswer}, problems=frozenset({409, 429, 503}))
    def place_order(self, call: Call) -> Answer:
        """Place an order; it is on disk before this answers."""
        self.limits.order(self.limits.address(call.request))
        order: OrderRequest = call.body
        check_internet_quantity(order.items, int(self.settings["MIN_INTERNET_QUANTITY"]))
        fingerprint = hashlib.sha256(order.model_dump_json().encode()).hexdigest()
        entry = Entry(
            entry_id=new_id(), kind="order", order_id=new_id(), body=order.model_dump(mode="json"),
            accepted_at=clock.utc_now(), idempotency_key=_idempotency_key(call.request), fingerprint=fingerprint,
            traceparent=tracing.current_traceparent(),
        )
        stored = self.intake.take(entry)
        _log.info("order_taken", order_id=str(stored.order_id), state=stored.state)
        if stored.fingerprint != fingerprint:
            raise Conflict("this Idempotency-Key was used for another order; use a new key for a new order")
        return self._order_answer(stored)

    @route("GET", "/api/orders", roles=EVERYONE, query=schemas.OrdersQuery, answers={200: answers.OrderList})
    def list_orders(self, call: Call) -> Any:
        """Orders, newest first; a subscriber sees their own."""
        query: schemas.OrdersQuery = call.query
        if call.by.role != "subscriber":
            return self.mypage.call("list_orders", **query.model_dump())
        assert call.by.order_id is not None
        page = self._page(call.by.order_id, call.by) | {"timeline": []}
        return one_page([page] if journal_page.matches(page, query.status, query.phone) else [])

    @route("GET", "/api/orders/<order_id>", roles=EVERYONE, owner=True, answers={200: OrderPage})
    def get_order(self, call: Call) -> Any:
        """The order as MyPage knows it, with its timeline."""
        assert call.order_id is not None
        return self._page(call.order_id, call.by)

    @route("GET", "/api/orders/<order_id>/stream", roles=EVERYONE, owner=True, headers=("Last-Event-ID",),
           answers={200: None}, media_type="text/event-stream")
    def stream_order(self, call: Call) -> Response:
        """The order as server-sent events: the present state, then one event at each change."""
        order_id, caller = call.order_id, call.by
        assert order_id is not None
        self.limits.stream(len(self.changes))
        standing = self._standing(order_id)
        events = sse.stream(
            first=self._page(order_id, caller),
            read=lambda: self._page(order_id, caller),
            subscribe=lambda: self.changes.subscribe(("orders", str(standing))),
            seen=sse.last_event_id(call.request.headers.get("Last-Event-ID")),
            seconds_left=lambda: seconds_until(caller.expires_at),
            reread_s=float(self.settings.get("SSE_REREAD_S", 10.0)),
        )
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return Response(events, mimetype="text/event-stream", headers=headers)

    @route("POST", "/api/orders/<order_id>/cancel", roles=frozenset({"subscriber", "operator"}), owner=True,
           body=schemas.Cancel, body_optional=True, answers={202: answers.CancelAnswer}, problems=frozenset({409}))
    def cancel_order(self, call: Call) -> Answer:
        """Cancel the order: 202 `cancelling`, 409 where it is closed or the work is done."""
        assert call.order_id is not None
        cancel = {"reason": call.body.reason, "requested_by": call.by.subject}
        entry = self.intake.journal.order(call.order_id)
        if entry is not None and entry.state in ("failed", "dropped", "refused"):
            raise Conflict("the order could not be placed, so there is nothing to cancel")
        order_id = entry.stands_as if entry and entry.stands_as else call.order_id
        if entry is not None and entry.state == "pending":
            return self._journal_cancel(order_id, cancel)
        try:
            return Answer(202, self.order.call("cancel_order", order_id=str(order_id), **cancel))
        except (CallFailed, RemoteFault):
            return self._journal_cancel(order_id, cancel)
        except DomainError as exc:
            is_on_its_way = isinstance(exc, NotFound) and elsewhere.vouched_for(call.by.subject, call.order_id)
            if exc.http_status < 500 and not is_on_its_way:
                raise
            return self._journal_cancel(order_id, cancel)

    def _journal_cancel(self, order_id: UUID, cancel: dict[str, Any]) -> Answer:
        """Write the cancel down behind its order; it is forwarded when the way is clear."""
        earlier = self.intake.journal.cancel(order_id)
        if earlier is None or earlier.state != "pending":
            self.intake.note(Entry(new_id(), "cancel", order_id, cancel, clock.utc_now()))
        return Answer(202, {"order_id": order_id, "status": "cancelling"})

    def _page(self, order_id: UUID, caller: Caller) -> dict[str, Any]:
        """The order's page from MyPage or, before MyPage knows it or while it cannot be asked, from the journal."""
        try:
            page: dict[str, Any] = self.mypage.call("get_order", order_id=str(self._standing(order_id)))
            return page
        except (NotFound, CallFailed, RemoteFault) as failure:
            entry = self.intake.journal.order(order_id)
            if entry is None and caller.accepted_at is not None:
                return elsewhere.page(self, order_id, caller.accepted_at, failure)
            if entry is None:
                raise
            return journal_page.from_journal(entry, self.intake.journal.cancel(order_id))

    def _standing(self, order_id: UUID) -> UUID:
        """The id under which the order stands at order_svc."""
        entry = self.intake.journal.order(order_id)
        return entry.stands_as if entry is not None and entry.stands_as is not None else order_id

    def _order_answer(self, entry: Entry) -> Answer:
        if entry.answer is not None and entry.answer >= 400:
            error = entry.error or {}
            raise BY_NAME.get(str(error.get("error")), Invalid)(error.get("detail", ""), error.get("fields"))
        placed = entry.answer == 201
        order_id = entry.stands_as if placed and entry.stands_as else entry.order_id
        caller: Caller = subscriber(order_id, entry.accepted_at, int(self.settings.get("SUBSCRIBER_TOKEN_DAYS", 90)))
        path = f"/api/orders/{order_id}"
        content = {
            "order_id": order_id,
            "status": "placed" if placed else "accepted",
            "token": self.tokens.issue(caller, entry.accepted_at),
            "links": {"self": path, "stream": f"{path}/stream", "cancel": f"{path}/cancel"},
        }
        return Answer(201 if placed else 202, content, {"Location": path})


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not all(" " <= char <= "~" for char in key):
        message = f"must be 1 to {MAX_KEY_LENGTH} printable ASCII characters"
        raise Invalid(f"Idempotency-Key {message}", [{"field": "Idempotency-Key", "message": message}])
    return key
