"""The inventory of service ports: given to an order, held until its network is put back, never given twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from activation_svc.models import ports
from activation_svc.plan import Port


def held(conn: sa.Connection, order_ids: Iterable[UUID]) -> dict[UUID, list[Port]]:
    """The ports each of these orders holds, in their fixed order."""
    query = (
        sa.select(ports.c.order_id, ports.c.element, ports.c.name)
        .where(ports.c.order_id.in_(tuple(order_ids)))
        .order_by(ports.c.position)
    )
    found: dict[UUID, list[Port]] = defaultdict(list)
    for order_id, element, name in conn.execute(query):
        found[order_id].append(Port(element, name))
    return found


def allocate(conn: sa.Connection, needs: Mapping[UUID, int]) -> dict[UUID, list[Port]]:
    """Give each order as many free ports as it needs; an order that cannot have all gets none and is left out.

    Ports that another transaction is just taking are passed over, so nobody waits.
    """
    free = (
        sa.select(ports.c.element, ports.c.name, ports.c.position)
        .where(ports.c.order_id.is_(None))
        .order_by(ports.c.position)
        .limit(sum(needs.values()))
        .with_for_update(skip_locked=True)
    )
    stock = [(Port(element, name), position) for element, name, position in conn.execute(free)]
    given: dict[UUID, list[Port]] = {}
    taken: list[tuple[str, int]] = []
    for order_id, count in needs.items():
        if len(stock) < count:
            continue
        mine, stock = stock[:count], stock[count:]
        given[order_id] = [port for port, _ in mine]
        taken += [(str(order_id), position) for _, position in mine]
    if taken:
        conn.execute(_GIVE, {"orders": [order for order, _ in taken], "positions": [at for _, at in taken]})
    return given


def release(conn: sa.Connection, order_ids: Iterable[UUID]) -> None:
    """Take back every port of these orders."""
    conn.execute(sa.update(ports).where(ports.c.order_id.in_(tuple(order_ids))).values(order_id=None))


def pool(conn: sa.Connection) -> str:
    """The pool's name and size, for the operator who reads that it is exhausted."""
    query = sa.select(ports.c.element, sa.func.count()).group_by(ports.c.element).order_by(ports.c.element)
    sizes = [f"{element} ({count})" for element, count in conn.execute(query)]
    return f"service ports of {', '.join(sizes)}" if sizes else "service ports (the inventory is empty)"


def seed(conn: sa.Connection, elements: Mapping[str, Mapping[str, Any]]) -> int:
    """Put every service port of the OLTs among `elements` into the inventory; return how many were new.

    `elements` as in config/elements.yaml: `{name: {kind, slots, pons, onus}}`. Ports that are known stay as they are.
    """
    known = set(conn.execute(sa.select(ports.c.element, ports.c.name)).tuples())
    last = conn.execute(sa.select(sa.func.coalesce(sa.func.max(ports.c.position), 0))).scalar_one()
    new = [
        {"element": port.element, "name": port.name}
        for name, element in elements.items() if element["kind"] == "olt"
        for port in ports_of(name, element) if (port.element, port.name) not in known
    ]
    rows = [row | {"position": last + at} for at, row in enumerate(new, start=1)]
    if rows:
        conn.execute(sa.insert(ports), rows)
    return len(rows)


def ports_of(name: str, olt: Mapping[str, Any]) -> list[Port]:
    """All service ports of one OLT, named slot/pon/onu."""
    return [
        Port(name, f"{slot}/{pon}/{onu}")
        for slot in range(1, olt["slots"] + 1)
        for pon in range(1, olt["pons"] + 1)
        for onu in range(1, olt["onus"] + 1)
    ]


_GIVE = sa.text(
    "update ports set order_id = given.order_id"
    " from unnest(cast(:orders as uuid[]), cast(:positions as int[])) as given(order_id, position)"
    " where ports.position = given.position"
)
