"""Placing orders: several at once, each with an answer of its own. New ones, nearly all, cost one question."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.dialects import postgresql as pg

from chassis import dialect
from chassis.connection import prepared
from chassis.db import Store, Tx
from chassis.saga import Saga
from contracts.errors import Conflict, DomainError, Invalid
from contracts.orders import check_internet_quantity
from contracts.rpc import PlaceOrder, PlaceOrderResult
from order_svc import domain, models

KEY_NAMESPACE = uuid.UUID("0d0c5f2e-6f1e-4c55-9a0e-3a6f1b6f4a10")
_STORED = prepared(
    f"select {', '.join(column.name for column in dataclasses.fields(domain.Order))} from orders"
    " where order_id = any(%s::uuid[]) or idempotency_key = any(%s::text[])"
)


def read_order(raw: Any, min_internet_quantity: int) -> PlaceOrder:
    """Return the typed order; raises Invalid naming the fields, or the rule that is broken."""
    try:
        order = PlaceOrder.model_validate(raw)
    except ValidationError as exc:
        fields = [
            {"field": ".".join(str(part) for part in error["loc"]), "message": error["msg"]} for error in exc.errors()
        ]
        raise Invalid("the order is not valid", fields) from exc
    check_internet_quantity(order.items, min_internet_quantity)
    return order


def place_all(store: Store, saga: Saga[domain.Order], orders: Sequence[PlaceOrder]) -> list[PlaceOrderResult]:
    """Store these orders and return a result for each, in their order.

    Those that are new cost one question. The others are placed after them, as `place` does, in a transaction of
    their own: they share no id and no key with a new one that comes after them, so their answers are the same.
    """
    first = _first(orders)
    with store.single() as tx:
        new = _place_new(tx, saga, list(first.values()))
    results = {
        index: PlaceOrderResult(order_id=order.order_id, status="placed")
        for index, order in first.items() if order.order_id in new
    }  # fmt: skip
    others = [index for index in range(len(orders)) if index not in results]
    if others:
        with store.transaction() as tx:
            placed = place(tx, saga, [orders[index] for index in others])
        results |= zip(others, placed, strict=True)
    return [results[index] for index in range(len(orders))]


def _first(orders: Sequence[PlaceOrder]) -> dict[int, PlaceOrder]:
    """Those of which neither id nor key has come before in the same call, by position."""
    seen: set[uuid.UUID] = set()
    first: dict[int, PlaceOrder] = {}
    for index, order in enumerate(orders):
        names = _names(order)
        if seen.isdisjoint(names):
            first[index] = order
        seen.update(names)
    return first


def _place_new(tx: Tx, saga: Saga[domain.Order], orders: Sequence[PlaceOrder]) -> set[uuid.UUID]:
    """Store those whose id and key nobody knows, and return their ids. One question, and nothing is looked up."""
    tx.lock(name for order in orders for name in _names(order))
    unknown = {order.order_id: domain.Order(order.order_id) for order in orders}
    _, placed, events = saga.effects(tx, unknown, [domain.Place(order) for order in orders])
    return saga.add(tx, list(placed.values()), events)


def place(tx: Tx, saga: Saga[domain.Order], orders: Sequence[PlaceOrder]) -> list[PlaceOrderResult]:
    """Store these orders, whatever is known of them, and return a result for each, in their order.

    An order whose idempotency key is known already is that first order, and its id a further one of that; with another
    content it is a conflict.
    """
    keys = [order.idempotency_key for order in orders if order.idempotency_key]
    ids = [order.order_id for order in orders]
    tx.lock(name for order in orders for name in _names(order))
    stored = [domain.Order(*row) for row in tx.conn.exec_driver_sql(_STORED, (dialect.array(ids), keys))]
    known = {order.idempotency_key: (order.order_id, order.content_hash) for order in stored if order.idempotency_key}
    results: list[PlaceOrderResult] = []
    commands: list[domain.Place] = []
    aliases: dict[uuid.UUID, uuid.UUID] = {}
    for order in orders:
        digest = domain.content_hash(order)
        if order.idempotency_key:
            first_id, first_digest = known.setdefault(order.idempotency_key, (order.order_id, digest))
            if first_digest != digest:
                error = Conflict("this Idempotency-Key was used for another order")
                results.append(PlaceOrderResult(order_id=order.order_id, status="invalid", error=error.as_dict()))
                continue
            if first_id != order.order_id:
                aliases[order.order_id] = first_id
                results.append(PlaceOrderResult(order_id=first_id, status="placed"))
                continue
        commands.append(domain.Place(order))
        results.append(PlaceOrderResult(order_id=order.order_id, status="placed"))
    loaded = {order_id: domain.Order(order_id) for order_id in ids} | {order.order_id: order for order in stored}
    _, changed = saga.decide(tx, loaded, commands)
    saga.store(tx, list(changed.values()))
    _keep(tx, aliases)
    return results


def standing_id(conn: sa.Connection, order_id: uuid.UUID) -> uuid.UUID:
    """The id under which an order stands that was given `order_id`: that same one, unless it is a further one."""
    query = sa.select(models.aliases.c.stands_as).where(models.aliases.c.order_id == order_id)
    return conn.execute(query).scalar_one_or_none() or order_id


def invalid(raw: Any, error: DomainError) -> PlaceOrderResult:
    """The result for a request that breaks a rule, under its order id where that can be read."""
    try:
        order_id = uuid.UUID(raw["order_id"])
    except (KeyError, TypeError, ValueError, AttributeError):
        order_id = None
    return PlaceOrderResult(order_id=order_id, status="invalid", error=error.as_dict())


def _names(order: PlaceOrder) -> list[uuid.UUID]:
    """What may make it an order that is known, each as an id to lock: its id and its idempotency key."""
    key = order.idempotency_key
    return [order.order_id, uuid.uuid5(KEY_NAMESPACE, key)] if key else [order.order_id]


def _keep(tx: Tx, aliases: dict[uuid.UUID, uuid.UUID]) -> None:
    if not aliases:
        return
    rows = [
        {"order_id": order_id, "stands_as": first, "created_at": tx.now} for order_id, first in sorted(aliases.items())
    ]
    tx.conn.execute(pg.insert(models.aliases).values(rows).on_conflict_do_nothing())
