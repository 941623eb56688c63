"""order: places, cancels and closes orders. Entrypoints only; decisions are in `domain.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from chassis.batch import batch_handler
from chassis.db import Store
from chassis.rpc_server import rpc
from chassis.saga import Saga
from chassis.service import OperatedService
from chassis.table import Refused
from contracts.errors import Conflict, Invalid, NotFound
from contracts.events import Event, decode
from contracts.ids import order_id_of
from contracts.rpc import PlaceOrder, PlaceOrderResult
from order_svc import domain, models, placement

SAGA = Saga(domain.TABLE, domain.Order, models.table, evolve=domain.evolve, event=domain.event)

LINGER_S = 0.05
"""What the others have done is followed a moment later: whoever looks at the order meanwhile looks at MyPage."""


class OrderService(OperatedService):
    """The order book: an order is placed once and closed once."""

    name = "order"
    store = Store(models.Base)

    @batch_handler(decode, *domain.CONSUMES, linger_s=LINGER_S)
    def on_events(self, events: Sequence[Event]) -> None:
        """Follow what the other services have done, and close the order."""
        with self.store.transaction() as tx:
            SAGA.handle(tx, events)

    @rpc
    def place_orders(self, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Store orders (`contracts.rpc.PlaceOrder`) and return a `PlaceOrderResult` for each, in their order."""
        readable: list[PlaceOrder] = []
        results: dict[int, PlaceOrderResult] = {}
        for index, raw in enumerate(orders):
            try:
                readable.append(placement.read_order(raw, int(self.settings["MIN_INTERNET_QUANTITY"])))
            except Invalid as error:
                results[index] = placement.invalid(raw, error)
        placed = iter(placement.place_all(self.store, SAGA, readable))
        return [(results.get(index) or next(placed)).model_dump(mode="json") for index in range(len(orders))]

    @rpc
    def cancel_order(self, order_id: str, reason: str = "", requested_by: str = "") -> dict[str, str]:
        """Ask for the order's cancellation. Repeating it changes nothing. Raises NotFound, Conflict.

        `{"order_id", "status"}`, with the id under which the order stands.
        """
        asked = order_id_of(order_id)
        with self.store.transaction() as tx:
            command = domain.Cancel(placement.standing_id(tx.conn, asked), reason, requested_by)
            if not SAGA.load(tx, [command.order_id])[command.order_id].state:
                raise NotFound(f"there is no order {order_id}")
            try:
                order = SAGA.command(tx, command).after
            except Refused as refused:
                raise Conflict(refused.why) from refused
        return {"order_id": str(order.order_id), "status": order.state}

    @rpc
    def get_order(self, order_id: str) -> dict[str, Any]:
        """The order as the order book has it, under the id under which it stands. Raises NotFound."""
        asked = order_id_of(order_id)
        with self.store.read() as conn:
            standing = placement.standing_id(conn, asked)
            row = conn.execute(sa.select(models.table).where(models.table.c.order_id == standing)).one_or_none()
        if row is None:
            raise NotFound(f"there is no order {order_id}")
        return {
            "order_id": str(row.order_id),
            "status": row.state,
            "customer": row.customer,
            "address": row.address,
            "items": row.items,
            "accepted_at": row.accepted_at.isoformat(),
            "updated_at": row.updated_at.isoformat(),
            "cancel_reason": row.cancel_reason,
            "cancel_refused": row.cancel_refused,
            "rejection_reason": row.rejection_reason,
        }
