"""Which entries an order's lines need on which elements: the declared plan (`plan.yaml`) applied to one order.

Pure functions of the order, the resources it holds and the site. Entries are named after the order and its resources,
so that provisioning it twice writes the same entries twice.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from activation_svc import plan_table
from activation_svc.driver import Content
from activation_svc.plan_table import LineKind, Task
from contracts.catalogue import PRODUCTS
from contracts.orders import OrderItem

PORT = "service-port"
TABLE = plan_table.load()


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing of an element that one line at a time can have; `kind` as in plan.yaml, `name` the element's own."""

    kind: str
    element: str
    name: str

    @property
    def pool(self) -> str:
        return f"{self.kind}:{self.element}"


Holding = Mapping[int, Mapping[str, Resource]]
"""What an order holds: by line number (from 1), then by kind."""

Needs = Mapping[int, Sequence[str]]
"""What an order is to hold: kinds by line number."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands, or is to stand, under `key` on `element`; `content` None means nothing does."""

    element: str
    key: str
    content: Content | None


Plan = tuple[Entry, ...]
"""Entries in the order in which they are written; undone in the opposite order."""


def as_json(plan: Plan | None) -> str | None:
    """A snapshot as it is stored: `[{"element", "key", "content"}]`."""
    if plan is None:
        return None
    return json.dumps([{"element": each.element, "key": each.key, "content": each.content} for each in plan])


@dataclass(frozen=True, slots=True)
class Site:
    """What is the same for every order: the element of each kind that no resource decides, and the key of secrets."""

    elements: Mapping[str, str]
    line_key: bytes = field(repr=False)

    def secret(self, purpose: str, subscriber: str) -> bytes:
        """A secret of one line, which nobody can tell without the key; the same every time."""
        return hmac.new(self.line_key, f"{purpose}:{subscriber}".encode(), hashlib.sha256).digest()


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """One line of the order (an item of quantity 2 is two) and what it may use, its own or shared."""

    product: str
    number: int
    resources: Mapping[str, Resource]

    def as_line(self) -> dict[str, Any]:
        """The line as `contracts.events.Line` in JSON."""
        port = self.resources[PORT]
        kind = PRODUCTS[self.product].kind
        return {"product": self.product, "kind": kind, "element": port.element, "port": port.name}


def products_of(items: Iterable[OrderItem]) -> list[str]:
    """The product of each line, internet first; line numbers are places in this list, from 1."""
    lines = [item.product for item in items for _ in range(item.quantity)]
    return sorted(lines, key=lambda product: list(TABLE.lines).index(PRODUCTS[product].kind))


def needs_of(items: Sequence[OrderItem]) -> dict[int, tuple[str, ...]]:
    """What the order takes from the inventory, by line; lines that take nothing are left out."""
    takes = [_kind(product).takes for product in products_of(items)]
    needs = {number: take.own for number, take in enumerate(takes, start=1)}
    owned = {kind for kinds in needs.values() for kind in kinds}
    lacking = dict.fromkeys(kind for take in takes for kind in take.shared if kind not in owned)
    needs[1] = (*needs[1], *lacking)
    return {number: kinds for number, kinds in needs.items() if kinds}


def lines_of(items: Sequence[OrderItem], holding: Holding) -> list[PlannedLine]:
    """The order's lines. Lines that share spread over what the order holds.

    Raises ValueError where the order does not hold what it needs.
    """
    for number, kinds in needs_of(items).items():
        if lacking := [kind for kind in kinds if kind not in holding.get(number, {})]:
            raise ValueError(f"line {number} holds no {', '.join(lacking)}")
    lines: list[PlannedLine] = []
    sharing = 0
    for number, product in enumerate(products_of(items), start=1):
        mine = dict(holding.get(number, {}))
        if shared := _kind(product).takes.shared:
            owners = [at for at in sorted(holding) if all(kind in holding[at] for kind in shared)]
            mine = dict(holding[owners[sharing % len(owners)]]) | mine
            sharing += 1
        lines.append(PlannedLine(product, number, mine))
    return lines


def plan_of(order_id: UUID, items: Sequence[OrderItem], holding: Holding, site: Site) -> Plan:
    """The entries for the whole order, element by element in the plan's order. Raises ValueError as `lines_of`."""
    tasks = [(line, task) for line in lines_of(items, holding) for task in _kind(line.product).tasks]
    entries: dict[tuple[str, str], Content] = {}
    for line, task in sorted(tasks, key=lambda each: TABLE.stage(each[1])):
        values = _values(order_id, line, site)
        place = _element(line, task, site), str(plan_table.fill(task.key, values))
        content = plan_table.fill(task.content, values)
        entries[place] = plan_table.united(entries[place], content) if place in entries else content
    return tuple(Entry(element, key, content) for (element, key), content in entries.items())


def elements_of(plan: Plan) -> tuple[str, ...]:
    """The elements of a plan, in its order."""
    return tuple(dict.fromkeys(entry.element for entry in plan))


def _kind(product: str) -> LineKind:
    return TABLE.lines[PRODUCTS[product].kind]


def _element(line: PlannedLine, task: Task, site: Site) -> str:
    if task.at in line.resources:
        return line.resources[task.at].element
    if task.at not in site.elements:
        raise ValueError(f"there is no element of kind {task.at!r}")
    return site.elements[task.at]


def _values(order_id: UUID, line: PlannedLine, site: Site) -> dict[str, Any]:
    subscriber = f"{order_id}-{line.number}"
    values: dict[str, Any] = {kind: resource.name for kind, resource in line.resources.items()}
    if "vlan" in values:
        values["vlan"] = int(values["vlan"])
    return values | {
        "order_id": str(order_id), "subscriber": subscriber, "product": line.product,
        "password": site.secret("password", subscriber).hex()[:32],
        # What the installer types into the ONT: digits, unlike words, are read out over a phone without a mistake.
        "registration_id": f"{int.from_bytes(site.secret('registration', subscriber)[:8]) % 10**10:010}",
    }
