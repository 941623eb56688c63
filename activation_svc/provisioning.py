"""One round of work on the network: claim due orders, write or put back, record what came of it.

Nothing is written to an element before its snapshot is committed here, and nothing is recorded by a worker whose
lease is gone. What stops in the middle is done again by whoever claims the order next. Orders for different elements
go side by side to the end, so that an element that is slow or dead holds up only its own orders.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from eventlet import Timeout
from eventlet.greenthread import GreenThread

from activation_svc import commands, domain, inventory, leases, snapshots
from activation_svc.claims import Work
from activation_svc.commands import FailedTry
from activation_svc.domain import Activation
from activation_svc.driver import ElementError, ElementRefused
from activation_svc.models import PROVISION_STATES
from activation_svc.network import Network
from activation_svc.plan import Plan, lines_of
from chassis.db import StoreSession, Tx
from chassis.saga import Saga

log = logging.getLogger(__name__)

SLOW_S = 1.0


class Round:
    """One claimed batch and what became of each order in it. `ask`: ask for the visits of what was just handed over."""

    def __init__(
        self, store: StoreSession, saga: Saga[Activation], network: Network, ask: Callable[[], Any]
    ) -> None:
        self._store, self._saga, self._network, self._ask = store, saga, network, ask
        self._held: dict[UUID, Activation] = {}
        self._failed: dict[UUID, FailedTry] = {}
        self._done: dict[UUID, Work] = {}
        self._tidied: set[UUID] = set()
        self._asks = False

    def run(self) -> bool:
        """Do one round; return whether there may be more to do."""
        network = self._network
        groups = self._grouped(network.arrived.next(network.batch, self._claim))
        self._wait([network.groups.spawn(self._work_on, group) for group in groups])
        return network.arrived.behind

    def go(self) -> None:
        """Do one round with the order that was just handed over, in a greenlet of its own, without a worker."""
        if self._network.has_room:
            self._network.groups.spawn_n(self._go)
        else:
            self._network.arrived.call_worker()  # The caller is an event's handler, and others wait behind it.

    def _go(self) -> None:
        network = self._network
        try:
            with network.arrived.going():
                for group in self._grouped(network.arrived.take(1)):
                    self._work_on(group)
        except Exception:
            log.exception("a round ended early: its orders wait until their leases end")

    def _grouped(self, works: list[Work]) -> list[list[Work]]:
        """The works, with their plans, by the elements they have to do with."""
        works = self._network.supplier.completed(self._store, works)
        self._held = {work.order_id: work.row for work in works}
        self._failed = {work.order_id: replace(work.failed, ports=work.ports) for work in works if work.failed}
        groups: dict[tuple[str, ...], list[Work]] = {}
        for work in works:
            groups.setdefault(work.route, []).append(work)
        return list(groups.values())

    def _claim(self, limit: int) -> list[Work]:
        with self._store.transaction() as tx:
            return self._network.supplier.claim(tx, limit)

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
            if self._asks:
                self._asks = False
                with self._network.provisioned.going():
                    self._ask()
        except Exception as error:
            # It is the loop's to pause on, where that still waits; the orders need not wait for their leases to end.
            log.exception("work on %d orders ended", len(works))
            try:
                self._let_go(works)
            finally:
                if self._asks:
                    self._network.provisioned.call_worker()
            return error
        return None

    def _put_back(self, works: list[Work]) -> None:
        written = [work for work in works if work.snapshot is not None]
        ours = self._renewed(written, {}) if written else {}
        works = [work for work in works if work.snapshot is None or work.order_id in ours]
        before = {work.order_id: work.snapshot for work in works if work.snapshot is not None}
        if before:
            self._fail("restore", self._network.elements.restore(before), works)
            self._fail("verify restored", self._network.elements.verify(self._unfailed(before)), works)
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
        left = [work for work in works if work.leftovers]
        ours = self._renewed(left, {}) if left else {}
        leftovers = {work.order_id: work.leftovers for work in left if work.order_id in ours}
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
        taken, failures = self._read(works)
        self._fail("snapshot", failures, works)
        works = [
            replace(work, snapshot=(*(work.snapshot or ()), *taken.get(work.order_id, ())))
            for work in works if self._is_fine(work)
        ]
        if not works:
            return []
        if all(work.order_id not in taken and work.ahead and work.ahead.is_fresh for work in works):
            return works  # Just leased, and their snapshots are committed: they may be written at once.
        ours = self._renewed(works, {work.order_id: work.snapshot for work in works if work.order_id in taken})
        return [work for work in works if ours.get(work.order_id) == "provisioning"]

    def _read(self, works: Sequence[Work]) -> tuple[dict[UUID, Plan], dict[UUID, ElementError]]:
        """What stands where these will write, as far as their snapshots do not say it."""
        missing = {work.order_id: work.unknown for work in works if work.unknown and not work.ahead}
        taken, failures = self._network.elements.snapshot(missing) if missing else ({}, {})
        for work in works:
            if work.ahead and work.unknown:
                found, failed = work.ahead.wait()
                taken, failures = taken | found, failures | failed
        return taken, failures

    def _renewed(self, works: list[Work], taken: Mapping[UUID, Plan | None]) -> dict[UUID, str]:
        """Renew the leases of these, and keep with them the snapshots that were taken.

        Returns the orders that are still ours and surely will be while a step writes, with their states.
        """
        held = [(self._held[work.order_id], taken.get(work.order_id)) for work in works]
        ours, tx = leases.hold(self._store, self._network.owner, held)
        renewed = [leases.leased(self._held[order_id], self._network.owner, tx.now) for order_id in ours]
        self._held |= {row.order_id: row for row in renewed}
        if time.monotonic() - tx.began > leases.SURE_S:
            log.warning("renewing %d leases took so long that it is for the next round to work under them", len(ours))
            return {}
        return ours

    def _record(self, claimed: list[Work]) -> None:
        """Store what came of these orders, as far as they are still ours, and let go of them."""
        recorded = self._record_provisioned([
            work for work in claimed
            if work.order_id in self._done and not work.puts_back and work.order_id not in self._tidied
        ])
        claimed = [work for work in claimed if work.order_id not in recorded]
        if not claimed:
            return
        with self._store.transaction() as tx:
            rows = self._saga.load(tx, [work.order_id for work in claimed])
            works = [work for work in claimed if leases.is_held(rows[work.order_id], self._held[work.order_id], tx.now)]
            outcomes = [outcome for work in works if (outcome := self._outcome(rows[work.order_id], work)) is not None]
            _, changed = self._saga.decide(tx, rows, outcomes)
            for work in works:
                row = rows[work.order_id]
                # A failure belongs to the step it happened in, not to one that a cancel has begun meanwhile.
                if row.order_id in self._failed and row.order_id not in changed and row.state == work.row.state:
                    changed[row.order_id] = self._after_failure(row, tx)
            left = {work.order_id: leases.released(changed.get(work.order_id, rows[work.order_id])) for work in works}
            kept = self._kept(tx, left.values())
            self._saga.store(tx, list((left | kept).values()))
            self._clean(tx.conn, left)
            self._network.provisioned.hand(tx, list(kept.values()), self._go_on)

    def _record_provisioned(self, works: list[Work]) -> set[UUID]:
        """Store that these are live, where nobody has moved them since their lease was renewed. Returns those.

        Whoever moves an order that is leased changes its state, as a cancel does; so nothing need be loaded.
        """
        if not works:
            return set()
        with self._store.single() as tx:
            held = {work.order_id: self._held[work.order_id] for work in works}
            rows = {order_id: row for order_id, row in held.items() if leases.is_held(row, row, tx.now)}
            outcomes = [self._outcome(rows[work.order_id], work) for work in works if work.order_id in rows]
            _, changed, events = self._saga.effects(tx, rows, outcomes)
            kept = self._kept(tx, changed.values())
            after = [kept.get(order_id) or leases.released(row) for order_id, row in changed.items()]
            recorded = self._saga.swap(tx, list(rows.values()), after, events)
            self._network.provisioned.hand(
                tx, [row for order_id, row in kept.items() if order_id in recorded], self._go_on
            )
        return recorded

    def _kept(self, tx: Tx, rows: Iterable[Activation]) -> dict[UUID, Activation]:
        """The orders whose visit is requested next: they keep their lease, as far as there is room for them."""
        handover = self._network.provisioned
        provisioned = [row for row in rows if row.state == "provisioned"]
        kept = [leases.leased(row, self._network.owner, tx.now) for row in provisioned[:handover.room]]
        if len(kept) < len(provisioned):
            handover.leave(tx)
        return {row.order_id: row for row in kept}

    def _go_on(self) -> None:
        """Right after the commit of a group: the group goes on to ask for its visits."""
        self._asks = True

    def _outcome(self, row: Activation, work: Work) -> Any:
        """The command that says what came of this order; None where it is to be tried again."""
        done = work.order_id in self._done
        if row.state not in PROVISION_STATES or not (done or work.order_id in self._failed):
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
            snapshots.forget(conn, restored)
            inventory.release(conn, restored)
        tidied = [work for work in done if work.order_id in self._tidied]
        if tidied:
            snapshots.store(conn, {work.order_id: snapshots.without(work.snapshot, work.leftovers) for work in tidied})
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
        held = [self._held[work.order_id] for work in claimed]
        with self._store.transaction() as tx:
            tx.lock(row.order_id for row in held)
            leases.release(tx.conn, held)
