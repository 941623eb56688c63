"""The RPC half of the AsyncAPI document: every method with its arguments and its answer, read from the code."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

from nameko.constants import HEADER_PREFIX
from nameko.rpc import RPC_QUEUE_TEMPLATE, get_rpc_exchange
from pydantic import ConfigDict, Field, TypeAdapter, create_model

from chassis.rpc_replies import DEADLINE_HEADER, REPLY_QUEUE_EXPIRES_MS, SENT_AT_HEADER
from chassis.rpc_server import BoundedRpc
from contracts.errors import BY_NAME
from contracts.methods import ANSWERS, ARGUMENTS
from tools.paths import SERVICES

Json = dict[str, Any]
Schema = Callable[[str, str], Json]
"""(`arguments` or `answer`, method) -> its JSON Schema."""

EXCHANGE = {"name": get_rpc_exchange({}).name, "type": "topic", "durable": True, "autoDelete": False}
REPLIES = "rpc_replies"

ERROR_SCHEMA: Json = {
    "type": "object",
    "description": (
        "An error by its name. Of a domain error, `exc_args` is [detail, fields at fault, retry_after_s or \"None\"]; "
        "any other name is a defect of the service."
    ),
    "required": ["exc_type", "exc_args", "value"],
    "properties": {
        "exc_type": {"type": "string", "x-domain-errors": {name: cls.http_status for name, cls in BY_NAME.items()}},
        "exc_path": {"type": "string"},
        "exc_args": {"type": "array"},
        "value": {"type": "string"},
    },
}


def methods() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every RPC method, as (`service.method`, the function), in the order of services."""
    for service in SERVICES:
        module = importlib.import_module(f"{service}_svc.service")
        classes = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if getattr(cls, "name", "") == service]
        for name, function in inspect.getmembers(classes[0], inspect.isfunction):
            if any(isinstance(entry, BoundedRpc) for entry in getattr(function, "nameko_entrypoints", ())):
                yield f"{service}.{name}", function


def types() -> Iterator[tuple[tuple[str, str], Any, TypeAdapter[Any]]]:
    """What `TypeAdapter.json_schemas` takes: of each method its arguments and its answer."""
    for method, function in methods():
        yield ("arguments", method), "validation", TypeAdapter(_arguments(method, function))
        yield ("answer", method), "serialization", TypeAdapter(ANSWERS.get(method) or _answer(function))


def _arguments(method: str, function: Callable[..., Any]) -> Any:
    hints = get_type_hints(function)
    typed = ARGUMENTS.get(method, {})
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            fields |= {field: (kind, ...) for field, kind in typed.items()}
        else:
            default = ... if parameter.default is parameter.empty else parameter.default
            # By its alias alone, because a field of pydantic's must not end in an underscore of ours.
            fields[f"{name.rstrip('_')}_argument"] = (typed.get(name, hints[name]), Field(default, alias=name))
    return create_model(f"arguments.{method}", __config__=ConfigDict(extra="forbid"), **fields)


def _answer(function: Callable[..., Any]) -> Any:
    return get_type_hints(function)["return"]


def channels() -> Json:
    """A channel for each method, and the one for answers."""
    found = {method: _channel(method) for method, _ in methods()}
    replies = {
        "address": "rpc.reply-{client_id}",
        "title": "The caller's own queue for answers",
        "description": "Bind it to the exchange by a key of the caller's own, and send that key as `reply_to`.",
        "parameters": {"client_id": {"description": "Unique to the calling process."}},
        "messages": {method: {"$ref": f"#/components/messages/{method}.answer"} for method in found},
        "bindings": {"amqp": {
            "is": "queue",
            "queue": {"name": "rpc.reply-{client_id}", "durable": False, "exclusive": True, "autoDelete": True},
            "x-arguments": {"x-expires": REPLY_QUEUE_EXPIRES_MS},
            "x-exchange": EXCHANGE,
        }},
    }
    return found | {REPLIES: replies}


