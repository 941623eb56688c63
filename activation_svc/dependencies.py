"""What activation's loops work with, made once a process and injected into the service by Nameko."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import sqlalchemy as sa
from eventlet import GreenPool, Timeout
from nameko.extensions import DependencyProvider, SharedExtension

from activation_svc import leases, registry
from activation_svc.claims import Work
from activation_svc.domain import Activation
from activation_svc.element_config import ElementConfig
from activation_svc.elements import Elements
from activation_svc.handover import Handover
from activation_svc.network import GROUPS_AT_ONCE, Network
from activation_svc.visits import Gate, Visits
from activation_svc.worker_settings import WorkerSettings, worker_settings
from chassis.db import store_of
from chassis.health import register_check
from chassis.settings import merged
from chassis.wake import wakes

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 25.0
BATCHES_WAITING = 2
"""How many batches may wait for the workers of a step, under their leases."""


class ThisWorker(SharedExtension):
    """The process as a holder of leases, and its settings. At start it frees what its earlier lives left behind."""

    settings: WorkerSettings
    owner: leases.Owner
    arrived: Handover[Work]
    provisioned: Handover[Activation]

    def setup(self) -> None:
        self.settings = worker_settings(merged(self.container.config))
        self.owner = leases.this_process(self.settings.instance_id)
        wake = wakes(self.container).wake_next
        self.arrived = Handover(BATCHES_WAITING * self.settings.provision_batch, partial(wake, "provision"))
        self.provisioned = Handover(BATCHES_WAITING * self.settings.visit_batch, partial(wake, "visits"))

    def start(self) -> None:
        try:
            with store_of(self.container).transaction() as tx:
                freed = leases.clear_dead(tx, self.owner, leases.process_is_alive)
                tx.wake("provision")
                tx.wake("visits")
        except sa.exc.OperationalError as exc:
            # The service starts without its database too; the old leases then end by themselves.
            log.warning("leases of an earlier life stay until they end: %s", exc)
        else:
            log.info("freed %d leases of an earlier life of %s", freed, self.owner.instance)

    def stop(self) -> None:
        """Let go of what waits in this process, so that another one need not wait for its leases to end."""
        waiting = [work.row for work in self.arrived.close()] + self.provisioned.close()
        if waiting:
            try:
                with store_of(self.container).transaction() as tx:
                    tx.lock(row.order_id for row in waiting)
                    leases.release(tx.conn, waiting)
            except sa.exc.SQLAlchemyError as exc:
                log.warning("%d leases stay until they end: %s", len(waiting), exc)


class NetworkProvider(DependencyProvider):
    """Injects the network elements and how patiently to work on them. A misconfigured element stops the start."""

    worker = ThisWorker()

    def setup(self) -> None:
        settings = worker_settings(merged(self.container.config))
        self._described: dict[str, ElementConfig] = registry.described_in(settings)
        self._elements: Elements = registry.build(self._described, settings)
        self._site = registry.site(self._described, settings)
        self._groups = GreenPool(GROUPS_AT_ONCE)
        for name, breaker in self._elements.breakers.items():
            register_check(self.container, f"breaker-{name}", info=partial(getattr, breaker, "state"))

    def get_dependency(self, worker_ctx: Any) -> Network:
        settings = self.worker.settings
        kinds = {name: element.kind for name, element in self._described.items()}
        return Network(
            self._elements, kinds, self._site, self.worker.owner, self._groups, settings.patience,
            settings.provision_batch, self.worker.arrived, self.worker.provisioned,
        )

    def stop(self) -> None:
        """Let the work at hand finish, as far as it does, and end the sessions with the elements."""
        with Timeout(STOP_TIMEOUT_S, False):
            self._groups.waitall()
        self._elements.close()

    def kill(self) -> None:
        """End the sessions at once."""
        self._elements.close()


class VisitsProvider(DependencyProvider):
    """Injects the gate in front of scheduling and how patiently to ask."""

    worker = ThisWorker()

    def setup(self) -> None:
        self._gate = Gate()

    def get_dependency(self, worker_ctx: Any) -> Visits:
        settings = self.worker.settings
        return Visits(
            self._gate, self.worker.owner, settings.visit_batch, settings.visit_retry_max_s, self.worker.provisioned
        )
