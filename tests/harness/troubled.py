"""The order service with a handler that first meets the trouble a test has prepared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from chassis.batch import batch_handler
from contracts.events import Event, decode
from order_svc import domain
from order_svc.service import SAGA, OrderService


class Troubled(OrderService):
    """`trouble(events)` runs before the handler's own work; `batches` are the sizes of what it was given."""

    name = "order"
    trouble: ClassVar[Callable[[Sequence[Any]], None]] = staticmethod(lambda events: None)
    batches: ClassVar[list[int]] = []

    @batch_handler(decode, *domain.CONSUMES)
    def on_events(self, events: Sequence[Event]) -> None:
        """Meet the trouble, then do as the order service does."""
        self.batches.append(len(events))
        self.trouble(events)
        with self.store.transaction() as tx:
            SAGA.handle(tx, events)
