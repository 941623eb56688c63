"""What activation's workers work with: the elements, and the ways from step to step."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from eventlet import GreenPool

from activation_svc import leases
from activation_svc.claims import Supplier, Work
from activation_svc.domain import Activation, Patience
from activation_svc.elements import NetworkElements
from activation_svc.handover import Handover
from activation_svc.plan import Site

GROUPS_AT_ONCE = 32
"""Of one process; a worker waits before it takes on more."""


@dataclass(frozen=True)
class Network:
    """What a worker works with. `kinds`: which elements there are, and of what kind.

    `groups` runs what is worked on side by side, of all workers; `batch` orders are taken at once; `arrived` are orders
    that begin, `provisioned` those whose visit is to be requested; `jitter` gives random numbers in [0, 1).
    """

    elements: NetworkElements
    kinds: Mapping[str, str]
    site: Site
    owner: leases.Owner
    groups: GreenPool
    patience: Patience
    batch: int
    arrived: Handover[Work]
    provisioned: Handover[Activation]
    jitter: Callable[[], float] = random.random

    @property
    def has_room(self) -> bool:
        """Whether work can begin at once; where it cannot, `groups` makes wait whoever begins some."""
        return self.groups.sem.balance > 0  # Those who wait for room count, too.

    @property
    def supplier(self) -> Supplier:
        """What gives orders the resources they need, as things stand."""
        return Supplier(self.owner, self.kinds, self.elements.avoided(), self.site)
