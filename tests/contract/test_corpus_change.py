"""A change of an event, rehearsed over two releases: read first, sent a release later, and never a message lost.

No event has changed yet. Here `fieldwork_rejected` gets a second version in which `technician_id` has become
`technician.id`, with the steps a real change would have, and the recorded messages of the release before.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import events, versions
from contracts.events import EVENTS, Event, FieldworkRejected, UnreadableEvent, Value, decode
from contracts.rejection import RejectionCode
from mypage_svc.domain import fact, fold
from mypage_svc.queries import page_answer
from tests.harness.asyncapi import problems
from tests.harness.releases import machines, previous
from tools import render_asyncapi

NAME = FieldworkRejected.TYPE
Phase = Callable[[bool], None]


class Technician(Value):
    """What has become of `technician_id`."""

    id: str


class Changed(Event):
    """`fieldwork_rejected`, version 2."""

    TYPE: ClassVar[str] = NAME
    schema_version: int = 2
    technician: Technician
    reason_code: RejectionCode
    note: str = ""


def upgrade(payload: versions.Payload) -> versions.Payload:
    kept = {key: value for key, value in payload.items() if key != "technician_id"}
    return kept | {"technician": {"id": payload["technician_id"]}}


def downgrade(payload: versions.Payload) -> versions.Payload:
    kept = {key: value for key, value in payload.items() if key != "technician"}
    return kept | {"technician_id": payload["technician"]["id"]}


@pytest.fixture
def phase(monkeypatch: pytest.MonkeyPatch) -> Phase:
    """`phase(False)`: the release that reads version 2; `phase(True)`: the one after it, which sends it, too."""

    def enter(sent: bool) -> None:
        change = versions.Change(NAME, 2, upgrade, downgrade, FieldworkRejected, sent)
        monkeypatch.setattr(versions, "CHANGES", (change,))
        monkeypatch.setitem(EVENTS, NAME, Changed)
        for name in ("contracts.events", *(f"{service}_svc.domain" for service in ("activation", "scheduling"))):
            module = importlib.import_module(name)
            if hasattr(module, "FieldworkRejected"):
                monkeypatch.setattr(module, "FieldworkRejected", Changed)

    return enter


def recorded() -> list[dict[str, Any]]:
    return [message["body"] for message in previous().events() if message["routing_key"] == NAME]


def raw(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def reactions(event: Event) -> list[tuple[str, str, str]]:
    return [
        (machine.service, state, caused.event_type)
        for machine in machines() if NAME in machine.consumes for state, caused in machine.reactions(event)
    ]


@pytest.mark.parametrize("sent", [False, True])
def test_what_the_release_before_sent_still_does_what_it_did(phase: Phase, sent: bool) -> None:
    before = [(reactions(decode(raw(body))), page_answer(fold([fact(decode(raw(body)))]))) for body in recorded()]
    phase(sent)
    for body, (reacted, page) in zip(recorded(), before, strict=True):
        event = decode(raw(body))
        assert isinstance(event, Changed)
        assert (event.technician.id, event.schema_version) == (body["technician_id"], 2)
        assert reactions(event) == reacted
        assert page_answer(fold([fact(event)])) == page


def test_first_it_is_sent_in_the_form_that_the_release_before_reads(phase: Phase) -> None:
    phase(False)
    for body in recorded():
        again = json.loads(decode(raw(body)).encode())
        assert again == body
        assert problems(previous().document, NAME, again) == []


def test_then_it_is_sent_in_its_new_form_which_the_release_in_between_reads(phase: Phase) -> None:
    phase(True)
    sent = [decode(raw(body)).encode() for body in recorded()]
    assert {json.loads(body)["schema_version"] for body in sent} == {2}
    phase(False)
    for body in sent:
        event = decode(body)
        assert isinstance(event, Changed)
        assert "technician_id" not in json.loads(body)


def test_two_releases_at_once_are_too_many_and_the_message_waits_for_an_operator(
    phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    phase(True)
    body = decode(raw(recorded()[0])).encode()
    monkeypatch.undo()
    with pytest.raises(UnreadableEvent, match=r"has schema_version 2, known up to 1: bring this service up"):
        decode(body)


def test_an_old_form_that_is_malformed_is_named_and_not_a_crash(phase: Phase) -> None:
    phase(False)
    body = {key: value for key, value in recorded()[0].items() if key != "technician_id"}
    with pytest.raises(UnreadableEvent, match=r"malformed fieldwork_rejected of schema_version 1: .*technician_id"):
        decode(raw(body))


@pytest.mark.parametrize(("sent", "field", "version"), [(False, "technician_id", 1), (True, "technician", 2)])
def test_the_document_shows_what_is_sent(phase: Phase, sent: bool, field: str, version: int) -> None:
    phase(sent)
    schema = render_asyncapi.document()["components"]["messages"][NAME]["payload"]
    assert field in schema["required"]
    assert schema["properties"]["schema_version"]["const"] == version


@given(technician=st.text(), note=st.text())
def test_there_and_back_nothing_is_lost(technician: str, note: str) -> None:
    payload = {"technician_id": technician, "reason_code": "other", "note": note}
    assert downgrade(upgrade(payload)) == payload


def test_this_release_sends_only_versions_that_the_one_before_reads() -> None:
    reads = previous().facts["reads"]
    assert {name for name in EVENTS if name in reads and versions.sent(name) > reads[name]} == set()


def test_each_event_has_every_step_to_its_newest_version() -> None:
    assert tuple(sorted(versions.CHANGES, key=lambda change: change.version)) == versions.CHANGES
    for name, cls in events.EVENTS.items():
        steps = [change.version for change in versions.CHANGES if change.event_type == name]
        assert steps == list(range(versions.FIRST + 1, versions.newest(name) + 1))
        assert cls.model_fields["schema_version"].default == versions.newest(name)
    assert {change.event_type for change in versions.CHANGES} <= events.EVENTS.keys()
