"""activation: brings lines to life on network elements, asks for the visit, and puts everything back.

Entrypoints only; decisions are in `domain.py`, the rounds of work in `provisioning.py` and `visits.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from activation_svc import (
    arrivals,
    audit,
    claims,
    commands,
    domain,
    fallouts,
    inventory,
    models,
    provisioning,
    queries,
    repair,
    visits,
)
from activation_svc.dependencies import NetworkProvider, VisitsProvider
from activation_svc.plan import PORT, Resource
from chassis.batch import batch_handler
from chassis.db import Store
from chassis.loop import loop
from chassis.rpc_client import RpcClient
from chassis.rpc_server import rpc
from chassis.saga import Saga
from chassis.service import OperatedService
from chassis.table import Refused
from contracts.errors import Conflict, NotFound, from_rpc
from contracts.events import Event, decode
from contracts.ids import order_id_of

log = logging.getLogger(__name__)

SAGA = Saga(
    domain.TABLE, domain.Activation, models.table, evolve=domain.evolve, event=domain.event, lock_rows=True,
    guard=("state", "lease_owner", "lease_until"), beside=inventory.LOOK,
)  # fmt: skip


class ActivationService(OperatedService):
    """Provisioning, the visit request, and the revert of both."""

    name = "activation"
    store = Store(models.Base)
    network = NetworkProvider()
    visits = VisitsProvider()
    scheduling = RpcClient("scheduling", errors=from_rpc)

    @batch_handler(decode, *domain.CONSUMES)
    def on_events(self, events: Sequence[Event]) -> None:
        """Begin, turn round, or close activations; the work itself is the loops'."""
        network = self.network
        # What a lone order takes is looked for with the first question, where it can be handed over.
        need = claims.need_of(events) if network.arrived.room else {}
        look = inventory.look_for(need, network.kinds, network.elements.avoided())
        with self.store.transaction() as tx:
            fresh, rows, told = SAGA.receive_beside(tx, events, *look, lock=inventory.SHARED if need else "")
            _, changed = SAGA.decide(tx, rows, fresh)
            arrivals.begin(tx, SAGA, network, list(changed.values()), inventory.Seen(**told), self._round().go)

    @loop("provision", workers=3, idle_s=0.5)
    def provision(self) -> bool:
        """Work on the network for some orders that are due."""
        return self._round().run()

    @loop("visits", workers=3, idle_s=0.5)
    def request_visits(self) -> bool:
        """Ask scheduling for the visits of some orders that are due."""
        return visits.work(self.store, SAGA, self.scheduling, self.visits)

    @rpc
    def get_activation(self, order_id: str) -> dict[str, Any]:
        """Return the order's activation. Raises NotFound."""
        with self.store.read() as conn:
            activation = queries.get_activation(conn, order_id_of(order_id))
        if activation is None:
            raise NotFound(f"there is no activation for order {order_id}")
        return activation

    @rpc
    def list_fallouts(self, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """Return a page of orders that need a person (`contracts.rpc.Fallout`). Raises Invalid."""
        with self.store.read() as conn:
            return queries.list_fallouts(conn, limit, cursor)

    @rpc
    def retry_fallout(self, order_id: str, by: str = "", another_port: bool = False) -> dict[str, Any]:
        """Provision again, with all its tries, what failed; with `another_port` on other service ports than before.

        Raises NotFound, Conflict.
        """
        return self._act(commands.Retry(order_id_of(order_id), by), another_port is True)

    @rpc
    def abandon_fallout(self, order_id: str, by: str = "", reason: str = "") -> dict[str, Any]:
        """Put everything back and let the order end as cancelled. Raises NotFound, Conflict."""
        return self._act(commands.Abandon(order_id_of(order_id), by, reason))

    @rpc
    def audit(self, element: str | None = None) -> dict[str, Any]:
        """Compare with what the elements, or one of them, hold (`contracts.rpc.Audit`). Raises NotFound."""
        return audit.audit(self.store, self.network, element)

    @rpc
    def repair(self, findings: list[dict[str, Any]], by: str = "") -> dict[str, Any]:
        """Mend what an audit found, where nothing has changed since: `{"items": [Repaired]}`. Raises Invalid."""
        return repair.repair(self.store, self.network, findings, by)

    @rpc
    def inventory(self) -> dict[str, Any]:
        """Pools with what is free in them, and blocked ports: `{"pools": [...], "blocked": [...]}`."""
        with self.store.read() as conn:
            return {"pools": inventory.pools(conn), "blocked": inventory.blocked(conn)}

    @rpc
    def unblock_port(self, element: str, port: str, by: str = "") -> dict[str, Any]:
        """Give a port out again that was blocked by a retry on another port. Raises Conflict."""
        with self.store.transaction() as tx:
            if not inventory.unblock(tx.conn, Resource(PORT, str(element), str(port))):
                raise Conflict(f"{port} of {element} is not blocked, or an order may have left something on it")
        log.warning("%s unblocked %s of %s", by or "an operator", port, element)
        return {"element": element, "port": port}

    def _round(self) -> provisioning.Round:
        ask = partial(visits.work, self.store, SAGA, self.scheduling, self.visits, claims=False)
        return provisioning.Round(self.store, SAGA, self.network, ask)

    def _act(self, command: commands.Retry | commands.Abandon, another_port: bool = False) -> dict[str, Any]:
        with self.store.transaction() as tx:
            if not SAGA.load(tx, [command.order_id])[command.order_id].state:
                raise NotFound(f"there is no activation for order {command.order_id}")
            try:
                step = SAGA.command(tx, command)
            except Refused as refused:
                raise Conflict(refused.why) from refused
            if another_port:
                fallouts.change_port(tx, step.before, command.by, self.network)
            self.network.arrived.leave(tx)
            return {"order_id": str(command.order_id), "state": step.after.state}
