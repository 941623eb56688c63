"""Which entries an order's lines need on which elements. A pure function of the order and the ports it holds.

It names entries after the order, so that provisioning it twice writes the same entries twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from contracts.catalogue import PRODUCTS
from contracts.orders import OrderItem

AAA = "aaa-1"
TV = "tv-1"
DEFAULT_PORT_PRODUCT = "tv-only"


@dataclass(frozen=True, slots=True)
class Port:
    """One service port: `name` is the element's own name for it (slot/pon/onu)."""

    element: str
    name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands, or is to stand, under `key` on `element`; `content` None means nothing does."""

    element: str
    key: str
    content: dict[str, Any] | None


Plan = tuple[Entry, ...]
"""Entries in the order in which they are written; undone in the opposite order."""


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """One line of the order (an item of quantity 2 is two) and the service port it runs on."""

    product: str
    number: int
    port: Port

    def as_line(self) -> dict[str, Any]:
        """The line as `contracts.events.Line` in JSON."""
        kind = PRODUCTS[self.product].kind
        return {"product": self.product, "kind": kind, "element": self.port.element, "port": self.port.name}


def products_of(items: Iterable[OrderItem], kind: str) -> list[str]:
    """The products of that kind, one for each line."""
    return [item.product for item in items for _ in range(item.quantity) if item.kind == kind]


def ports_needed(items: Sequence[OrderItem]) -> int:
    """How many service ports an order takes: one an internet line. TV rides along; alone it takes one."""
    return max(len(products_of(items, "internet")), 1)


def lines_of(items: Sequence[OrderItem], ports: Sequence[Port]) -> list[PlannedLine]:
    """The order's lines, internet first; `ports` in a fixed order, as many as `ports_needed`.

    TV lines spread over the order's ports. Raises ValueError where there are too few ports.
    """
    if len(ports) < ports_needed(items):
        raise ValueError(f"the order needs {ports_needed(items)} service ports, not {len(ports)}")
    internet = products_of(items, "internet")
    lines = [PlannedLine(product, at + 1, ports[at]) for at, product in enumerate(internet)]
    for at, product in enumerate(products_of(items, "tv")):
        lines.append(PlannedLine(product, len(internet) + at + 1, ports[at % len(ports)]))
    return lines


def plan_of(order_id: UUID, items: Sequence[OrderItem], ports: Sequence[Port]) -> Plan:
    """The entries for the whole order: first ports and profiles on the OLT, then accounts and entitlements.

    An internet line: the service port and an AAA account. A TV line: a multicast profile on the port and a TV
    entitlement. An order of TV alone opens its port without an internet profile.
    """
    lines = lines_of(items, ports)
    entries = [entry for line in lines for entry in _entries(order_id, line)]
    if not products_of(items, "internet"):
        entries.insert(0, _port_entry(order_id, ports[0], DEFAULT_PORT_PRODUCT))
    rank = {"port": 0, "multicast": 1, "account": 2, "entitlement": 3}
    return tuple(sorted(entries, key=lambda entry: rank[entry.key.partition("/")[0]]))


def _entries(order_id: UUID, line: PlannedLine) -> list[Entry]:
    product = PRODUCTS[line.product]
    name = f"{order_id}-{line.number}"
    if product.kind == "internet":
        account = {"order_id": str(order_id), "profile": product.id, "port": f"{line.port.element}:{line.port.name}",
                   "down_mbps": product.down_mbps, "up_mbps": product.up_mbps}
        return [_port_entry(order_id, line.port, product.id), Entry(AAA, f"account/{name}", account)]
    profile = {"order_id": str(order_id), "profile": product.id, "channels": product.channels}
    return [
        Entry(line.port.element, f"multicast/{line.port.name}/{line.number}", profile),
        Entry(TV, f"entitlement/{name}", {"order_id": str(order_id), "package": product.id}),
    ]


def _port_entry(order_id: UUID, port: Port, profile: str) -> Entry:
    return Entry(port.element, f"port/{port.name}", {"admin": "up", "order_id": str(order_id), "profile": profile})
