"""Claiming due orders, with the resources they hold or need and the plan that follows from them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from activation_svc import inventory, leases
from activation_svc.ahead import Ahead
from activation_svc.commands import FailedTry
from activation_svc.domain import Activation
from activation_svc.models import PROVISION_STATES
from activation_svc.plan import PORT, Entry, Holding, Needs, Plan, Site, elements_of, needs_of, plan_of
from chassis.db import StoreSession, Tx
from contracts.events import Event, OrderPlaced
from contracts.orders import OrderItem

INVENTORY = "inventory"


@dataclass(frozen=True)
class Work:
    """One claimed order. `snapshot` None: nothing can have been written to an element yet.

    `failed`: why it cannot be provisioned now, which is known before any element is asked.
    `items`, `holding` and `plan` are empty where the order is only to be put back: its snapshot says all.
    `ahead`: its snapshot was, or is being, taken while it was taken in.
    """

    row: Activation
    snapshot: Plan | None
    items: tuple[OrderItem, ...] = ()
    holding: Holding = field(default_factory=dict)
    plan: Plan = ()
    failed: FailedTry | None = None
    ahead: Ahead | None = None

    @property
    def order_id(self) -> UUID:
        return self.row.order_id

    @property
    def puts_back(self) -> bool:
        return self.row.state != "provisioning" or self.row.gives_up

    @property
    def route(self) -> tuple[str, ...]:
        """The elements it has to do with."""
        return elements_of(self.plan or self.snapshot or ())

    @property
    def unknown(self) -> Plan:
        """The planned entries of which the snapshot does not say what stood there before."""
        known = {(entry.element, entry.key) for entry in self.snapshot or ()}
        return tuple(entry for entry in self.plan if (entry.element, entry.key) not in known)

    @property
    def leftovers(self) -> Plan:
        """What stood before where an earlier plan has written (on another port), and this one does not."""
        planned = {(entry.element, entry.key) for entry in self.plan}
        return tuple(entry for entry in self.snapshot or () if (entry.element, entry.key) not in planned)

    @property
    def ports(self) -> tuple[dict[str, str], ...]:
        """The service ports it works on, for operators."""
        return ports_of(self.holding)


def need_of(events: Sequence[Event]) -> Needs:
    """What an order takes that is placed alone; nothing where it is not alone, or something else has happened."""
    match events:
        case [OrderPlaced(items=items)] if items:
            return needs_of(items)
    return {}


def ports_of(holding: Holding) -> tuple[dict[str, str], ...]:
    """The service ports in a holding as `{"element", "port"}`."""
    mine = [holding[line][PORT] for line in sorted(holding) if PORT in holding[line]]
    return tuple({"element": port.element, "port": port.name} for port in mine)


@dataclass(frozen=True)
class Supplier:
    """Gives claimed orders what they need, and plans. `elements`: kind by name; `avoided`: those that do not answer."""

    owner: leases.Owner
    elements: Mapping[str, str]
    avoided: Collection[str]
    site: Site

    def claim(self, tx: Tx, limit: int) -> list[Work]:
        """Take up to `limit` due orders under lease, and give them what they lack."""
        rows = leases.claim(tx.conn, self.owner, PROVISION_STATES, tx.now, limit)
        works = [_with_items(_work(row)) for row in rows]
        forward = [work.order_id for work in works if work.items]
        held = inventory.held(tx.conn, forward) if forward else {}
        works = [replace(work, holding=held.get(work.order_id, {})) for work in works]
        return self._supplied(works, inventory.allocate, tx.conn)

    def begin(self, tx: Tx, rows: Iterable[Activation], seen: inventory.Seen) -> list[Work]:
        """The works of orders that were placed, and leased, in this transaction: they hold nothing yet.

        `seen`: as `inventory.allocate` takes it.
        """
        allocate = partial(inventory.allocate, seen=seen)
        return self._supplied([_with_items(Work(row, None)) for row in rows], allocate, tx.conn)

    def completed(self, store: StoreSession, works: list[Work]) -> list[Work]:
        """The works with their plans. What they lack now is surely not to be had."""
        if any(work.items and _needs(work) for work in works):
            # Somebody else may have been about to take what seemed gone, and not have taken it after all.
            with store.transaction() as tx:
                works = self._supplied(works, inventory.allocate_exactly, tx.conn)
        return [self.planned(work) for work in works]

    def _supplied(self, works: list[Work], allocate: Any, conn: sa.Connection) -> list[Work]:
        needs = {work.order_id: lacks for work in works if work.items and (lacks := _needs(work))}
        if not needs:
            return works
        given = allocate(conn, needs, self.elements, self.avoided)
        return [_given(work, given) if work.order_id in needs else work for work in works]

    def planned(self, work: Work) -> Work:
        """The work with its plan, or with why there is none; as it is where it is only to be put back."""
        if work.plan or not work.items or work.failed is not None:
            return work
        try:
            return replace(work, plan=plan_of(work.order_id, work.items, work.holding, self.site))
        except ValueError as exc:
            return replace(work, failed=FailedTry("plan", str(exc), refused=True))


def _with_items(work: Work) -> Work:
    if work.puts_back:
        return work
    try:
        return replace(work, items=tuple(OrderItem.model_validate(item) for item in work.row.items))
    except ValueError as exc:
        # A product that the catalogue no longer has: a person must see it, and other orders must not wait.
        return replace(work, failed=FailedTry("plan", str(exc), refused=True))


def _given(work: Work, given: inventory.Given) -> Work:
    """With what it was given; or with what was exhausted, where it was given nothing."""
    if work.order_id in given.exhausted:
        why = f"exhausted: {', '.join(given.exhausted[work.order_id])}"
        return replace(work, failed=FailedTry("allocate", why, INVENTORY, refused=True))
    return replace(work, holding=inventory.together(work.holding, given.holdings[work.order_id]), failed=None)


def _needs(work: Work) -> dict[int, tuple[str, ...]]:
    return inventory.lacking(needs_of(work.items), work.holding)


def _work(row: Any) -> Work:
    snapshot = None if row.snapshot is None else tuple(Entry(**entry) for entry in row.snapshot)
    return Work(leases.activation_of(row), snapshot)
