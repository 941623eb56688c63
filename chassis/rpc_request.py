"""A request as it came from the broker: what is asked for, by when, and where the answer goes."""

from __future__ import annotations

import json
import time
from typing import Any

from nameko.constants import CALL_ID_STACK_CONTEXT_KEY, HEADER_PREFIX
from nameko.exceptions import MalformedRequest

from chassis.amqp import Session
from chassis.rpc_replies import DEADLINE_HEADER, SENT_AT_HEADER


class Interrupted(Exception):
    """The request was being worked on when the process, or its connection, ended; it may have taken effect."""


class Lateness:
    """How late a request is, without trusting that two machines' clocks agree.

    Each caller's smallest difference between its clock and ours, so far, counts as not late.
    """

    def __init__(self) -> None:
        self._smallest_ms: dict[str, int] = {}

    def of(self, caller: str, sent_at_ms: int, now_ms: int) -> int:
        """Milliseconds by which this request took longer than the quickest one of the same caller."""
        if len(self._smallest_ms) > 1000:
            self._smallest_ms.clear()
        difference = now_ms - sent_at_ms
        smallest = min(self._smallest_ms.get(caller, difference), difference)
        self._smallest_ms[caller] = smallest
        return difference - smallest


class Request:
    """One request. `timeout_ms` is None where its caller set no deadline (`nameko shell`)."""

    def __init__(self, session: Session, message: Any) -> None:
        self.session = session
        self.tag: int = message.delivery_info["delivery_tag"]
        self.redelivered = bool(message.delivery_info["redelivered"])
        self.method = str(message.delivery_info["routing_key"]).split(".")[-1]
        self.reply_to = message.properties.get("reply_to")
        self.correlation_id = message.properties.get("correlation_id")
        self._body = message.body
        self._headers: dict[str, Any] = dict(message.properties.get("application_headers") or {})
        self.timeout_ms = self._number(DEADLINE_HEADER)

    def is_late(self, lateness: Lateness) -> bool:
        """Whether its caller has given up by now."""
        sent_at_ms = self._number(SENT_AT_HEADER)
        if self.timeout_ms is None or sent_at_ms is None:
            return False
        return lateness.of(str(self.reply_to), sent_at_ms, int(time.time() * 1000)) > self.timeout_ms

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments. Raises MalformedRequest."""
        try:
            body = json.loads(self._body)
            args, kwargs = body["args"], body["kwargs"]
        except (ValueError, RecursionError) as exc:
            raise MalformedRequest(f"not JSON: {exc}") from exc
        except (KeyError, TypeError) as exc:
            raise MalformedRequest("Message missing `args` or `kwargs`") from exc
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise MalformedRequest("`args` must be a list and `kwargs` an object")
        return args, kwargs

    def context(self) -> dict[str, Any]:
        """What a worker inherits from its caller, in Nameko's headers; nothing of a type that would break it."""
        found = {}
        for name, kind in (("traceparent", str), (CALL_ID_STACK_CONTEXT_KEY, list)):
            value = self._headers.get(f"{HEADER_PREFIX}.{name}")
            if isinstance(value, kind):
                found[name] = value
        return found

    def _number(self, header: str) -> int | None:
        value = self._headers.get(header)
        return value if isinstance(value, int) else None
