"""The AsyncAPI document says what the code does."""

from __future__ import annotations

import jsonschema
import pytest

from contracts import events
from contracts.ids import new_id
from tests.harness.orders import an_event
from tools import render_asyncapi


def test_the_committed_document_is_the_one_the_contracts_render() -> None:
    assert render_asyncapi.DOCUMENT.read_text(encoding="utf-8") == render_asyncapi.render(), (
        "run `python -m tools.render_asyncapi`"
    )


def test_every_event_has_one_sender_and_somebody_who_acts_on_it() -> None:
    operations = render_asyncapi.document()["operations"]
    senders = sorted(name.split("_sends_")[1] for name in operations if "_sends_" in name)
    receivers = {name.split("_acts_on_")[1] for name in operations if "_acts_on_" in name}
    assert senders == sorted(events.EVENTS)
    assert receivers == set(events.EVENTS)


@pytest.mark.parametrize(
    ("event", "valid"),
    [
        (an_event(events.ActivationReverted, new_id(), outcome="rejected"), True),
        (an_event(events.OrderCompleted, new_id()), True),
        (an_event(events.OrderCompleted, new_id()).model_copy(update={"cancel_refused": "perhaps"}), False),
    ],
)
def test_what_is_sent_fits_its_schema(event: events.Event, valid: bool) -> None:
    import json

    schema = render_asyncapi.document()["components"]["messages"][event.event_type]["payload"]
    validator = jsonschema.Draft202012Validator(schema)
    sent = json.loads(json.dumps({"event_type": event.event_type, **event.model_dump(mode="json", warnings=False)}))
    assert validator.is_valid(sent) is valid
