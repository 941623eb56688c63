"""After a restore, before anything works again: the elements are made to hold what the restored activation believes.

    python -m activation_svc.reconcile

What stands there in an order's name and is not believed was written after the backup. It must go first: a snapshot
taken by the next provisioning would have it for what stood before, and no revert would ever remove it; and what it
occupies (a port, a VLAN, an address) has been given to nobody by the restored inventory. What activation believes and
does not find is written. What was never an order's is left alone. The service must not run meanwhile.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    import eventlet

    if __name__ == "__main__":
        eventlet.monkey_patch()

import sqlalchemy as sa

from activation_svc import beliefs, registry, snapshots
from activation_svc.beliefs import Beliefs, Place, owner_of
from activation_svc.driver import Content, ElementError
from activation_svc.elements import NetworkElements
from activation_svc.models import table
from activation_svc.plan import Entry, Plan
from activation_svc.worker_settings import worker_settings
from contracts.ids import new_id

AT_ONCE = 50

Listed = Mapping[str, Mapping[str, Content]]


class NotReconciled(Exception):
    """An element could not be brought to what is believed; the text says which, and why."""


@dataclass(frozen=True)
class Believed:
    """`live`: what is certain. `begun`: by order under way, the places where it may have written, with what stood."""

    live: Beliefs
    begun: dict[UUID, dict[Place, Content | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Corrections:
    """What is to be done, in this order: `removals` first, because they may be in the way of `writes`."""

    removals: Plan
    writes: Plan


def corrections(kinds: Mapping[str, str], found: Listed, believed: Believed) -> Corrections:
    """What makes the elements hold what is believed. `kinds`: kind by element; `found`: what each holds, by key."""
    planned = {
        (entry.element, entry.key): (order_id, entry.content)
        for order_id, plan in believed.live.plans.items() for entry in plan
    }
    removals = tuple(_removals(kinds, found, believed, planned))
    gone = {(entry.element, entry.key) for entry in removals}
    writes = tuple(
        Entry(element, key, content) for (element, key), (_, content) in planned.items()
        if (element, key) in gone or found[element].get(key) != content
    )
    return Corrections(removals, writes)


def _removals(
    kinds: Mapping[str, str], found: Listed, believed: Believed, planned: Mapping[Place, tuple[UUID, Any]]
) -> Iterator[Entry]:
    for element, entries in found.items():
        for key, content in entries.items():
            owner, place = owner_of(kinds[element], key, content), (element, key)
            if owner is None:
                continue
            if place in planned:
                if planned[place][0] != owner:
                    yield Entry(element, key, None)
                continue
            if place in believed.begun.get(owner, {}):
                continue
            before = believed.live.before.get(owner, {}).get(place)
            if before != content:
                yield Entry(element, key, before)


def load(conn: sa.Connection, site: Any) -> Believed:
    """What the restored database believes."""
    live = beliefs.load(conn, site)
    query = sa.select(table.c.order_id, table.c.snapshot).where(
        table.c.order_id.in_(tuple(live.uncertain)), table.c.snapshot.is_not(None)
    )
    begun = {
        row.order_id: {(entry["element"], entry["key"]): entry["content"] for entry in row.snapshot}
        for row in conn.execute(query)
    }
    return Believed(live, begun)


def reconcile(
    engine: sa.Engine, elements: NetworkElements, kinds: Mapping[str, str], site: Any, say: Callable[[str], Any]
) -> Corrections:
    """Compare, correct and verify; leases of the old system end. Raises NotReconciled; it may be run again."""
    with engine.begin() as conn:
        # Those who held them are not among the living: nothing of the old system runs any more.
        held = sa.update(table).where(table.c.lease_owner.is_not(None))
        conn.execute(held.values(lease_owner=None, lease_until=None))
        believed = load(conn, site)
    todo = corrections(kinds, listed(elements, kinds), believed)
    carry_out(elements, todo.removals)
    _complete_snapshots(engine, elements, kinds, believed.live)
    carry_out(elements, todo.writes)
    say(f"elements: {len(todo.removals)} entries removed or put back, {len(todo.writes)} written")
    return todo


def listed(elements: NetworkElements, names: Iterable[str]) -> dict[str, dict[str, Content]]:
    """Everything that stands on these elements. Raises NotReconciled."""
    found = {}
    for element in names:
        try:
            found[element] = elements.entries(element)
        except ElementError as error:
            raise NotReconciled(f"{element} does not say what it holds: {error}") from error
    return found


def carry_out(elements: NetworkElements, plan: Plan) -> None:
    """Write, and read back. Raises NotReconciled naming what could not be done."""
    for at in range(0, len(plan), AT_ONCE):
        _write(elements, plan[at:at + AT_ONCE])


def _complete_snapshots(
    engine: sa.Engine, elements: NetworkElements, kinds: Mapping[str, str], live: Beliefs
) -> None:
    """Orders that were recalled have no snapshot of what they are given now."""
    query = sa.select(table.c.order_id, table.c.snapshot).where(table.c.order_id.in_(tuple(live.plans)))
    with engine.begin() as conn:
        kept = {row.order_id: tuple(Entry(**entry) for entry in row.snapshot or ()) for row in conn.execute(query)}
        missing = {
            order_id: entries for order_id, plan in live.plans.items()
            if (entries := tuple(entry for entry in plan if not _has(kept[order_id], entry)))
        }
        taken = stood_before(elements, kinds, missing)
        snapshots.store(conn, {order_id: (*kept[order_id], *plan) for order_id, plan in taken.items()})


def stood_before(elements: NetworkElements, kinds: Mapping[str, str], plans: Mapping[UUID, Plan]) -> dict[UUID, Plan]:
    """What stood at these places before any order of ours: what is named after one counts as nothing.

    It may be the order's own entry, written before the restore. Raises NotReconciled.
    """
    taken: dict[UUID, Plan] = {}
    orders = list(plans)
    # A few at once: an element has only so long to tell of all that it is asked for in one step.
    for at in range(0, len(orders), AT_ONCE):
        some, failures = elements.snapshot({order_id: plans[order_id] for order_id in orders[at:at + AT_ONCE]})
        if failures:
            words = dict.fromkeys(f"{why.element}: {why}" for why in failures.values())
            raise NotReconciled("; ".join(list(words)[:10]))
        taken |= some
    return {
        order_id: tuple(
            replace(entry, content=None) if owner_of(kinds[entry.element], entry.key, entry.content or {}) else entry
            for entry in plan
        )
        for order_id, plan in taken.items()
    }


def _has(snapshot: Plan, entry: Entry) -> bool:
    return any((entry.element, entry.key) == (each.element, each.key) for each in snapshot)


def _write(elements: NetworkElements, plan: Plan) -> None:
    # Each under an id of its own: one that is refused must not spoil the others.
    plans = {new_id(): (entry,) for entry in plan}
    failures = elements.apply(plans)
    failures |= elements.verify({one: entries for one, entries in plans.items() if one not in failures})
    if failures:
        words = [f"{plans[one][0].element} {plans[one][0].key}: {why}" for one, why in failures.items()]
        raise NotReconciled("; ".join(words[:10]))


def main() -> int:
    """Do it with the addresses in the environment; 1 with the reason where it could not be done."""
    settings = worker_settings({})
    described = registry.described_in(settings)
    elements = registry.build(described, settings)
    engine = sa.create_engine(os.environ["ACTIVATION_DB_URI"], poolclass=sa.NullPool)
    try:
        kinds = {name: element.kind for name, element in described.items()}
        reconcile(engine, elements, kinds, registry.site(described, settings), print)
    except NotReconciled as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        elements.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
