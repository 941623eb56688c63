"""One round of work on the network: claim due orders, write or put back, record what came of it.

Nothing is written to an element before its snapshot is committed here, and nothing is recorded by a worker whose
lease is gone. What stops in the middle is done again by whoever claims the order next. Orders for different elements
go side by side to the end, so that an element that is slow or dead holds up only its own orders.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from eventlet import GreenPool, Timeout
from eventlet.greenthread import GreenThread

from activation_svc import commands, domain, inventory, leases
from activation_svc.claims import Claim, Work
from activation_svc.commands import FailedTry
from activation_svc.domain import Activation, Patience
from activation_svc.driver import ElementError, ElementRefused
from activation_svc.elements import NetworkElements
from activation_svc.models import PROVISION_STATES, table
from activation_svc.plan import Plan, Site, lines_of
from chassis.db import StoreSession, Tx
from chassis.saga import Saga

log = logging.getLogger(__name__)

SLOW_S = 1.0
GROUPS_AT_ONCE = 32
"""Of one process; a worker waits before it takes on more."""


@dataclass(frozen=True)
class Network:
    """What a worker works with. `kinds`: which elements there are, and of what kind.

    `groups` runs what is worked on side by side, of all workers; `batch` orders are taken at once; `jitter` gives
    random numbers in [0, 1).
    """

    elements: NetworkElements
    kinds: Mapping[str, str]
    site: Site
    owner: leases.Owner
    groups: GreenPool
    patience: Patience
    batch: int
    jitter: Callable[[], float] = random.random


class Round:
    """One claimed batch and what became of each order in it."""

    def __init__(self, store: StoreSession, saga: Saga[Activation], network: Network) -> None:
        self._store, self._saga, self._network = store, saga, network
        self._failed: dict[UUID, FailedTry] = {}
        self._done: dict[UUID, Work] = {}
        self._tidied: set[UUID] = set()

    def run(self) -> bool:
        """Do one round; return whether there was anything to do."""
        network = self._network
        claim = Claim(self._store, network.owner, network.kinds, network.elements.avoided(), network.site)
        claimed = claim.take(network.batch)
        self._failed = {
            work.order_id: replace(claim.failed[work.order_id], ports=work.ports)
            for work in claimed if work.order_id in claim.failed
        }
        groups: dict[tuple[str, ...], list[Work]] = {}
        for work in claimed:
            groups.setdefault(work.route, []).append(work)
        self._wait([network.groups.spawn(self._work_on, works) for works in groups.values()])
        return bool(claimed)

    def _wait(self, groups: list[GreenThread]) -> None:
        """Wait for the groups, but for slow ones only so long: they go on by themselves, under their leases.

        Otherwise the orders of an element that hangs would hold up all workers, and with them all other orders.
        """
        with Timeout(SLOW_S, False):
            for group in groups:
                if (error := group.wait()) is not None:
                    raise error

    def _work_on(self, works: list[Work]) -> Exception | None:
        """Orders for the same elements, to the end. Returns what went wrong here (not on an element)."""
        try:
            self._put_back([work for work in works if work.puts_back])
            self._provision([work for work in works if not work.puts_back and work.order_id not in self._failed])
            self._record(works)
        except Exception as error:
            # It is the loop's to pause on, where that still waits; the orders need not wait for their leases to end.
            log.exception("work on %d orders ended", len(works))
            self._let_go(works)
            return error
        return None

    def _put_back(self, works: list[Work]) -> None:
        snapshots = {work.order_id: work.snapshot for work in works if work.snapshot is not None}
        if snapshots:
            self._fail("restore", self._network.elements.restore(snapshots), works)
            self._fail("verify restored", self._network.elements.verify(self._unfailed(snapshots)), works)
        self._done |= {work.order_id: work for work in works if work.snapshot is None or self._is_fine(work)}

    def _provision(self, works: list[Work]) -> None:
        works = self._with_snapshots(works)
        plans = {work.order_id: work.plan for work in works}
        if plans:
            self._fail("apply", self._network.elements.apply(plans), works)
            self._fail("verify", self._network.elements.verify(self._unfailed(plans)), works)
        self._tidy([work for work in works if self._is_fine(work)])
        self._done |= {work.order_id: work for work in works if self._is_fine(work)}

    def _tidy(self, works: list[Work]) -> None:
        """Put back what an earlier try left on another port. Where that fails the order is no worse for it: the
        snapshot keeps it for the revert, nobody else gets the port, and the audit shows it.
        """
        leftovers = {work.order_id: work.leftovers for work in works if work.leftovers}
        if not leftovers:
            return
        failures = self._network.elements.restore(leftovers)
        failures |= self._network.elements.verify({key: left for key, left in leftovers.items() if key not in failures})
        for order_id, why in failures.items():
            log.warning("what was on its former port stays: %s", why, extra={"order_id": str(order_id)})
        self._tidied |= leftovers.keys() - failures.keys()

    def _with_snapshots(self, works: list[Work]) -> list[Work]:
        """Take the snapshots that are missing, commit them, and return those orders that are still ours to write."""
        if not works:
            return []
        missing = {work.order_id: work.unknown for work in works if work.unknown}
        taken, failures = self._network.elements.snapshot(missing) if missing else ({}, {})
        self._fail("snapshot", failures, works)
        works = [
            replace(work, snapshot=(*(work.snapshot or ()), *taken.get(work.order_id, ())))
            for work in works if self._is_fine(work)
        ]
        with self._store.transaction() as tx:
            order_ids = [work.order_id for work in works]
            tx.lock(order_ids)
            ours = leases.hold(tx.conn, self._network.owner, order_ids, tx.now)
            store_snapshots(tx.conn, {
                work.order_id: work.snapshot or () for work in works if work.order_id in ours and work.order_id in taken
            })
        return [work for work in works if ours.get(work.order_id) == "provisioning"]

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
        lines = tuple(line.as_line() for line in lines_of(work.items, work.holding)) if done else ()
        return commands.Provisioned(work.order_id, lines) if done else None

    def _after_failure(self, row: Activation, tx: Tx) -> Activation:
        failed = self._failed[row.order_id]
        log.warning("%s failed: %s", failed.step, failed.error, extra={"order_id": str(row.order_id)})
        return domain.after_failure(row, failed, self._network.patience, self._network.jitter(), tx.now)

    def _clean(self, conn: sa.Connection, order_ids: Iterable[UUID]) -> None:
        """Forget the snapshots that are put back, wholly or for a former port, and free what was held for them."""
        done = [self._done[order_id] for order_id in order_ids if order_id in self._done]
        restored = [work.order_id for work in done if work.puts_back]
        if restored:
            conn.execute(sa.update(table).where(table.c.order_id.in_(restored)).values(snapshot=None))
            inventory.release(conn, restored)
        tidied = [work for work in done if work.order_id in self._tidied]
        if tidied:
            store_snapshots(conn, {work.order_id: _without(work.snapshot, work.leftovers) for work in tidied})
            inventory.release_blocked(conn, [work.order_id for work in tidied])

    def _fail(self, step: str, failures: dict[UUID, ElementError], works: list[Work]) -> None:
        ports = {work.order_id: work.ports for work in works}
        for order_id, why in failures.items():
            refused = isinstance(why, ElementRefused)
            self._failed.setdefault(
                order_id, FailedTry(step, str(why), why.element, refused, ports.get(order_id, ()))
            )

    def _is_fine(self, work: Work) -> bool:
        return work.order_id not in self._failed

    def _unfailed(self, plans: dict[UUID, Plan]) -> dict[UUID, Plan]:
        return {order_id: plan for order_id, plan in plans.items() if order_id not in self._failed}

    def _let_go(self, claimed: list[Work]) -> None:
        order_ids = [work.order_id for work in claimed]
        with self._store.transaction() as tx:
            tx.lock(order_ids)
            leases.release(tx.conn, self._network.owner, order_ids)


def _without(snapshot: Plan | None, leftovers: Plan) -> Plan:
    return tuple(entry for entry in snapshot or () if entry not in leftovers)


def store_snapshots(conn: sa.Connection, snapshots: Mapping[UUID, Plan]) -> None:
    """Record what stood on the elements before these orders wrote there."""
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
