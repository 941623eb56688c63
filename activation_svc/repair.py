"""Repairing drift: carries out exactly the findings it is given, each only if nothing has changed since the audit.

Orders are leased meanwhile, so that no worker writes to their entries; the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from activation_svc import beliefs, leases
from activation_svc.audit import digest, existing
from activation_svc.beliefs import LIVE_STATES, Beliefs, owner_of
from activation_svc.driver import Content
from activation_svc.network import Network
from activation_svc.plan import Entry, Plan
from chassis.db import StoreSession, Tx
from contracts.errors import Invalid
from contracts.ids import new_id
from contracts.rpc import Finding, Repaired

log = logging.getLogger(__name__)

AT_ONCE = 100
MOST = 10_000
REPAIRABLE_STATES = (*LIVE_STATES, "reverted", "fallout")


def repair(store: StoreSession, network: Network, findings: list[dict[str, Any]], by: str) -> dict[str, Any]:
    """Repair what an audit found: `{"items": [contracts.rpc.Repaired]}`, in the order given. Raises Invalid.

    What is in the way goes first: a VLAN that an extra entry has is not free for a missing one.
    """
    read = _read(findings)
    log.warning("%s repairs %d differences", by or "an operator", len(read))
    outcome: dict[int, str | None] = {}
    removing = [at for at, finding in enumerate(read) if finding.kind == "extra"]
    writing = [at for at, finding in enumerate(read) if finding.kind != "extra"]
    for places in (removing, writing):
        for chunk in (places[at:at + AT_ONCE] for at in range(0, len(places), AT_ONCE)):
            done = _Repair(store, network, [read[at] for at in chunk]).run()
            outcome |= dict(zip(chunk, done, strict=True))
    items = [
        Repaired(element=finding.element, key=finding.key, done=outcome[at] is None, why=outcome[at])
        for at, finding in enumerate(read)
    ]
    return {"items": [item.model_dump(mode="json") for item in items]}


class _Repair:
    """Some findings, repaired together."""

    def __init__(self, store: StoreSession, network: Network, findings: Sequence[Finding]) -> None:
        self._store, self._network, self._findings = store, network, findings
        # Not the workers' own: what they hold is theirs, and what we hold is ours, though we are one process.
        self._owner = replace(network.owner, token=f"{network.owner.token}-repair-{new_id().hex[-8:]}")
        self._orders = sorted({finding.order_id for finding in findings if finding.order_id is not None})

    def run(self) -> list[str | None]:
        """Why each finding was not repaired; None where it was."""
        with self._store.transaction() as tx:
            held = self._take(tx)
            believed = beliefs.load(tx.conn, self._network.site, self._orders)
        try:
            return self._carry_out({lease.order_id for lease in held}, believed)
        finally:
            with self._store.transaction() as tx:
                tx.lock(lease.order_id for lease in held)
                leases.release(tx.conn, held)

    def _take(self, tx: Tx) -> Sequence[leases.Lease]:
        tx.lock(self._orders)
        return leases.take(tx.conn, self._owner, self._orders, REPAIRABLE_STATES, tx.now)

    def _carry_out(self, ours: set[UUID], believed: Beliefs) -> list[str | None]:
        why: dict[UUID, str] = {}
        wanted: dict[UUID, Plan] = {}
        ids = [new_id() for _ in self._findings]
        for one, finding in zip(ids, self._findings, strict=True):
            content = _wanted(finding, believed)
            if finding.order_id is not None and finding.order_id not in ours:
                why[one] = "its order is being worked on: audit again later"
            elif digest(content) != finding.wanted:
                why[one] = "what is wanted has changed since: audit again"
            else:
                wanted[one] = (Entry(finding.element, finding.key, content),)
        elements = self._network.elements
        found, failures = elements.snapshot(wanted)
        known = self._existing({one: plan[0] for one, plan in found.items()})
        for one, finding in zip(ids, self._findings, strict=True):
            content = found[one][0].content if one in found else None
            if one in found and digest(content) not in (finding.found, finding.wanted):
                why[one] = "what stands there has changed since: audit again"
            elif content is not None and finding.kind == "extra" and not self._is_its(finding, content, known):
                why[one] = "what stands there is not that order's: audit again"
        for step in (elements.apply, elements.verify):
            failures |= step({one: plan for one, plan in wanted.items() if one not in failures and one not in why})
        why |= {one: f"{failed.element}: {failed}" for one, failed in failures.items() if one not in why}
        return [why.get(one) for one in ids]


    def _owner_of(self, entry: Entry) -> UUID | None:
        return owner_of(self._network.kinds[entry.element], entry.key, entry.content or {})

    def _existing(self, found: Mapping[UUID, Entry]) -> set[UUID]:
        named = {owner for entry in found.values() if (owner := self._owner_of(entry)) is not None}
        with self._store.read() as conn:
            return existing(conn, named)

    def _is_its(self, finding: Finding, content: Content, known: set[UUID]) -> bool:
        """Whether an entry may be removed in this order's name, or because nobody's order is named there."""
        if digest(content) == finding.wanted:
            return True
        owner = self._owner_of(Entry(finding.element, finding.key, content))
        return owner == finding.order_id if finding.order_id is not None else owner is not None and owner not in known


def _wanted(finding: Finding, believed: Beliefs) -> Content | None:
    """What is to stand there by present belief."""
    if finding.order_id is None:
        return None
    place = finding.element, finding.key
    for entry in believed.plans.get(finding.order_id, ()):
        if (entry.element, entry.key) == place:
            return entry.content
    return believed.before.get(finding.order_id, {}).get(place)


def _read(findings: list[dict[str, Any]]) -> list[Finding]:
    if not isinstance(findings, list) or len(findings) > MOST:
        raise Invalid(f"findings must be a list of at most {MOST}", [{"field": "findings", "message": "is none"}])
    try:
        return [Finding.model_validate(finding) for finding in findings]
    except ValidationError as exc:
        raise Invalid("findings must be those of an audit", list(_fields(exc))) from exc


def _fields(exc: ValidationError) -> Iterator[dict[str, str]]:
    for error in exc.errors(include_url=False, include_context=False, include_input=False):
        yield {"field": ".".join(("findings", *map(str, error["loc"]))), "message": error["msg"]}
