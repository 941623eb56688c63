"""The AsyncAPI document says what the code does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from contracts import events
from contracts.ids import new_id
from tests.harness.asyncapi import payload_schema
from tests.harness.orders import an_event
from tools import asyncapi_rpc, render_asyncapi

DOCUMENT: dict[str, Any] = yaml.safe_load(render_asyncapi.DOCUMENT.read_text(encoding="utf-8"))


def test_the_committed_document_is_the_one_the_code_renders() -> None:
    assert render_asyncapi.DOCUMENT.read_text(encoding="utf-8") == render_asyncapi.render(), (
        "run `python -m tools.render_asyncapi`"
    )


def test_every_event_has_one_sender_and_somebody_who_acts_on_it() -> None:
    operations = DOCUMENT["operations"]
    senders = sorted(name.split("_sends_")[1] for name in operations if "_sends_" in name)
    receivers = {name.split("_acts_on_")[1] for name in operations if "_acts_on_" in name}
    assert senders == sorted(events.EVENTS)
    assert receivers == set(events.EVENTS)


def test_every_rpc_method_has_its_channel_its_request_and_its_answer() -> None:
    methods = {name for name, _ in asyncapi_rpc.methods()}
    assert len(methods) > 40
    assert methods == {name.removesuffix(".answers") for name in DOCUMENT["operations"] if name.endswith(".answers")}
    assert methods <= DOCUMENT["channels"].keys()
    for method in methods:
        assert payload_schema(DOCUMENT, f"{method}.request")["required"] == ["args", "kwargs"]
        assert payload_schema(DOCUMENT, f"{method}.answer")["required"] == ["result", "error"]


def test_every_reference_leads_somewhere() -> None:
    for reference in _references(DOCUMENT):
        found: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            assert step in found, f"{reference} leads nowhere"
            found = found[step]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    if isinstance(value, list):
        for inner in value:
            yield from _references(inner)


@pytest.mark.parametrize(
    ("event", "valid"),
    [
        (an_event(events.ActivationReverted, new_id(), outcome="rejected"), True),
        (an_event(events.OrderCompleted, new_id()), True),
        (an_event(events.OrderCompleted, new_id()).model_copy(update={"cancel_refused": "perhaps"}), False),
    ],
)
def test_what_is_sent_fits_its_schema(event: events.Event, valid: bool) -> None:
    validator = jsonschema.Draft202012Validator(payload_schema(DOCUMENT, event.event_type))
    sent = json.loads(json.dumps({"event_type": event.event_type, **event.model_dump(mode="json", warnings=False)}))
    assert validator.is_valid(sent) is valid
