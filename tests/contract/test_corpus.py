"""Rolling upgrades of messages: this release and the recorded ones before it understand each other, both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from contracts.catalogue import PRODUCTS
from contracts.events import EVENTS, UnreadableEvent, decode
from contracts.rpc import OrderPage
from mypage_svc.domain import fact, fold
from mypage_svc.queries import page_answer
from tests.harness.asyncapi import problems
from tests.harness.releases import Release, machines, previous, releases
from tools import asyncapi_rpc, render_asyncapi
from tools.record_corpus import release

CURRENT: dict[str, Any] = yaml.load(
    render_asyncapi.DOCUMENT.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader
)


@pytest.fixture(params=releases(), ids=lambda recorded: str(recorded.version))
def recorded(request: pytest.FixtureRequest) -> Release:
    return request.param  # type: ignore[no-any-return]


def raw(message: dict[str, Any]) -> bytes:
    return json.dumps(message["body"], ensure_ascii=False, separators=(",", ":")).encode()


def test_the_release_in_the_changelog_is_recorded() -> None:
    assert release() in {recorded.version for recorded in releases()}, "run `python -m tools.record_corpus`"


def test_a_recorded_release_holds_every_event_and_every_method_it_had(recorded: Release) -> None:
    channels = recorded.document["channels"]
    types = set(channels["client_events"]["messages"])
    methods = set(channels["rpc_replies"]["messages"])
    assert {message["routing_key"] for message in recorded.events()} == types
    assert {call["request"]["routing_key"] for call in recorded.calls()} == methods


def test_every_recorded_event_becomes_a_typed_event_of_this_release(recorded: Release) -> None:
    for message in recorded.events():
        event = decode(raw(message))
        assert event.event_type == message["routing_key"]
        assert event.message_id == message["properties"]["message_id"]
        assert isinstance(event, EVENTS[event.event_type])


@pytest.mark.parametrize("machine", machines(), ids=lambda machine: str(machine.service))
def test_recorded_events_move_this_release_s_state_machines_and_what_they_cause_the_release_before_can_read(
    recorded: Release, machine: Any
) -> None:
    met = set()
    for message in recorded.events():
        if message["routing_key"] not in machine.consumes:
            continue
        met.add(message["routing_key"])
        for state, caused in machine.reactions(decode(raw(message))):
            found = problems(previous().document, caused.event_type, json.loads(caused.encode()))
            assert found == [], f"{machine.service} in {state}, after {message['routing_key']}"
    assert met == set(machine.consumes)


def test_recorded_events_fold_into_a_page(recorded: Release) -> None:
    facts = [fact(decode(raw(message))) for message in recorded.events()]
    for order_id in {known.order_id for known in facts}:
        page = fold([known for known in facts if known.order_id == order_id])
        OrderPage.model_validate_json(json.dumps(page_answer(page)))


def test_the_same_events_sent_by_this_release_are_read_by_the_one_before() -> None:
    for message in previous().events():
        again = json.loads(decode(raw(message)).encode())
        assert problems(previous().document, message["routing_key"], again) == []


def test_the_previous_release_s_requests_are_answered_by_this_one(recorded: Release) -> None:
    methods = {name for name, _ in asyncapi_rpc.methods()}
    for call in recorded.calls():
        method = call["request"]["routing_key"]
        assert method in methods, f"{method} is gone, and the release before still calls it"
        assert problems(CURRENT, f"{method}.request", call["request"]["body"]) == []


def test_the_previous_release_s_answers_are_understood_by_this_one(recorded: Release) -> None:
    for call in recorded.calls():
        method = call["request"]["routing_key"]
        assert problems(CURRENT, f"{method}.answer", call["answer"]["body"]) == []


def _arguments(document: dict[str, Any], method: str) -> dict[str, Any]:
    kwargs = document["components"]["messages"][f"{method}.request"]["payload"]["properties"]["kwargs"]
    return {"known": set(kwargs.get("properties", {})), "required": set(kwargs.get("required", ()))}


def test_no_method_lost_an_argument_or_wants_a_new_one() -> None:
    for method in previous().document["channels"]["rpc_replies"]["messages"]:
        before, now = _arguments(previous().document, method), _arguments(CURRENT, method)
        assert before["known"] <= now["known"], f"{method}: the release before still gives it"
        assert now["required"] <= before["required"], f"{method}: the release before does not give it"


def test_no_field_of_an_event_or_an_answer_was_taken_away() -> None:
    old, new = previous().document["components"], CURRENT["components"]
    for name in EVENTS:
        before, now = (part["messages"][name]["payload"] for part in (old, new))
        assert set(before["required"]) <= set(now["required"]), f"{name}: the release before reads it"
    shared = old["schemas"].keys() & new["schemas"].keys()
    for name in shared:
        before, now = old["schemas"][name], new["schemas"][name]
        assert set(before.get("properties", ())) <= set(now.get("properties", ())), name


def test_what_is_sold_the_release_before_knows() -> None:
    unknown = PRODUCTS.keys() - set(previous().facts["products"])
    assert not unknown or release() != previous().version, (
        f"consumers of {previous().version} park orders for {sorted(unknown)}: sell them a release later"
    )


@pytest.mark.parametrize("changes", [
    {"schema_version": 99}, {"schema_version": 0}, {"schema_version": None}, {"schema_version": "1"},
    {"schema_version": True}, {"event_type": "order_vanished"}, {"order_id": "none"},
])
def test_an_event_that_cannot_be_read_is_named_and_said_why(changes: dict[str, Any]) -> None:
    body = next(previous().events())["body"] | changes
    with pytest.raises(UnreadableEvent) as refused:
        decode(json.dumps(body).encode())
    (value,) = changes.values()
    assert str(value) in str(refused.value) or "malformed" in str(refused.value)


def test_a_newer_version_says_what_helps() -> None:
    body = next(previous().events())["body"] | {"schema_version": 99}
    with pytest.raises(UnreadableEvent, match=r"schema_version 99, known up to 1.*bring this service up"):
        decode(json.dumps(body).encode())


def test_fields_that_a_newer_release_adds_are_ignored_at_any_depth() -> None:
    def with_news(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: with_news(inner) for key, inner in value.items()} | {"added_later": {"by": "the next release"}}
        return [with_news(item) for item in value] if isinstance(value, list) else value

    for message in previous().events():
        assert decode(json.dumps(with_news(message["body"])).encode()) == decode(raw(message))
