"""Whether every event about some orders has taken effect wherever it is acted on.

Empty outboxes are not enough: what was published may still wait in a queue.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

from contracts.events import EVENTS
from tools.system import System

SERVICES = ("order", "activation", "scheduling", "fieldwork", "mypage")

# By sender, the (message id, order id, event) of its outbox.
Sent = Mapping[str, Sequence[tuple[str, str, str]]]


def sent_about(system: System, ids: Sequence[str]) -> Sent:
    """All events that concern these orders, also those that their relay has not published yet."""
    query = (
        "select message_id, order_id, routing_key from outbox"
        " where order_id = any(cast(:ids as uuid[])) and exchange <> '' order by id"
    )
    return {
        sender: [
            (str(row["message_id"]), str(row["order_id"]), row["routing_key"])
            for row in system.db(sender, query, ids=list(ids))
        ]
        for sender in SERVICES
    }


def unheard(system: System, sent: Sent) -> list[str]:
    """Which of these events have not reached which service, in words."""
    handled = {service: _handled(system, service, sent) for service in SERVICES}
    consumers = _consumers()
    return [
        f"{order_id}: {event} of {sender} did not reach {service}"
        for sender, messages in sent.items() for message_id, order_id, event in messages
        for service in consumers.get(event, ()) if message_id not in handled[service]
    ]


def on_its_way(system: System, ids: Sequence[str]) -> list[str]:
    """What of these orders' events is still to be handled, also of those that a handler has just caused."""
    sent = sent_about(system, ids)
    if found := unheard(system, sent):
        return found
    return [] if sent_about(system, ids) == sent else ["an event was caused a moment ago"]


def events_for(service: str) -> list[str]:
    """The events that a service acts on."""
    return list(EVENTS if service == "mypage" else importlib.import_module(f"{service}_svc.domain").CONSUMES)


def _consumers() -> dict[str, list[str]]:
    """By event, the services that act on it."""
    found: dict[str, list[str]] = {}
    for service in SERVICES:
        for event in events_for(service):
            found.setdefault(event, []).append(service)
    return found


def _handled(system: System, service: str, sent: Sent) -> set[str]:
    table, column = ("events", "event_id") if service == "mypage" else ("inbox", "message_id")
    query = f"select {column} as id from {table} where {column} = any(cast(:ids as uuid[]))"
    ids = [message_id for messages in sent.values() for message_id, _, _ in messages]
    return {str(row["id"]) for row in system.db(service, query, ids=ids)}
