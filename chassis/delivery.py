"""One message as it came from the broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from chassis.amqp import Session

ATTEMPT_HEADER = "x-attempt"
DELIVERY_COUNT_HEADER = "x-delivery-count"
MAX_ATTEMPT = 1_000_000
PROPERTIES_TO_KEEP = ("content_type", "content_encoding", "message_id")


class Undecodable(ValueError):
    """Bytes that can never become an event."""


class Delivery:
    """A delivered message: its bytes, its headers, and what is needed to acknowledge it."""

    __slots__ = ("attempt", "body", "event", "headers", "interrupted", "message_id", "properties", "queue",
                 "routing_key", "session", "tag")

    def __init__(self, session: Session, queue: str, message: Any) -> None:
        self.session = session
        self.queue = queue
        self.tag: int = message.delivery_info["delivery_tag"]
        self.routing_key: str = message.delivery_info["routing_key"]
        self.body = bytes(message.body)
        self.properties = {key: message.properties[key] for key in PROPERTIES_TO_KEEP if key in message.properties}
        self.message_id: str | None = self.properties.get("message_id")
        self.headers: dict[str, Any] = dict(message.properties.get("application_headers") or {})
        attempt = self.headers.get(ATTEMPT_HEADER, 1)
        # The first delivery is attempt 1; a stranger's header of another type counts as none.
        self.attempt: int = min(attempt, MAX_ATTEMPT) if isinstance(attempt, int) and attempt > 0 else 1
        interrupted = self.headers.get(DELIVERY_COUNT_HEADER, 0)
        # How often it was delivered before without an answer: its process, or the connection, ended meanwhile.
        self.interrupted: int = interrupted if isinstance(interrupted, int) else 0
        self.event: Any = None

    def decode(self, decode: Callable[[bytes], Any]) -> Any:
        """Return the typed event; raise Undecodable saying why it never can be one."""
        try:
            return decode(self.body)
        except Exception as exc:
            # Whatever a decoder makes of strange bytes: it must not end the process, to meet them again after it.
            raise Undecodable(str(exc) or repr(exc)) from exc

    def field(self, name: str) -> str | None:
        """A field of the body, for display; None where the body is no JSON object or has no such text."""
        try:
            value = json.loads(self.body).get(name)
        except (ValueError, AttributeError, RecursionError):
            return None
        return value if isinstance(value, str) else None
