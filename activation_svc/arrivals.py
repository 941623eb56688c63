"""Orders that arrive: they are stored with what they need, under lease, and handed over to be provisioned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from activation_svc import ahead, inventory, leases, snapshots
from activation_svc.claims import Work
from activation_svc.domain import Activation
from activation_svc.models import PROVISION_STATES
from activation_svc.network import Network
from activation_svc.plan import Plan
from chassis.db import Tx
from chassis.saga import Saga


def begin(
    tx: Tx, saga: Saga[Activation], network: Network, rows: Sequence[Activation], seen: inventory.Seen,
    go: Callable[[], None],
) -> None:  # fmt: skip
    """Store these rows. Take what those that are placed in this transaction need, and hand as many over as there is
    room for: these are stored leased.

    `seen`: as `inventory.allocate` takes it; `go` begins a round with what was handed over.
    """
    placed = [row for row in rows if row.state == "provisioning" and row.lease_owner is None]
    chosen = {row.order_id: leases.leased(row, network.owner, tx.now) for row in placed[:network.arrived.room]}
    works = network.supplier.begin(tx, chosen.values(), seen)
    snapshots_ahead: Mapping[UUID, Plan] = {}
    straight = network.has_room
    if straight and len(works) == 1 and network.arrived.is_idle:
        works, snapshots_ahead = _read_ahead(network, works[0], tx.began)
    network.arrived.hand(tx, works, go if straight else None)
    if any(row.state in PROVISION_STATES and row.order_id not in chosen for row in rows):
        network.arrived.leave(tx)
    saga.store(tx, [chosen.get(row.order_id, row) for row in rows])
    snapshots.store(tx.conn, snapshots_ahead)


def _read_ahead(network: Network, work: Work, leased_at: float) -> tuple[list[Work], Mapping[UUID, Plan]]:
    """The work, with what stands where it will write as far as that is known; and its snapshot, where it is."""
    work = network.supplier.planned(work)
    if not work.plan:
        return [work], {}
    reading = ahead.read(network.elements, work.order_id, work.plan, leased_at)
    found = reading.in_time()
    return [replace(work, snapshot=found.get(work.order_id), ahead=reading)], found
