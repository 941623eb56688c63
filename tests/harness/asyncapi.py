"""Reads AsyncAPI documents: this release's, and those of releases before it in `tests/contract/corpus`."""

from __future__ import annotations

import json
from typing import Any

import jsonschema

_REFERENCE = "#/components/schemas/"
# With the document, so that it lives and its id stays its own.
_VALIDATORS: dict[tuple[int, str], tuple[dict[str, Any], Any]] = {}


def payload_schema(document: dict[str, Any], message: str) -> dict[str, Any]:
    """The JSON Schema of a message's payload, complete in itself. Raises KeyError where there is no such message."""
    components = document["components"]
    schema = json.loads(json.dumps(components["messages"][message]["payload"]).replace(_REFERENCE, "#/$defs/"))
    defs = json.loads(json.dumps(components["schemas"]).replace(_REFERENCE, "#/$defs/"))
    return {**schema, "$defs": defs}


def problems(document: dict[str, Any], message: str, payload: Any) -> list[str]:
    """What keeps `payload` from being this message: empty where nothing does."""
    key = id(document), message
    if key not in _VALIDATORS:
        _VALIDATORS[key] = document, jsonschema.Draft202012Validator(payload_schema(document, message))
    validator = _VALIDATORS[key][1]
    return [f"{message}: {error.json_path}: {error.message[:300]}" for error in validator.iter_errors(payload)]
