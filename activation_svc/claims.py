"""Claiming due orders, with the resources they hold or need and the plan that follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any
from uuid import UUID

from activation_svc import inventory, leases
from activation_svc.commands import FailedTry
from activation_svc.domain import Activation
from activation_svc.models import PROVISION_STATES
from activation_svc.plan import PORT, Entry, Holding, Plan, Site, elements_of, needs_of, plan_of
from chassis.db import StoreSession
from contracts.orders import OrderItem

INVENTORY = "inventory"
ROW_FIELDS = tuple(each.name for each in fields(Activation))


@dataclass(frozen=True)
class Work:
    """One claimed order. `snapshot` None: nothing can have been written to an element yet.

    `items`, `holding` and `plan` are empty where the order is only to be put back: its snapshot says all.
    """

    row: Activation
    snapshot: Plan | None
    items: tuple[OrderItem, ...] = ()
    holding: Holding = field(default_factory=dict)
    plan: Plan = ()

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


def ports_of(holding: Holding) -> tuple[dict[str, str], ...]:
    """The service ports in a holding as `{"element", "port"}`."""
    mine = [holding[line][PORT] for line in sorted(holding) if PORT in holding[line]]
    return tuple({"element": port.element, "port": port.name} for port in mine)


class Claim:
    """Takes up to `limit` due orders under lease and gives them what they need: works, and those that failed so."""

    def __init__(
        self, store: StoreSession, owner: leases.Owner, elements: Mapping[str, str], avoided: Iterable[str], site: Site
    ) -> None:
        self._store, self._owner, self._elements, self._site = store, owner, elements, site
        self._avoided = frozenset(avoided)
        self.failed: dict[UUID, FailedTry] = {}

    def take(self, limit: int) -> list[Work]:
        """Claim, give out, plan. What the works of `failed` lack is said there."""
        with self._store.transaction() as tx:
            rows = leases.claim(tx.conn, self._owner, PROVISION_STATES, tx.now, limit)
            if not rows:
                return []
            works = [self._with_items(_work(row)) for row in rows]
            forward = [work.order_id for work in works if work.items]
            held = inventory.held(tx.conn, forward) if forward else {}
            works = [replace(work, holding=held.get(work.order_id, {})) for work in works]
            works = self._supplied(works, inventory.allocate, tx.conn)
        if any(work.items and _needs(work) for work in works):
            # Somebody else may have been about to take what seemed gone, and not have taken it after all.
            with self._store.transaction() as tx:
                works = self._supplied(works, inventory.allocate_exactly, tx.conn)
        return [self._planned(work) for work in works]

    def _with_items(self, work: Work) -> Work:
        if work.puts_back:
            return work
        try:
            return replace(work, items=tuple(OrderItem.model_validate(item) for item in work.row.items))
        except ValueError as exc:
            # A product that the catalogue no longer has: a person must see it, and other orders must not wait.
            self.failed[work.order_id] = FailedTry("plan", str(exc), refused=True)
            return work

    def _supplied(self, works: Sequence[Work], allocate: Any, conn: Any) -> list[Work]:
        needs = {work.order_id: lacks for work in works if work.items and (lacks := _needs(work))}
        if not needs:
            return list(works)
        given = allocate(conn, needs, self._elements, self._avoided)
        for order_id in needs:
            self.failed.pop(order_id, None)
        for order_id, pools in given.exhausted.items():
            why = f"exhausted: {', '.join(pools)}"
            self.failed[order_id] = FailedTry("allocate", why, INVENTORY, refused=True)
        return [
            replace(work, holding=inventory.together(work.holding, given.holdings.get(work.order_id, {})))
            for work in works
        ]

    def _planned(self, work: Work) -> Work:
        if not work.items or work.order_id in self.failed:
            return work
        try:
            return replace(work, plan=plan_of(work.order_id, work.items, work.holding, self._site))
        except ValueError as exc:
            self.failed[work.order_id] = FailedTry("plan", str(exc), refused=True)
            return work


def _needs(work: Work) -> dict[int, tuple[str, ...]]:
    return inventory.lacking(needs_of(work.items), work.holding)


def _work(row: Any) -> Work:
    activation = Activation(**{name: getattr(row, name) for name in ROW_FIELDS})
    return Work(activation, None if row.snapshot is None else tuple(Entry(**entry) for entry in row.snapshot))
