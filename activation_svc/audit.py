"""Drift audit: what activation believes against what each element holds. It reads only; see repair.py."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from eventlet import GreenPool
from sqlalchemy.dialects import postgresql as pg

from activation_svc import beliefs
from activation_svc.beliefs import Beliefs, owner_of
from activation_svc.driver import Content, ElementError
from activation_svc.models import table
from activation_svc.network import Network
from chassis.db import StoreSession
from contracts.errors import NotFound
from contracts.rpc import Audit, ElementAudit, Finding


def audit(store: StoreSession, network: Network, element: str | None = None) -> dict[str, Any]:
    """Compare one element, or all, as `contracts.rpc.Audit`. Raises NotFound for an element that is none.

    Beliefs are read before and after the elements; an order that moved in between is left out.
    """
    if element is not None and element not in network.kinds:
        raise NotFound(f"there is no element {element}")
    names = list(network.kinds) if element is None else [element]
    with store.transaction() as tx:
        at = tx.now
        earlier = beliefs.load(tx.conn, network.site)
    listed = dict(zip(names, GreenPool(len(names)).imap(lambda name: _entries(network, name), names), strict=True))
    with store.read() as conn:
        agreed = earlier.agreed(beliefs.load(conn, network.site))
        known = existing(conn, owners(network.kinds, listed))
    found = {
        name: ElementAudit(unreachable=str(entries)) if isinstance(entries, ElementError)
        else compare(name, network.kinds[name], entries, agreed, known)
        for name, entries in listed.items()
    }
    return Audit(at=at, elements=found, left_out=len(agreed.uncertain)).model_dump(mode="json", exclude_unset=True)


def compare(
    element: str, kind: str, entries: Mapping[str, Content], believed: Beliefs, known: Collection[UUID]
) -> ElementAudit:
    """What differs on one element. `known`: the orders that exist, of those that `entries` name."""
    expected = {
        entry.key: (order_id, entry.content)
        for order_id, plan in believed.plans.items() for entry in plan if entry.element == element
    }
    findings: dict[str, list[Finding]] = {"missing": [], "extra": [], "different": []}
    for key, (order_id, wanted) in sorted(expected.items()):
        if (finding := _compared(element, key, order_id, wanted, entries.get(key))) is not None:
            findings[finding.kind].append(finding)
    foreign = 0
    for key in sorted(entries.keys() - expected.keys()):
        owner = owner_of(kind, key, entries[key])
        if owner is None:
            foreign += 1
        elif owner not in believed.uncertain and (element, key) not in believed.reserved:
            before = believed.before.get(owner, {}).get((element, key))
            if before != entries[key]:
                findings["extra"].append(_extra(element, key, owner if owner in known else None, before, entries[key]))
    return ElementAudit(
        checked=len(expected), missing=tuple(findings["missing"]), extra=tuple(findings["extra"]),
        different=tuple(findings["different"]), foreign=foreign,
    )


def digest(content: Content | None) -> str | None:
    """A fingerprint of a content that may hold a secret; None for nothing."""
    if content is None:
        return None
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


def owners(kinds: Mapping[str, str], listed: Mapping[str, dict[str, Content] | ElementError]) -> set[UUID]:
    """The orders that entries name."""
    return {
        owner for name, entries in listed.items() if not isinstance(entries, ElementError)
        for key, content in entries.items() if (owner := owner_of(kinds[name], key, content)) is not None
    }


def _compared(
    element: str, key: str, order_id: UUID, wanted: Content | None, found: Content | None
) -> Finding | None:
    if found == wanted:
        return None
    kind: Literal["missing", "different"] = "missing" if found is None else "different"
    return Finding(
        kind=kind, element=element, key=key, order_id=order_id, do="write",
        fields=tuple(_differing(wanted or {}, found)) if found is not None else (),
        wanted=digest(wanted), found=digest(found),
    )


def _extra(element: str, key: str, order_id: UUID | None, before: Content | None, found: Content) -> Finding:
    return Finding(
        kind="extra", element=element, key=key, order_id=order_id, do="delete" if before is None else "put_back",
        fields=(), wanted=digest(before), found=digest(found),
    )


def _differing(wanted: Content, found: Content) -> Iterator[str]:
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            yield name


def _entries(network: Network, element: str) -> dict[str, Content] | ElementError:
    try:
        return network.elements.entries(element)
    except ElementError as why:
        return why


def existing(conn: sa.Connection, order_ids: Collection[UUID]) -> set[UUID]:
    """Those of these orders that there is an activation of."""
    query = sa.select(table.c.order_id).where(
        table.c.order_id == sa.any_(sa.cast(list(order_ids), pg.ARRAY(pg.UUID(as_uuid=True))))
    )
    return set(conn.execute(query).scalars())
