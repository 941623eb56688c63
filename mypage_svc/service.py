"""mypage: the read model behind MyPage. Entrypoints only; how a page comes about is in `domain.py`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from chassis.batch import batch_handler
from chassis.db import Store, Tx
from chassis.hints import Hints
from chassis.rpc_server import rpc
from chassis.service import OperatedService
from contracts.changes import EXCHANGE, Change
from contracts.errors import Invalid, NotFound
from contracts.events import Event, decode
from mypage_svc import domain, models, queries

MAX_LIMIT = 200
REBUILD_CHUNK = 500


class MypageService(OperatedService):
    """Pages, each a function of the set of its order's events."""

    name = "mypage"
    store = Store(models.Base)
    hints = Hints(EXCHANGE)

    @batch_handler(decode, *domain.SUBSCRIBES)
    def on_events(self, events: Sequence[Event]) -> None:
        """Keep the events and fold the pages of the orders they touch. The events table is its own inbox."""
        order_ids = {event.order_id for event in events}
        with self.store.transaction() as tx:
            # Before the insert: two batches with the same events must not wait for each other in a circle.
            tx.lock(order_ids)
            queries.add_events(tx.conn, [domain.fact(event) for event in events])
            pages = _refold(tx, order_ids)
            changes = [Change("orders", str(page.order_id), page.version) for page in pages]
            tx.after_commit(lambda: self.hints.announce(changes))

    @rpc
    def get_order(self, order_id: str) -> dict[str, Any]:
        """Return the order's page with its timeline (`contracts.rpc.OrderPage`). Raises NotFound."""
        try:
            key = UUID(order_id)
        except (ValueError, TypeError, AttributeError):
            raise NotFound("an order id is a UUID, this is none") from None
        with self.store.read() as conn:
            page = queries.get_page(conn, key)
        if page is None:
            raise NotFound(f"there is no order {order_id}")
        return page

    @rpc
    def list_orders(
        self,
        status: str | None = None,
        phone: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """Return a page of orders, newest first, timelines left out; `phone` in any spelling. Raises Invalid."""
        if status is not None and status not in domain.STATUSES:
            raise _invalid("status", f"must be one of {', '.join(sorted(domain.STATUSES))}")
        if not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
            raise _invalid("limit", f"must be 1 to {MAX_LIMIT}")
        digits = None if phone is None else domain.phone_digits(phone)
        with self.store.read() as conn:
            return queries.list_pages(conn, status, digits, limit, cursor)

    @rpc
    def rebuild(self) -> dict[str, int]:
        """Fold every page anew from the stored events, in chunks, while readers keep reading."""
        orders = 0
        last: UUID | None = None
        with self.store.transaction() as tx:
            queries.drop_orphans(tx.conn)
        while True:
            with self.store.transaction() as tx:
                order_ids = queries.orders_after(tx.conn, last, REBUILD_CHUNK)
                if not order_ids:
                    return {"orders": orders}
                tx.lock(order_ids)
                _refold(tx, order_ids)
            orders += len(order_ids)
            last = order_ids[-1]


def _refold(tx: Tx, order_ids: Collection[UUID]) -> list[domain.Page]:
    """Fold and store the pages of these orders, which the caller has locked."""
    pages = [domain.fold(facts) for facts in queries.facts_of(tx.conn, order_ids).values()]
    queries.save_pages(tx.conn, pages)
    return pages


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", [{"field": field, "message": message}])
