"""What activation believes to stand on the elements: the plans of its orders, and what is not certain just now."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from activation_svc import inventory
from activation_svc.driver import Content
from activation_svc.models import PROVISION_STATES, table
from activation_svc.plan import Entry, Holding, Plan, Site, plan_of
from contracts.orders import OrderItem

log = logging.getLogger(__name__)

LIVE_STATES = ("provisioned", "active", "cancelling", "in_service")
"""The states in which everything planned stands on the elements."""
Place = tuple[str, str]
"""An element and a key on it."""
_OF_AN_ORDER = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})-\d+")


@dataclass(frozen=True)
class Beliefs:
    """`plans` of live orders; `before`: what stood at places that their plans have left since (a former port).

    `uncertain`: orders that are being worked on, or wait for an operator; `reserved`: places where they may write.
    """

    plans: dict[UUID, Plan] = field(default_factory=dict)
    before: dict[UUID, dict[Place, Content | None]] = field(default_factory=dict)
    uncertain: set[UUID] = field(default_factory=set)
    reserved: set[Place] = field(default_factory=set)

    def agreed(self, later: Beliefs) -> Beliefs:
        """What has been believed at both times. Every order that moved in between is uncertain."""
        same = {
            order_id: plan for order_id, plan in self.plans.items()
            if later.plans.get(order_id) == plan and later.before[order_id] == self.before[order_id]
        }
        moved = (self.plans.keys() | later.plans.keys()) - same.keys()
        places = {
            (entry.element, entry.key)
            for order_id in moved for plans in (self.plans, later.plans) for entry in plans.get(order_id, ())
        }
        return Beliefs(
            same, {order_id: self.before[order_id] for order_id in same},
            self.uncertain | later.uncertain | moved,
            self.reserved | later.reserved | places,
        )


def load(conn: sa.Connection, site: Site, order_ids: Collection[UUID] | None = None) -> Beliefs:
    """The beliefs about all orders, or about these."""
    query = sa.select(*(table.c[name] for name in ("order_id", "state", "items", "snapshot"))).where(
        table.c.state.in_((*LIVE_STATES, *PROVISION_STATES, "fallout"))
    )
    if order_ids is not None:
        query = query.where(table.c.order_id.in_(tuple(order_ids)))
    rows = conn.execute(query).all()
    held = inventory.held(conn, [row.order_id for row in rows])
    beliefs = Beliefs()
    for row in rows:
        snapshot = tuple(Entry(**entry) for entry in row.snapshot or ())
        plan = _plan(row, held.get(row.order_id, {}), site) if row.state in LIVE_STATES else None
        if plan is not None:
            places = {(entry.element, entry.key) for entry in plan}
            beliefs.plans[row.order_id] = plan
            beliefs.before[row.order_id] = {
                (entry.element, entry.key): entry.content
                for entry in snapshot if (entry.element, entry.key) not in places
            }
        elif row.state != "fallout" or row.snapshot is not None:
            beliefs.uncertain.add(row.order_id)
            beliefs.reserved.update((entry.element, entry.key) for entry in snapshot)
    return beliefs


def _plan(row: Any, holding: Holding, site: Site) -> Plan | None:
    try:
        return plan_of(row.order_id, [OrderItem.model_validate(item) for item in row.items], holding, site)
    except ValueError as exc:
        log.error("a live order has no plan: %s", exc, extra={"order_id": str(row.order_id)})
        return None


def owner_of(kind: str, key: str, content: Mapping[str, Any]) -> UUID | None:
    """The order that an entry on an element of this kind belongs to by its name, None where it never was one's."""
    subscriber = content.get("subscriber") if kind == "olt" else key.partition("/")[2]
    match = _OF_AN_ORDER.fullmatch(subscriber or "")
    return UUID(match[1]) if match else None