def _channel(method: str) -> Json:
    service = method.partition(".")[0]
    return {
        "address": method,
        "messages": {"request": {"$ref": f"#/components/messages/{method}.request"}},
        "bindings": {"amqp": {
            "is": "routingKey", "exchange": EXCHANGE, "x-served-from": RPC_QUEUE_TEMPLATE.format(service),
        }},
    }


def operations() -> Json:
    """Each service answers its methods: a request comes in, and an answer goes to where it says."""
    return {
        f"{method}.answers": {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{method}"},
            "summary": _first_sentence(function),
            "messages": [{"$ref": f"#/channels/{method}/messages/request"}],
            "bindings": {"amqp": {"deliveryMode": 1, "mandatory": True}},
            "reply": {
                "address": {"location": "$message.header#/reply_to"},
                "channel": {"$ref": f"#/channels/{REPLIES}"},
                "messages": [{"$ref": f"#/channels/{REPLIES}/messages/{method}"}],
            },
        }
        for method, function in methods()
    }


def _first_sentence(function: Callable[..., Any]) -> str:
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


def messages(schema: Schema) -> Json:
    """A request and an answer for each method."""
    found: Json = {}
    for method, _ in methods():
        found[f"{method}.request"] = {
            "name": method,
            "contentType": "application/json",
            "headers": {"$ref": "#/components/schemas/rpc_request_headers"},
            "correlationId": {"location": "$message.header#/correlation_id"},
            "payload": _object(
                {"args": {"type": "array", "maxItems": 0}, "kwargs": schema("arguments", method)}, closed=True
            ),
        }
        found[f"{method}.answer"] = {
            "name": f"{method} answered",
            "contentType": "application/json",
            "headers": {"$ref": "#/components/schemas/rpc_answer_headers"},
            "correlationId": {"location": "$message.header#/correlation_id"},
            "payload": _object({
                "result": {"anyOf": [schema("answer", method), {"type": "null"}]},
                "error": {"anyOf": [{"$ref": "#/components/schemas/rpc_error"}, {"type": "null"}]},
            }),
        }
    return found


def schemas() -> Json:
    """What requests and answers share. A header with `x-amqp-property` is that property of the message.

    `x-value` says what goes in.
    """
    correlation_id = {"type": "string", "x-amqp-property": "correlation_id", "x-value": "correlation_id"}
    request = {
        "correlation_id": correlation_id | {"description": "Unique to this request; its answer carries it, too."},
        "reply_to": {
            "type": "string", "x-amqp-property": "reply_to", "x-value": "reply_key",
            "description": "The routing key by which the queue for answers is bound.",
        },
        "expiration": {
            "type": "string", "x-amqp-property": "expiration", "x-value": "timeout_ms",
            "description": "The deadline in milliseconds: the broker drops a request that nobody took by then.",
        },
        DEADLINE_HEADER: {
            "type": "integer", "x-value": "timeout_ms",
            "description": "The deadline in milliseconds: the service does not begin what comes later.",
        },
        SENT_AT_HEADER: {
            "type": "integer", "x-value": "sent_at_ms", "description": "The caller's clock, milliseconds since 1970.",
        },
        f"{HEADER_PREFIX}.traceparent": {"type": "string", "description": "W3C Trace Context, where there is one."},
    }
    required = ["correlation_id", "reply_to", "expiration", DEADLINE_HEADER, SENT_AT_HEADER]
    return {
        "rpc_request_headers": {"type": "object", "required": required, "properties": request},
        "rpc_answer_headers": _object({"correlation_id": correlation_id}),
        "rpc_error": ERROR_SCHEMA,
    }


def _object(properties: Json, *, closed: bool = False) -> Json:
    made: Json = {"type": "object", "required": list(properties), "properties": properties}
    return made | ({"additionalProperties": False} if closed else {})
