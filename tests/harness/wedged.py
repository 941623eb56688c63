"""The order service with a handler that hangs once, while the process goes on answering everything else.

Run by `nameko run` in a process of its own: `tests.harness.wedged:Wedged`. WEDGE_FILE names a file: the handler that
finds it takes it away and hangs. WEDGE_STUCK_S replaces `chassis.batch.STUCK_S`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import eventlet

import chassis.batch
from chassis.batch import batch_handler
from contracts.events import Event, decode
from order_svc import domain
from order_svc.service import SAGA, OrderService

chassis.batch.STUCK_S = float(os.environ.get("WEDGE_STUCK_S", chassis.batch.STUCK_S))


class Wedged(OrderService):
    """Hangs in the first batch after the file was put there; the next process does as the order service does."""

    name = "order"

    @batch_handler(decode, *domain.CONSUMES)
    def on_events(self, events: Sequence[Event]) -> None:
        """Hang, or handle."""
        flag = Path(os.environ["WEDGE_FILE"])
        if flag.exists():
            flag.unlink()
            eventlet.sleep(3600)
        with self.store.transaction() as tx:
            SAGA.handle(tx, events)
