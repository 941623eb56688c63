"""What is said about an event that cannot be read goes into logs: it tells where it is wrong, not what stands there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.events import EVENTS, UnreadableEvent, decode
from tests.harness.releases import previous

PERSONAL = {"name", "phone", "email", "postcode", "line1", "line2", "technician_name", "note", "reason"}
Path = tuple[str | int, ...]


def full_body(event_type: str) -> dict[str, Any]:
    """A recorded event of this type, of those that are there the one that says most."""
    bodies = [dict(message["body"]) for message in previous().events() if message["routing_key"] == event_type]
    return max(bodies, key=lambda body: len(json.dumps(body)))


def places(value: Any, at: Path = ()) -> Iterator[Path]:
    """Every field, also the fields of fields."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield (*at, name)
        yield from places(part, (*at, name))


def personal(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(personal, value))
    if not isinstance(value, dict):
        return set()
    own = {part for name, part in value.items() if name in PERSONAL and isinstance(part, str) and part}
    return own.union(*map(personal, value.values()))


def changed(body: dict[str, Any], at: Path, *, drop: bool) -> bytes:
    """The body without this field, or with what it held in the wrong type: text in an object, an object as text."""
    body = json.loads(json.dumps(body))
    *way, name = at
    parent: Any = body
    for step in way:
        parent = parent[step]
    value = parent.pop(name)
    if not drop:
        wrong = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else {"was": value}
        if isinstance(parent, list):
            parent.insert(int(name), wrong)
        else:
            parent[name] = wrong
    return json.dumps(body, ensure_ascii=False).encode()


@pytest.mark.parametrize("event_type", EVENTS)
def test_a_malformed_event_is_refused_without_a_word_of_what_it_holds(event_type: str) -> None:
    body = full_body(event_type)
    secrets = personal(body)
    missed = set()
    for at in places(body):
        for drop in (True, False):
            try:
                decode(changed(body, at, drop=drop))
            except UnreadableEvent as error:
                assert not [secret for secret in secrets if secret in str(error)], f"{at}, dropped: {drop}"
                assert str(at[-1]) in str(error), "it says which field"
                missed |= {at[0]} if drop else set()
    assert {name for name, field in EVENTS[event_type].model_fields.items() if field.is_required()} <= missed


@pytest.mark.parametrize("event_type", ["order_placed", "visit_scheduled"])
def test_the_events_tried_here_hold_names_and_addresses(event_type: str) -> None:
    customer, address = full_body(event_type)["customer"], full_body(event_type)["address"]
    assert {*filter(None, customer.values()), *filter(None, address.values())} <= personal(full_body(event_type))
    assert {"name", "phone"} <= customer.keys() and {"postcode", "line1"} <= address.keys()
