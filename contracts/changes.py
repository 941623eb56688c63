"""The hint that something on a page has changed: services send it, each gateway process listens (for SSE).

It is a hint and nothing more: transient, unconfirmed, and lost without harm. Who needs the thing reads it. Hints that
come together travel together, as a JSON list.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic_core import to_json

EXCHANGE = "page_changes"
"""A durable fanout exchange. A listener binds a queue of its own (exclusive, auto-delete, bounded)."""

Topic = Literal["orders", "visits", "jobs"]
"""mypage announces `orders`, scheduling `visits`, fieldwork `jobs`."""

TOPICS: tuple[str, ...] = get_args(Topic)


@dataclass(frozen=True, slots=True)
class Change:
    """`key` is an order's id (`orders`, `visits`) or a technician's id (`jobs`).

    `version` grows with each change of what `key` names, where its service counts them; else it is 0.
    """

    topic: Topic
    key: str
    version: int = 0

    def encode(self) -> bytes:
        return to_json({"topic": self.topic, "key": self.key, "version": self.version})

    @classmethod
    def decode(cls, body: bytes) -> Change:
        """Raise ValueError where `body` is no such hint."""
        return _change(json.loads(body))


def decode_all(body: bytes) -> list[Change]:
    """The hints of a message: a list of them, or one as such. Raise ValueError where `body` is neither."""
    data = json.loads(body)
    return [_change(one) for one in (data if isinstance(data, list) else [data])]


def _change(data: Any) -> Change:
    try:
        topic, key, version = data["topic"], data["key"], int(data["version"])
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"not a change hint: {exc}") from exc
    if topic not in TOPICS or not isinstance(key, str):
        raise ValueError("not a change hint: its topic or its key is none of ours")
    return Change(topic, key, version)
