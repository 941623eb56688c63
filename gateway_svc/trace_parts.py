"""Asks everybody what they know of one order, side by side, and names who does not answer in time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from chassis.db import StoreSession
from chassis.rpc_client import RpcClient
from contracts.errors import NotFound
from gateway_svc import staff, trace
from gateway_svc.journal import Entry, Journal
from gateway_svc.operated import GATEWAY
from gateway_svc.pages.ask import Part, question, together

MAX_IDS = 1000
MAX_AUDIT = 200
FIRST_SHARE = 0.6
"""Of the time there is: what was sent is asked first, then who has handled it."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a trace comes from."""

    services: Mapping[str, RpcClient]
    journal: Journal
    database: StoreSession


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one order: its trace, who did not answer, and the parts of it that are more than a trace.

    `pruned`: who keeps messages of the time of this order no longer.
    """

    entries: list[trace.Entry]
    unreachable: list[str]
    pruned: list[str]
    activation: dict[str, Any] | None
    visit: dict[str, Any] | None
    job: dict[str, Any] | None

    @property
    def is_nothing(self) -> bool:
        """Whether everybody answered and nobody knows the order."""
        in_the_books = self.activation or self.visit or self.job
        return not self.entries and not self.unreachable and not in_the_books


def of_order(sources: Sources, order_id: UUID, timeout_s: float) -> dict[str, Any]:
    """The order's trace as it is answered (`answers.OrderTrace`), within `timeout_s`.

    Raises NotFound where everybody answered and nobody knows it.
    """
    known = gather(sources, order_id, timeout_s)
    if known.is_nothing:
        raise NotFound(f"nobody knows order {order_id}")
    return {
        "order_id": str(order_id), "entries": known.entries, "unreachable": known.unreachable, "pruned": known.pruned,
    }


def gather(sources: Sources, order_id: UUID, timeout_s: float) -> Known:
    """Everything known of the order, within `timeout_s`."""
    began = time.monotonic()
    entry = sources.journal.order(order_id)
    standing = str(entry.stands_as if entry is not None and entry.stands_as else order_id)
    first_s = timeout_s * FIRST_SHARE
    parts = together(
        **{
            f"messages {name}": question(client, "order_messages", first_s, order_id=standing)
            for name, client in sources.services.items()
        },
        activation=question(sources.services["activation"], "get_activation", first_s, order_id=standing),
        visit=question(sources.services["scheduling"], "get_visit", first_s, order_id=standing),
        job=question(sources.services["fieldwork"], "get_job", first_s, order_id=standing),
        audit=lambda: staff.read_audit(sources.database, first_s, MAX_AUDIT, order_id=order_id),
    )
    messages = {name: parts[f"messages {name}"].value for name in sources.services if parts[f"messages {name}"].known}
    handled = _handled(sources, standing, messages, timeout_s - (time.monotonic() - began))
    entries = trace.merge(
        messages, handled={name: part.value for name, part in handled.items() if part.known},
        journal=_journal(sources.journal, order_id, entry), activation=parts["activation"].value,
        visit=parts["visit"].value, job=parts["job"].value, audit=parts["audit"].value or (),
    )
    return Known(
        entries, _unreachable(sources, parts, handled), _pruned(order_id, messages), parts["activation"].value,
        parts["visit"].value, parts["job"].value,
    )


def _handled(
    sources: Sources, order_id: str, messages: Mapping[str, Mapping[str, Any]], timeout_s: float
) -> dict[str, Part]:
    """By service that answered just now: which of the sent messages it has handled."""
    ids = trace.sent_ids(messages)[-MAX_IDS:]
    if not ids or timeout_s <= 0:
        return {}
    return together(**{
        name: question(
            sources.services[name], "order_messages", timeout_s, order_id=order_id, message_ids=ids
        )
        for name in messages
    })


def _pruned(order_id: UUID, messages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Whose sent messages of the order may be gone: they keep none of the time in which its id was made."""
    return [name for name, answer in messages.items() if trace.is_pruned(answer, "sent", order_id)]


def _unreachable(sources: Sources, parts: Mapping[str, Part], handled: Mapping[str, Part]) -> list[str]:
    missing = {name.removeprefix("messages ") for name, part in parts.items() if part.missing}
    missing |= {name for name, part in handled.items() if part.missing}
    missing |= {service for part, service in (("visit", "scheduling"), ("job", "fieldwork"), ("audit", GATEWAY))
                if part in missing}
    return [name for name in (*sources.services, GATEWAY) if name in missing]


def _journal(journal: Journal, order_id: UUID, entry: Entry | None) -> list[dict[str, Any]]:
    """The gateway's own record of the request and of its cancel."""
    return [
        {
            "at": found.accepted_at, "what": found.kind, "id": str(found.entry_id),
            "details": {
                "state": found.state, "attempts": found.attempts, "error": (found.error or {}).get("detail"),
                "stands_as": None if found.stands_as is None else str(found.stands_as),
            },
        }
        for found in (entry, journal.cancel(order_id)) if found is not None
    ]
