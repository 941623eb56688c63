"""One round of work on the network: claim due orders, write or put back, record what came of it.

Nothing is written to an element before its snapshot is committed here, and nothing is recorded by a worker whose
lease is gone. What stops in the middle is done again by whoever claims the order next.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from activation_svc import commands, domain, leases, ports
from activation_svc.commands import FailedTry
from activation_svc.domain import Activation, Patience
from activation_svc.element_link import ElementError, ElementRefused
from activation_svc.elements import NetworkElements
from activation_svc.models import PROVISION_STATES, table
from activation_svc.plan import Entry, Plan, Port, lines_of, plan_of, ports_needed
from chassis.db import StoreSession, Tx
from chassis.saga import Saga
from contracts.orders import OrderItem

log = logging.getLogger(__name__)

POOL = "port inventory"
ROW_FIELDS = tuple(field.name for field in fields(Activation))


@dataclass(frozen=True)
class Network:
    """What a worker works with. `batch` orders are taken at once; `jitter` gives random numbers in [0, 1)."""

    elements: NetworkElements
    owner: leases.Owner
    patience: Patience
    batch: int
    jitter: Callable[[], float] = random.random


@dataclass(frozen=True)
class Work:
    """One claimed order. `snapshot` None: nothing can have been written to an element yet.

    `items` and `plan` are empty where the order is only to be put back: its snapshot says all.
    """

    row: Activation
    items: tuple[OrderItem, ...]
    ports: Sequence[Port]
    snapshot: Plan | None
    plan: Plan = ()

    @property
    def order_id(self) -> UUID:
        return self.row.order_id

    @property
    def puts_back(self) -> bool:
        return self.row.state != "provisioning" or self.row.gives_up


class Round:
    """One claimed batch and what became of each order in it."""

    def __init__(self, store: StoreSession, saga: Saga[Activation], network: Network) -> None:
        self._store, self._saga, self._network = store, saga, network
        self._failed: dict[UUID, FailedTry] = {}
        self._done: dict[UUID, Work] = {}

    def run(self) -> bool:
        """Do one round; return whether there was anything to do."""
        claimed = self._claim()
        if not claimed:
            return False
        try:
            self._put_back([work for work in claimed if work.puts_back])
            self._provision([work for work in claimed if not work.puts_back and work.order_id not in self._failed])
            self._record(claimed)
        except Exception:
            # The error is the loop's to log and to pause on; the orders need not wait for their leases to end.
            self._let_go(claimed)
            raise
        return True

    def _claim(self) -> list[Work]:
        with self._store.transaction() as tx:
            rows = leases.claim(tx.conn, self._network.owner, PROVISION_STATES, tx.now, self._network.batch)
            if not rows:
                return []
            held = ports.held(tx.conn, [row.order_id for row in rows])
            return self._with_plans(tx, [self._work(row, held.get(row.order_id, [])) for row in rows])

    def _work(self, row: Any, held: Sequence[Port]) -> Work:
        activation = Activation(**{name: getattr(row, name) for name in ROW_FIELDS})
        snapshot = None if row.snapshot is None else tuple(Entry(**entry) for entry in row.snapshot)
        work = Work(activation, (), held, snapshot)
        if work.puts_back:
            return work
        try:
            return replace(work, items=tuple(OrderItem.model_validate(item) for item in activation.items))
        except ValueError as exc:
            # A product that the catalogue no longer has: a person must see it, and other orders must not wait.
            self._failed[row.order_id] = FailedTry("plan", str(exc), refused=True)
            return work

    def _with_plans(self, tx: Tx, claimed: list[Work]) -> list[Work]:
        """Give ports to those that are to be provisioned and have none; who cannot get them has failed."""
        forward = [work for work in claimed if not work.puts_back and work.order_id not in self._failed]
        needs = {work.order_id: ports_needed(work.items) for work in forward if not work.ports}
        given = ports.allocate(tx.conn, needs) if needs else {}
        short = needs.keys() - given.keys()
        if short:
            why = f"no free port: {ports.pool(tx.conn)} exhausted"
            self._failed |= {order_id: FailedTry("allocate ports", why, POOL, refused=True) for order_id in short}
        planned = {}
        for work in forward:
            if work.order_id not in short:
                mine = given.get(work.order_id, work.ports)
                planned[work.order_id] = replace(work, ports=mine, plan=plan_of(work.order_id, work.items, mine))
        return [planned.get(work.order_id, work) for work in claimed]

    def _put_back(self, works: list[Work]) -> None:
        snapshots = {work.order_id: work.snapshot for work in works if work.snapshot is not None}
        if snapshots:
            self._fail("restore", self._network.elements.restore(snapshots))
            self._fail("verify restored", self._network.elements.verify(self._unfailed(snapshots)))
        self._done |= {work.order_id: work for work in works if work.snapshot is None or self._is_fine(work)}

    def _provision(self, works: list[Work]) -> None:
        works = self._with_snapshots(works)
        plans = {work.order_id: work.plan for work in works}
        if plans:
            self._fail("apply", self._network.elements.apply(plans))
            self._fail("verify", self._network.elements.verify(self._unfailed(plans)))
        self._done |= {work.order_id: work for work in works if self._is_fine(work)}

    def _with_snapshots(self, works: list[Work]) -> list[Work]:
        """Take the snapshots that are missing, commit them, and return those orders that are still ours to write."""
        if not works:
            return []
        missing = {work.order_id: work.plan for work in works if work.snapshot is None}
        taken, failures = self._network.elements.snapshot(missing) if missing else ({}, {})
        self._fail("snapshot", failures)
        with self._store.transaction() as tx:
            order_ids = [work.order_id for work in works]
            tx.lock(order_ids)
            ours = leases.hold(tx.conn, self._network.owner, order_ids, tx.now)
            _store_snapshots(tx.conn, {order_id: plan for order_id, plan in taken.items() if order_id in ours})
        return [work for work in works if ours.get(work.order_id) == "provisioning" and self._is_fine(work)]

    def _record(self, claimed: list[Work]) -> None:
        order_ids = [work.order_id for work in claimed]
        with self._store.transaction() as tx:
            rows = self._saga.load(tx, order_ids)
            ours = leases.hold(tx.conn, self._network.owner, order_ids, tx.now)
            works = [work for work in claimed if work.order_id in ours]
            outcomes = [self._outcome(rows[work.order_id], work) for work in works]
            steps = self._saga.commands(tx, [outcome for outcome in outcomes if outcome is not None])
            self._saga.store(tx, [
                self._after_failure(rows[work.order_id], tx)
                for work, outcome in zip(works, outcomes, strict=True)
                # A failure belongs to the step it happened in, not to one that a cancel has begun meanwhile.
                if outcome is None and work.order_id in self._failed and rows[work.order_id].state == work.row.state
            ])
            self._clean(tx.conn, ours)
            leases.release(tx.conn, self._network.owner, ours)
            if any(step.after.state == "provisioned" for step in steps):
                tx.wake("visits")

    def _outcome(self, row: Activation, work: Work) -> Any:
        """The command that says what came of this order; None where it is to be tried again."""
        done = work.order_id in self._done
        if row.state not in PROVISION_STATES:
            return None
        if work.puts_back and row.state == "provisioning":
            # The tries are used up either way. A snapshot that could not be restored is kept for the revert.
            return commands.ProvisionFailed(work.order_id, None if done else self._failed[work.order_id])
        if work.puts_back:
            return commands.Reverted(work.order_id) if done else None
        lines = tuple(line.as_line() for line in lines_of(work.items, work.ports)) if done else ()
        return commands.Provisioned(work.order_id, lines) if done else None

    def _after_failure(self, row: Activation, tx: Tx) -> Activation:
        failed = self._failed[row.order_id]
        log.warning("%s failed: %s", failed.step, failed.error, extra={"order_id": str(row.order_id)})
        return domain.after_failure(row, failed, self._network.patience, self._network.jitter(), tx.now)

    def _clean(self, conn: sa.Connection, order_ids: Iterable[UUID]) -> None:
        """Forget the snapshots that are put back and free their ports."""
        restored = [order_id for order_id in order_ids if order_id in self._done and self._done[order_id].puts_back]
        if restored:
            conn.execute(sa.update(table).where(table.c.order_id.in_(restored)).values(snapshot=None))
            ports.release(conn, restored)

    def _fail(self, step: str, failures: dict[UUID, ElementError]) -> None:
        for order_id, why in failures.items():
            refused = isinstance(why, ElementRefused)
            self._failed.setdefault(order_id, FailedTry(step, str(why), why.element, refused))

    def _is_fine(self, work: Work) -> bool:
        return work.order_id not in self._failed

    def _unfailed(self, plans: dict[UUID, Plan]) -> dict[UUID, Plan]:
        return {order_id: plan for order_id, plan in plans.items() if order_id not in self._failed}

    def _let_go(self, claimed: list[Work]) -> None:
        order_ids = [work.order_id for work in claimed]
        with self._store.transaction() as tx:
            tx.lock(order_ids)
            leases.release(tx.conn, self._network.owner, order_ids)


def _store_snapshots(conn: sa.Connection, snapshots: dict[UUID, Plan]) -> None:
    if not snapshots:
        return
    conn.execute(_STORE, {
        "orders": [str(order_id) for order_id in snapshots],
        "snapshots": [json.dumps([asdict(entry) for entry in plan]) for plan in snapshots.values()],
    })


_STORE = sa.text(
    "update activations set snapshot = taken.snapshot"
    " from unnest(cast(:orders as uuid[]), cast(:snapshots as jsonb[])) as taken(order_id, snapshot)"
    " where activations.order_id = taken.order_id"
)
