"""Sending events again that were sent before: what a read model that was dropped, or a lost broker, gets back.

Of one order at once. Of all orders in small steps beside the service's workers, each once the relay is nearly done with
the one before: new orders' events wait behind no more than one step, and no statement outlasts DB_ANSWER_TIMEOUT_S.
It may die at any moment; asked again, it begins anew, which consumers that know the events skip.
"""

from __future__ import annotations

import logging
import time
import uuid
from datetime import datetime
from typing import Any

import eventlet
import sqlalchemy as sa
from nameko.extensions import DependencyProvider

from chassis import outbox
from chassis.db import Store, store_of

log = logging.getLogger(__name__)

STEP = 1000
"""Events of one transaction."""
FEW = 100
"""The next step begins when no more than so many events wait to be sent,"""
STEP_S = 30.0
"""or after so long: what nobody is bound to stays unsent."""
PAUSE_S = 0.2
"""Between two looks at what waits."""
TROUBLE_S = 5.0
"""Before the next try where the database is away."""


class Republisher(DependencyProvider):
    """`republisher = Republisher()`, of a service with a store."""

    def setup(self) -> None:
        self._running: Any = None

    def start(self) -> None:
        self._store: Store = store_of(self.container)

    def get_dependency(self, worker_ctx: Any) -> Republisher:
        return self

    def of_order(self, order_id: uuid.UUID, since: datetime | None) -> int:
        """Send the order's events from `since` on (None: all) again; return how many."""
        with self._store.transaction() as tx:
            return outbox.republish(tx, order_id, since)

    def of_all(self, since: datetime | None) -> tuple[int, bool]:
        """The same with every order's, as they are by now; return how many at once, and whether more follow by itself.

        `(0, True)` where an earlier call is still at it.
        """
        if self._running is not None and not self._running.dead:
            return 0, True
        with self._store.transaction() as tx:
            newest = outbox.newest(tx)
            count, last = outbox.republish_next(tx, 0, newest, since, STEP)
        if last is None:
            return count, False
        self._running = self.container.spawn_managed_thread(
            lambda: self._go_on(count, last, newest, since), identifier="republisher"
        )
        return count, True

    def _go_on(self, total: int, last: int | None, newest: int, since: datetime | None) -> None:
        while last is not None:
            try:
                self._wait_for_the_relay()
                with self._store.transaction() as tx:
                    count, last = outbox.republish_next(tx, last, newest, since, STEP)
                total += count
            except sa.exc.SQLAlchemyError as error:
                log.warning("republishing: will try again in %.0f s: %r", TROUBLE_S, error)
                eventlet.sleep(TROUBLE_S)
        log.warning("republished the events of all orders: %d", total)

    def _wait_for_the_relay(self) -> None:
        until = time.monotonic() + STEP_S
        while time.monotonic() < until:
            eventlet.sleep(PAUSE_S)
            with self._store.engine.connect() as conn:
                if outbox.lag(conn)["unsent"] <= FEW:
                    return
