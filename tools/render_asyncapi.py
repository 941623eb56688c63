"""Render `docs/asyncapi.yaml` (`python -m tools.render_asyncapi`): AsyncAPI 3.0, from `contracts` and the services.

For clients in other languages: every event with its JSON Schema, who sends it and who acts on it; every RPC method; and
exchanges, routing keys, queues and headers, so that a client needs no other source. A test holds the committed document
to this rendering, and another runs a client that has nothing else.
"""

from __future__ import annotations

import importlib
import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from contracts import versions
from contracts.events import EVENTS, Event
from tools import asyncapi_rpc
from tools.broker_users import emitted
from tools.paths import ROOT

Json = dict[str, Any]

DOCUMENT = ROOT / "docs" / "asyncapi.yaml"
SERVICES = ("order", "activation", "scheduling", "fieldwork", "mypage")
REFERENCE = "#/components/schemas/{model}"
DESCRIPTION = """\
Events are facts, in the past tense, on one topic exchange; the routing key is the event's type. Delivery is at least \
once: keep the ids you have seen. Unknown fields may be added at any time: ignore them. An event of another \
schema_version than the one here is not for you: get the newer document.

RPC is a request to the method's routing key, and one answer. Arguments are those of the schema and no others; an \
answer may hold more than its schema says. Repeat a request only if it is harmless: without an answer by the deadline, \
it may still have taken effect.

In headers, `x-amqp-property` marks what is a property of the AMQP message rather than one of its headers; `x-value` \
says what goes in.
"""


def document() -> Json:
    """The AsyncAPI document as a JSON value."""
    schemas = _Schemas()
    return _plain({
        "asyncapi": "3.0.0",
        "info": {"title": "Order to installation: events and RPC", "version": _release(), "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {name: _channel(name) for name in EVENTS}
        | {"client_events": _client_events()}
        | asyncapi_rpc.channels(),
        "operations": _operations() | asyncapi_rpc.operations(),
        "components": {
            "messages": {name: _message(name, cls, schemas("event", name)) for name, cls in EVENTS.items()}
            | asyncapi_rpc.messages(schemas),
            "schemas": {"event_headers": _EVENT_HEADERS} | asyncapi_rpc.schemas() | schemas.shared,
        },
    })


def render() -> str:
    """The document as the text of its file."""
    return yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


class _Schemas:
    """Every JSON Schema of the document; what several use stands once, under `shared`."""

    def __init__(self) -> None:
        found, shared = TypeAdapter.json_schemas(
            [*_event_types(), *asyncapi_rpc.types()], ref_template=REFERENCE
        )
        self.shared: Json = {name: _open(_untitled(schema)) for name, schema in shared.get("$defs", {}).items()}
        self._found = {key: _untitled(schema) for (key, _), schema in found.items()}

    def __call__(self, kind: str, name: str) -> Json:
        schema: Json = self._found[kind, name]
        # Values sit in components; a method's arguments stand where they are used, closed as the service closes them.
        reference = str(schema.get("$ref", "")).removeprefix(REFERENCE.format(model=""))
        if reference and kind != "answer":
            schema = self.shared.pop(reference) | ({"additionalProperties": False} if kind == "arguments" else {})
        return schema if kind == "arguments" else dict(_open(schema))


def _open(schema: Any) -> Any:
    """Without `additionalProperties: false`: readers ignore what they do not know."""
    return _without(schema, lambda key, value: (key, value) == ("additionalProperties", False))


def _untitled(schema: Any) -> Any:
    """Without the titles that pydantic makes of names."""
    return _without(schema, lambda key, value: key == "title" and isinstance(value, str))


def _without(value: Any, unwanted: Callable[[str, Any], bool]) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner, unwanted) for key, inner in value.items() if not unwanted(key, inner)}
    return [_without(item, unwanted) for item in value] if isinstance(value, list) else value


def _plain(value: Json) -> Json:
    """Without shared objects, which YAML would write as anchors."""
    return dict(json.loads(json.dumps(value)))


def _release() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def _event_types() -> Iterator[tuple[tuple[str, str], Any, TypeAdapter[Any]]]:
    for name, cls in EVENTS.items():
        yield ("event", name), "serialization", TypeAdapter(versions.sent_form(name, cls))


_EXCHANGE = {"name": "oss.events", "type": "topic", "durable": True, "autoDelete": False}
_EVENT_HEADERS = {
    "type": "object",
    "required": ["message_id"],
    "properties": {
        "message_id": {
            "type": "string", "x-amqp-property": "message_id", "x-value": "event_id",
            "description": "The event's id: what is seen twice has one id.",
        }
    },
}


def _message(name: str, cls: type[Event], schema: Json) -> Json:
    properties = schema["properties"] | {"schema_version": {"const": versions.sent(name), "type": "integer"}}
    payload = schema | {
        "properties": {"event_type": {"const": name}} | properties,
        "required": ["event_type", *schema["required"]],
    }
    own_words = cls.__doc__ if cls.__doc__ and cls.__doc__ != Event.__doc__ else None
    summary = {"summary": own_words.split("\n")[0]} if own_words else {}
    return {"name": name, **summary, "headers": {"$ref": REFERENCE.format(model="event_headers")}, "payload": payload}


def _channel(name: str) -> Json:
    return {
        "address": name,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": _EXCHANGE}},
    }


def _client_events() -> Json:
    return {
        "address": "client.{client_id}.events",
        "title": "A client's own queue for events",
        "description": "Bind it to the exchange by the addresses of the events wanted. It ends with the client.",
        "parameters": {"client_id": {"description": "Unique to the client."}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in EVENTS},
        "bindings": {"amqp": {
            "is": "queue",
            "queue": {"name": "client.{client_id}.events", "durable": False, "exclusive": True, "autoDelete": True},
            "x-arguments": {"x-max-length": 10_000},
            "x-exchange": _EXCHANGE,
        }},
    }


def _operations() -> Json:
    sent = {
        f"{service}_sends_{name}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}
        for service in SERVICES
        for name in emitted(service)
    }
    received = {
        f"{service}_acts_on_{name}": {"action": "receive", "channel": {"$ref": f"#/channels/{name}"}}
        for service in SERVICES
        for name in _consumed(service)
    }
    return sent | received


def _consumed(service: str) -> list[str]:
    if service == "mypage":
        return list(EVENTS)
    return list(importlib.import_module(f"{service}_svc.domain").CONSUMES)


def main(path: Path = DOCUMENT) -> None:
    """Write the document."""
    path.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
