"""mypage: the read model behind MyPage. Entrypoints only; how a page comes about is in `domain.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chassis import clock
from chassis.batch import batch_handler
from chassis.db import Store, Tx
from chassis.hints import Hints
from chassis.rpc_server import rpc
from chassis.service import OperatedService
from contracts.changes import EXCHANGE, Change
from contracts.errors import NotFound
from contracts.events import Event, decode
from mypage_svc import desk, domain, models, pruning, queries
from mypage_svc.remembered import Remembered

MAX_LIMIT = 200
REBUILD_CHUNK = 500


class MypageService(OperatedService):
    """Pages, each a function of the set of its order's events."""

    name = "mypage"
    store = Store(models.Base)
    prunes = (pruning.EVENTS,)
    inbox_table = models.events.name
    hints = Hints(EXCHANGE)
    remembered = Remembered()

    @batch_handler(decode, *domain.SUBSCRIBES)
    def on_events(self, events: Sequence[Event]) -> None:
        """Keep the events and fold the pages of the orders they touch. The events table is its own inbox."""
        facts = [domain.fact(event) for event in events]
        if len(facts) > 1 or not self._take_alone(facts[0]):
            self._take_together(facts)

    def _take_alone(self, fact: domain.Fact) -> bool:
        """Take in an event by one question, going by what is remembered of its order; False where that did nothing."""
        known = self.remembered.take(fact)
        if known is None:
            return False
        facts = [*known, fact]
        page = domain.fold(facts)
        with self.store.single() as tx:
            tx.lock([fact.order_id])
            taken = queries.add_lone(tx.conn, known, fact, page)
            if taken:
                self._when_committed(tx, {fact.order_id: facts}, [page])
        return taken

    def _take_together(self, facts: Sequence[domain.Fact]) -> None:
        """Take in events, whatever is stored of their orders."""
        order_ids = {fact.order_id for fact in facts}
        self.remembered.forget(order_ids)
        with self.store.transaction() as tx:
            # Before the insert: two batches with the same events must not wait for each other in a circle.
            tx.lock(order_ids)
            queries.add_events(tx.conn, facts)
            known = queries.facts_of(tx.conn, order_ids, but=[fact.event_id for fact in facts])
            for fact in facts:
                known[fact.order_id].append(fact)
            self._when_committed(tx, known, _fold(tx, known))

    def _when_committed(self, tx: Tx, facts: Mapping[UUID, list[domain.Fact]], pages: Sequence[domain.Page]) -> None:
        changes = [Change("orders", str(page.order_id), page.version) for page in pages]
        tx.after_commit(lambda: self.remembered.keep(facts))
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
        ont_serial: str | None = None,
        order_end: str | None = None,
    ) -> dict[str, Any]:
        """Return a page of orders, newest first, timelines left out.

        `phone` and `ont_serial` in any spelling; `order_end`: the last 4 or more hex digits of the order's number.
        Raises Invalid.
        """
        wanted = domain.filters(status, phone, ont_serial, order_end)
        _check_limit(limit)
        with self.store.read() as conn:
            return queries.list_pages(conn, wanted, limit, cursor)

    @rpc
    def count_orders(self) -> dict[str, Any]:
        """How many orders are under way, by status and age: `{"items": [...]}` (see `desk.count_orders`)."""
        with self.store.read() as conn:
            return {"items": desk.count_orders(conn, clock.utc_now())}

    @rpc
    def list_at_risk(self, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """Return a page of orders that have waited too long (`contracts.rpc.AtRisk`). Raises Invalid."""
        _check_limit(limit)
        with self.store.read() as conn:
            return desk.list_at_risk(conn, clock.utc_now(), self._patience(), limit, cursor)

    def handled_messages(self, conn: sa.Connection, message_ids: Sequence[UUID]) -> list[dict[str, Any]]:
        """The events table is the inbox."""
        return queries.received(conn, message_ids)

    def _patience(self) -> dict[str, timedelta]:
        undoing = "AT_RISK_UNDOING_S"
        settings = {
            "placed": "AT_RISK_PLACED_S", "activated": "AT_RISK_ACTIVATED_S", "scheduled": "AT_RISK_SCHEDULED_S",
            "cancelling": undoing, "rejecting": undoing,
        }
        return {status: timedelta(seconds=float(self.settings[name])) for status, name in settings.items()}

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
                _fold(tx, queries.facts_of(tx.conn, order_ids))
            orders += len(order_ids)
            last = order_ids[-1]


def _fold(tx: Tx, facts: Mapping[UUID, list[domain.Fact]]) -> list[domain.Page]:
    """Fold and store the pages of these orders, which the caller has locked; `facts` are all that there are of each."""
    pages = [domain.fold(of_one) for of_one in facts.values()]
    queries.save_pages(tx.conn, pages)
    return pages


def _check_limit(limit: Any) -> None:
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise domain.invalid("limit", f"must be 1 to {MAX_LIMIT}")
