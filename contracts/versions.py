"""Versions of events: how a message of another release becomes one that this release understands. Pure steps.

A new field with a default needs none of this: nobody minds a field he does not know. A change without which the older
form cannot be read is a `Change`. It is read one release before it is sent (`sent=False`, then True), so that at any
moment of a rolling upgrade every consumer can read what every producer sends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

Payload = dict[str, Any]
"""An event as JSON. Steps leave the envelope alone, which a stored event may lack."""

FIRST = 1


@dataclass(frozen=True, slots=True)
class Change:
    """Makes version `version` of an event from the one before it, and back.

    Both steps are pure, and return a new payload or the same, changed: it is nobody else's. `downgrade` must keep
    everything that the older form has. The step up stays for good: outboxes hold old events, and give them out again.
    `older` is the older form's type, which documents and clients go by while it is what is sent.
    """

    event_type: str
    version: int
    upgrade: Callable[[Payload], Payload]
    downgrade: Callable[[Payload], Payload]
    older: type[BaseModel]
    sent: bool = False


CHANGES: tuple[Change, ...] = ()
"""Every change there ever was, the oldest first. None so far: each event is in its first form."""


def newest(event_type: str) -> int:
    """The version in which this release works with the event: the highest it can read."""
    return max((change.version for change in CHANGES if change.event_type == event_type), default=FIRST)


def sent(event_type: str) -> int:
    """The version that this release sends: one that the release before can read as well."""
    of_it = (change.version for change in CHANGES if change.event_type == event_type and change.sent)
    return max(of_it, default=FIRST)


def sent_form(event_type: str, form: type[BaseModel]) -> type[BaseModel]:
    """The type of what is sent, where `form` is the newest."""
    version = sent(event_type)
    later = (change for change in CHANGES if change.event_type == event_type and change.version > version)
    return next((change.older for change in later), form)


def upgraded(event_type: str, version: int, payload: Payload) -> Payload:
    """The payload, which is of `version`, in the newest form. Raises what a step raises where it is malformed."""
    for change in CHANGES:
        if change.event_type == event_type and change.version > version:
            payload = change.upgrade(payload)
    return payload


def as_sent(event_type: str, payload: Payload) -> Payload:
    """A payload of the newest form in the one that is sent."""
    version = sent(event_type)
    for change in reversed(CHANGES):
        if change.event_type == event_type and change.version > version:
            payload = change.downgrade(payload)
    return payload | {"schema_version": version}
