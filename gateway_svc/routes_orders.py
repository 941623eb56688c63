"""Routes for subscribers: the catalogue, placing an order, following it, cancelling it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from werkzeug.wrappers import Request, Response

from chassis.rpc_client import RpcClient
from contracts.catalogue import PRODUCTS
from contracts.errors import Conflict, Forbidden, Invalid
from contracts.orders import OrderRequest
from contracts.rpc import OrderPage
from gateway_svc import answers, journal_page, masking, ordering, schemas, sse
from gateway_svc.auth import Tokens
from gateway_svc.changes import Interest
from gateway_svc.extensions import Limits, seconds_until
from gateway_svc.feeds import Feeds, View
from gateway_svc.intake import Intake
from gateway_svc.routing import EVERYONE, Answer, Call, one_page, route

MAX_KEY_LENGTH = 255


class OrderRoutes:
    """Orders. Placing one touches the journal and, when it is there, order_svc; no database."""

    settings: dict[str, Any]
    tokens: Tokens
    intake: Intake
    limits: Limits
    feeds: Feeds
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
        key = _idempotency_key(call.request)
        taken = ordering.place(self, call.body, key, self.limits.address(call.request))
        if not taken.same:
            raise Conflict("this Idempotency-Key was used for another order; use a new key for a new order")
        path = f"/api/orders/{taken.order_id}"
        owner = ordering.owner(self, taken.order_id, taken.accepted_at)
        content = {
            "order_id": taken.order_id,
            "status": "placed" if taken.placed else "accepted",
            "token": self.tokens.issue(owner, taken.accepted_at),
            "links": {"self": path, "stream": f"{path}/stream", "cancel": f"{path}/cancel"},
        }
        return Answer(201 if taken.placed else 202, content, {"Location": path})

    @route("GET", "/api/orders", roles=EVERYONE, query=schemas.OrdersQuery, answers={200: answers.OrderList})
    def list_orders(self, call: Call) -> Any:
        """Orders, newest first; a subscriber sees their own."""
        query: schemas.OrdersQuery = call.query
        if call.by.role != "operator" and (query.ont_serial or query.order_end):
            raise Forbidden("only operators search by ONT serial or by the end of an order number")
        if call.by.role != "subscriber":
            found = self.mypage.call("list_orders", **query.model_dump())
            return found | {"items": [masking.listed_for(call.by.role, page) for page in found["items"]]}
        assert call.by.order_id is not None
        page = ordering.page(self, call.by.order_id, call.by.accepted_at) | {"timeline": []}
        return one_page([page] if journal_page.matches(page, query.status, query.phone) else [])

    @route("GET", "/api/orders/<order_id>", roles=EVERYONE, owner=True, answers={200: OrderPage})
    def get_order(self, call: Call) -> Any:
        """The order as MyPage knows it, with its timeline."""
        assert call.order_id is not None
        return masking.order_for(call.by.role, ordering.page(self, call.order_id, call.by.accepted_at))

    @route("GET", "/api/orders/<order_id>/stream", roles=EVERYONE, owner=True, headers=("Last-Event-ID",),
           answers={200: None}, problems=frozenset({429}), media_type="text/event-stream")
    def stream_order(self, call: Call) -> Response:
        """The order as server-sent events: the present state, then one event at each change."""
        order_id, caller = call.order_id, call.by
        assert order_id is not None
        view = View(order_id, caller.role, caller.accepted_at)

        def read() -> sse.Page:
            return masking.order_for(caller.role, ordering.page(self, order_id, caller.accepted_at))

        with ExitStack() as until_closed:
            until_closed.callback(self.limits.stream(caller))
            interest: Interest = ("orders", str(ordering.standing(self, order_id)))
            first = self.feeds.page(view, read)
            events = sse.stream(
                follow=lambda: self.feeds.follow(view, interest, read, first),
                seen=sse.last_event_id(call.request.headers.get("Last-Event-ID")),
                seconds_left=lambda: seconds_until(caller.expires_at),
                reread_s=float(self.settings.get("SSE_REREAD_S", 10.0)),
            )
            headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
            response = Response(events, mimetype="text/event-stream", headers=headers)
            response.call_on_close(until_closed.pop_all().close)
        return response

    @route("POST", "/api/orders/<order_id>/cancel", roles=frozenset({"subscriber", "operator"}), owner=True,
           body=schemas.Cancel, body_optional=True, answers={202: answers.CancelAnswer}, problems=frozenset({409}))
    def cancel_order(self, call: Call) -> Answer:
        """Cancel the order: 202 `cancelling`, 409 where it is closed or the work is done."""
        assert call.order_id is not None
        return Answer(202, ordering.cancel(self, call.order_id, call.body.reason, call.by.subject))


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not all(" " <= char <= "~" for char in key):
        message = f"must be 1 to {MAX_KEY_LENGTH} printable ASCII characters"
        raise Invalid(f"Idempotency-Key {message}", [{"field": "Idempotency-Key", "message": message}])
    return key
