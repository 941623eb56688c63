"""Render the events into `docs/asyncapi.json` (`python -m tools.render_asyncapi`): AsyncAPI 3.0, from `contracts`.

For clients in other languages: every event with its JSON Schema, who sends it and who acts on it. A test holds the
committed document to this rendering.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from contracts.events import EVENTS, SCHEMA_VERSION, Event
from tools.paths import ROOT

DOCUMENT = ROOT / "docs" / "asyncapi.json"
EXCHANGE = "oss.events"
SERVICES = ("order", "activation", "scheduling", "fieldwork", "mypage")


def document() -> dict[str, Any]:
    """The AsyncAPI document as a JSON value."""
    messages = {name: _message(name, cls) for name, cls in EVENTS.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Order to installation: events",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": (
                "Facts, in the past tense, on one topic exchange; the routing key is the event's type. Delivery is at "
                "least once: keep the ids you have seen. Unknown fields may be added; a newer schema_version is not "
                "for you."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name) for name in EVENTS},
        "operations": _operations(),
        "components": {"messages": messages},
    }


def render() -> str:
    """The document as the text of its file."""
    return json.dumps(document(), ensure_ascii=False, indent=1) + "\n"


def _message(name: str, cls: type[Event]) -> dict[str, Any]:
    schema = cls.model_json_schema(mode="serialization")
    schema["properties"] = {"event_type": {"const": name}} | schema["properties"]
    schema["required"] = sorted({"event_type", "schema_version", *schema.get("required", [])})
    own_words = cls.__doc__ if cls.__doc__ and cls.__doc__ != Event.__doc__ else None
    return {"name": name, **({"summary": own_words.split("\n")[0]} if own_words else {}), "payload": schema}


def _channel(name: str) -> dict[str, Any]:
    return {
        "address": name,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": EXCHANGE, "type": "topic", "durable": True, "autoDelete": False},
            }
        },
    }


def _operations() -> dict[str, Any]:
    sent = {
        f"{service}_sends_{name}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}
        for service in SERVICES
        for name in _emitted(service)
    }
    received = {
        f"{service}_acts_on_{name}": {"action": "receive", "channel": {"$ref": f"#/channels/{name}"}}
        for service in SERVICES
        for name in _consumed(service)
    }
    return sent | received


def _emitted(service: str) -> list[str]:
    """What the service's transition table emits; MyPage has none."""
    table = getattr(importlib.import_module(f"{service}_svc.domain"), "TABLE", None)
    if table is None:
        return []
    emits = {name for _, _, row in table for name in getattr(row, "emits", ())}
    return sorted({name.partition("/")[0] for name in emits})


def _consumed(service: str) -> list[str]:
    if service == "mypage":
        return list(EVENTS)
    return list(importlib.import_module(f"{service}_svc.domain").CONSUMES)


def main(path: Path = DOCUMENT) -> None:
    """Write the document."""
    path.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
