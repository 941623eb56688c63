"""Services that end badly, to be run by `nameko run` in a process of their own: `tests.harness.crashing:Poisoned`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import eventlet
from nameko.extensions import DependencyProvider

import chassis.container
from chassis.batch import batch_handler
from contracts.events import Event, decode
from order_svc import domain
from order_svc.service import SAGA, OrderService

POISON = "poison"


class Poisoned(OrderService):
    """The order service with a handler that takes its process along when it meets a poisonous message."""

    name = "order"

    @batch_handler(decode, *domain.CONSUMES)
    def on_events(self, events: Sequence[Event]) -> None:
        """Die of poison, else do as the order service does."""
        if any(getattr(event, "reason", "") == POISON for event in events):
            os._exit(9)
        with self.store.transaction() as tx:
            SAGA.handle(tx, events)


class Doomed(DependencyProvider):
    """A thread of the service's that ends with an error; `STUBBORN_END` in the environment: it never lets go."""

    def start(self) -> None:
        self.container.spawn_managed_thread(self._fail, identifier="doomed")

    def kill(self) -> None:
        if "STUBBORN_END" in os.environ:
            eventlet.sleep(3600)

    def get_dependency(self, worker_ctx: Any) -> Any:
        return self

    def _fail(self) -> None:
        if "STUBBORN_END" in os.environ:
            chassis.container.DEATH_TAKES_AT_MOST_S = 1
        eventlet.sleep(0.5)
        raise RuntimeError("a defect in a thread of the service")


class DoomedService(OrderService):
    """The order service with a defect in one of its threads."""

    name = "order"
    doomed = Doomed()
