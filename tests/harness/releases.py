"""Releases that were recorded by `tools.record_corpus`, and the state machines of this one to try them on."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from chassis.table import NONE, Table
from contracts.events import Event
from contracts.ids import new_id
from tools.record_corpus import CORPUS

NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Release:
    """One recorded release."""

    folder: Path

    @property
    def version(self) -> str:
        return self.folder.name

    @cached_property
    def document(self) -> dict[str, Any]:
        """Its AsyncAPI document."""
        return dict(yaml.load((self.folder / "asyncapi.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader))

    @cached_property
    def facts(self) -> dict[str, Any]:
        """`version`, `reads` (newest version by event), `tables` (revision by service), `products`."""
        return dict(json.loads((self.folder / "release.json").read_text(encoding="utf-8")))

    def events(self) -> Iterator[dict[str, Any]]:
        """Its events as they were on the broker: routing_key, properties, headers, body."""
        for path in sorted((self.folder / "events").glob("*.json")):
            yield from json.loads(path.read_text(encoding="utf-8"))

    def calls(self) -> Iterator[dict[str, Any]]:
        """Its RPC calls: request and answer, each as an event's."""
        for path in sorted((self.folder / "rpc").glob("*.json")):
            yield from json.loads(path.read_text(encoding="utf-8"))


@cache
def releases() -> tuple[Release, ...]:
    """Every recorded release, the oldest first."""
    found = (path.parent for path in CORPUS.glob("*/release.json"))
    return tuple(Release(folder) for folder in sorted(found, key=lambda f: [int(n) for n in f.name.split(".")]))


def previous() -> Release:
    """The newest recorded release: the one that is replaced by this."""
    return releases()[-1]


@dataclass(frozen=True)
class Machine:
    """A service's state machine: what it does to an order in any state."""

    service: str
    table: Table
    row: Any
    consumes: tuple[str, ...]
    domain: Any

    def reactions(self, event: Event) -> Iterator[tuple[str, Event]]:
        """Let the event meet an order in each state that expects it: (state, an event caused there).

        Raises what a handler would, also where no state expects it.
        """
        expecting = [state for state in self.table.states() if (state, event.trigger) in self.table.rows]
        for state in expecting or [NONE]:
            row = replace(self.row(order_id=event.order_id), state=state)
            transition = self.table.decide(state, event.trigger)
            after = replace(self.domain.evolve(row, event, NOW), state=transition.to)
            for name in transition.emits:
                envelope = {"event_id": new_id(), "occurred_at": NOW, "order_id": event.order_id,
                            "causation_id": event.event_id, "traceparent": event.traceparent}
                yield state, self.domain.event(name, after, event, envelope)


def machines() -> list[Machine]:
    """The four services that have a state machine."""
    rows = {"order": "Order", "activation": "Activation", "scheduling": "Visit", "fieldwork": "Job"}
    found = []
    for service, row in rows.items():
        domain = importlib.import_module(f"{service}_svc.domain")
        found.append(Machine(service, domain.TABLE, getattr(domain, row), domain.CONSUMES, domain))
    return found


