"""What activation's loops work with, made once a process and injected into the service by Nameko."""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa
from nameko.extensions import DependencyProvider, SharedExtension

from activation_svc import leases
from activation_svc.element_link import Links
from activation_svc.elements import ElementSim
from activation_svc.provisioning import Network
from activation_svc.visits import Gate, Visits
from activation_svc.worker_settings import WorkerSettings, worker_settings
from chassis.db import store_of
from chassis.settings import merged

log = logging.getLogger(__name__)


class ThisWorker(SharedExtension):
    """The process as a holder of leases, and its settings. At start it frees what its earlier lives left behind."""

    settings: WorkerSettings
    owner: leases.Owner

    def setup(self) -> None:
        self.settings = worker_settings(merged(self.container.config))
        self.owner = leases.this_process(self.settings.instance_id)

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


class NetworkProvider(DependencyProvider):
    """Injects the network elements and how patiently to work on them."""

    worker = ThisWorker()

    def setup(self) -> None:
        self._network: Network | None = None

    def get_dependency(self, worker_ctx: Any) -> Network:
        if self._network is None:
            settings = self.worker.settings
            links = Links(settings.element_sim_host, settings.element_sim_port, settings.element_answer_timeout_s)
            self._network = Network(ElementSim(links), self.worker.owner, settings.patience, settings.provision_batch)
        return self._network


class VisitsProvider(DependencyProvider):
    """Injects the gate in front of scheduling and how patiently to ask."""

    worker = ThisWorker()

    def setup(self) -> None:
        self._gate = Gate()

    def get_dependency(self, worker_ctx: Any) -> Visits:
        settings = self.worker.settings
        return Visits(self._gate, self.worker.owner, settings.visit_batch, settings.visit_retry_max_s)
