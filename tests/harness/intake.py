"""Builders and stand-ins for the gateway's intake: a journal's entries, an order service, a clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import eventlet
from eventlet.semaphore import Semaphore

from chassis.rpc_client import RemoteFault
from contracts.errors import Conflict, Invalid, NotFound
from contracts.ids import new_id
from gateway_svc.intake import Intake
from gateway_svc.journal import Entry, Journal

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
BODY = {"customer": {"name": "김하늘", "phone": "010-1234-5678"}, "address": {"postcode": "06236"}, "items": []}


class OrderSvc:
    """Stands in for order_svc: keeps what it placed, and fails as told."""

    def __init__(self) -> None:
        self.placed: list[str] = []
        self.keys: dict[str, str] = {}
        self.cancelled: list[str] = []
        self.calls: list[list[str]] = []
        self.down: Exception | None = None
        self.poison: set[str] = set()
        self.invalid: set[str] = set()
        self.indigestible: set[str] = set()
        self.unknown: set[str] = set()
        self.before_answer: Callable[[], None] = lambda: None

    def call(self, method: str, **arguments: Any) -> Any:
        if self.down is not None:
            raise self.down
        if method == "cancel_order":
            if arguments["order_id"] in self.unknown:
                raise NotFound("there is no such order")
            if arguments["order_id"] in self.poison:
                raise Conflict("the order is closed")
            if arguments["order_id"] in self.indigestible:
                raise RemoteFault("order.cancel_order: ValueError: a NUL in the reason")
            self.cancelled.append(arguments["order_id"])
            return {"order_id": arguments["order_id"], "status": "cancelling"}
        if method == "get_order":
            return {"status": "cancelled" if arguments["order_id"] in self.cancelled else "completed"}
        orders = arguments["orders"]
        self.calls.append([order["order_id"] for order in orders])
        if any(order["order_id"] in self.poison for order in orders):
            raise RemoteFault("order.place_orders: ValueError: poison")
        results = [self._place(order) for order in orders]
        self.before_answer()
        return results

    def _place(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["order_id"] in self.invalid:
            return {"order_id": order["order_id"], "status": "invalid", "error": Invalid("no").as_dict()}
        first = self.keys.setdefault(order["idempotency_key"] or order["order_id"], order["order_id"])
        if first not in self.placed:
            self.placed.append(first)
        return {"order_id": first, "status": "placed", "error": None}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def an_order(key: str | None = None, fingerprint: str = "f", order_id: UUID | None = None) -> Entry:
    return Entry(new_id(), "order", order_id or new_id(), BODY, NOW, key, fingerprint)


def a_cancel(order_id: UUID, by: str = "operator") -> Entry:
    return Entry(new_id(), "cancel", order_id, {"reason": "", "requested_by": by}, NOW)


def an_intake(journal: Journal, svc: OrderSvc, wait_s: float = 5.0, clock: Clock | None = None) -> Intake:
    """An intake whose wake-up runs the forwarder, one at a time, as the loop does."""
    wakes, turn = [0], Semaphore(1)

    def forward() -> None:
        with turn:
            if wakes[0]:
                wakes[0] = 0
                drain(intake, svc)

    def wake() -> None:
        wakes[0] += 1
        eventlet.spawn_n(forward)

    intake = Intake(journal, wake, clock or Clock(), wait_s)
    return intake


def drain(intake: Intake, svc: OrderSvc) -> None:
    while intake.forward(svc):
        pass
