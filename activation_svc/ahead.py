"""Reading ahead: what stands where an order that is alone will write is read while the order is still being taken in.

So its snapshot is committed together with its lease, and writing begins right after that commit: otherwise that would
be a further transaction. An element that takes longer is not waited for with the transaction open; its answer is waited
for where the snapshot would have been taken.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import eventlet
from eventlet import Timeout
from eventlet.greenthread import GreenThread

from activation_svc.driver import ElementError
from activation_svc.elements import NetworkElements
from activation_svc.plan import Plan

log = logging.getLogger(__name__)

WAIT_S = 0.02
"""So long an open transaction waits for the elements: for near ones enough, and for others no loss."""
FRESH_S = 2.0
"""A lease that was taken so recently need not be renewed before a step."""


@dataclass(frozen=True, slots=True, eq=False)
class Ahead:
    """What is being read of one order. `leased_at`: the moment that its lease is dated by, as `Tx.began`."""

    reading: GreenThread
    leased_at: float

    @property
    def is_fresh(self) -> bool:
        """Whether the lease need not be renewed yet."""
        return time.monotonic() - self.leased_at < FRESH_S

    def wait(self) -> tuple[dict[UUID, Plan], dict[UUID, ElementError]]:
        """What was found, as `NetworkElements.snapshot` returns it; raises what that raised."""
        found: tuple[dict[UUID, Plan], dict[UUID, ElementError]] = self.reading.wait()
        return found

    def in_time(self) -> Mapping[UUID, Plan]:
        """The snapshot, where it is there within WAIT_S; else nothing, and `wait` tells."""
        with Timeout(WAIT_S, False):
            try:
                return self.wait()[0]
            except Exception:
                log.debug("reading ahead came to nothing", exc_info=True)  # Whoever waits for it is told.
        return {}


def read(elements: NetworkElements, order_id: UUID, plan: Plan, leased_at: float) -> Ahead:
    """Begin to read what stands under the keys of this plan. `leased_at`: see Ahead."""
    return Ahead(eventlet.spawn(elements.snapshot, {order_id: plan}), leased_at)
