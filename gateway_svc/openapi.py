"""The OpenAPI 3.1 document, generated from the table of routes and the models, and a page that shows it.

The page is written out on the server and needs no script and no other host.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway_svc.answers import Problem
from gateway_svc.routing import Route

_REF = "#/components/schemas/{model}"
_RETRY_AFTER = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer", "minimum": 0}}}
_REQUEST_ID = {"X-Request-ID": {"description": "This request's id", "schema": {"type": "string"}}}
_HEADERS = {
    "Idempotency-Key": "The same key with the same body gets the same answer; with another body, 409",
    "Photo-Id": "A UUID that the phone makes: the same photo sent again is kept once; another photo under it, 409",
    "Last-Event-ID": "The last event seen; the present state is sent again only if it is newer",
}


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The OpenAPI document (https://spec.openapis.org/oas/v3.1.1) of these routes."""
    table = sorted(routes, key=lambda route: (route.path, route.method))
    schemas, definitions = _schemas(table)
    paths: dict[str, dict[str, Any]] = {}
    for entry in table:
        path = re.sub(r"<(\w+)>", r"{\1}", entry.path)
        paths.setdefault(path, {})[entry.method.lower()] = _operation(entry, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Service ordering",
            "version": version,
            "description": "Orders for internet and TV: placed, provisioned, visited, installed, followed.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _schemas(table: list[Route]) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    inputs = {entry.body for entry in table if entry.body}
    outputs = {model for entry in table for model in entry.answers.values() if model} | {Problem}
    wanted: list[Any] = [(model, "validation") for model in inputs] + [(model, "serialization") for model in outputs]
    wanted.sort(key=lambda pair: (pair[0].__name__, pair[1]))
    schemas, definitions = models_json_schema(wanted, ref_template=_REF)
    return schemas, definitions.get("$defs", {})


def _operation(entry: Route, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": entry.name,
        "summary": entry.summary,
        "tags": [entry.tag],
        "parameters": [_path_parameter(name) for name in entry.parameters]
        + [_header_parameter(name) for name in entry.headers]
        + (_query_parameters(entry.query) if entry.query else []),
        "responses": _responses(entry, schemas),
    }
    if entry.roles:
        operation["security"] = [{"bearer": []}]
        operation["description"] = "Roles: " + ", ".join(sorted(entry.roles)) + (
            " (subscribers only with their own order)" if entry.owner else ""
        )
    if entry.body:
        operation["requestBody"] = {
            "required": not entry.body_optional,
            "content": {"application/json": {"schema": schemas[entry.body, "validation"]}},
        }
    if entry.uploads:
        operation["requestBody"] = {"required": True, "content": {media_type: {} for media_type in entry.uploads}}
    return operation


def _responses(entry: Route, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, model in entry.answers.items():
        answer: dict[str, Any] = {"description": HTTPStatus(status).phrase, "headers": _REQUEST_ID}
        if model:
            answer["content"] = {"application/json": {"schema": schemas[model, "serialization"]}}
        elif entry.media_type != "application/json":
            schema = {"type": "string"} if entry.media_type.startswith("text/") else {}
            answer["content"] = {entry.media_type: {"schema": schema} if schema else {}}
        responses[str(status)] = answer
    for status in sorted(_problems(entry)):
        problem: dict[str, Any] = {
            "description": HTTPStatus(status).phrase,
            "headers": dict(_REQUEST_ID),
            "content": {"application/problem+json": {"schema": schemas[Problem, "serialization"]}},
        }
        if status in (429, 503):
            problem["headers"] |= _RETRY_AFTER
        responses[str(status)] = problem
    return responses


def _problems(entry: Route) -> set[int]:
    """The problems that follow from the row, and those it names."""
    problems = set(entry.problems)
    if entry.body or entry.uploads:
        problems |= {400, 413, 415, 422}
    if entry.query:
        problems.add(422)
    if entry.parameters:
        problems.add(404)
    if entry.roles:
        problems |= {401, 403, 503}
    return problems


def _path_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "uuid", "description": "UUIDv7"} if name == "order_id" else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _header_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "uuid"} if name == "Photo-Id" else {"type": "string", "maxLength": 255}
    required = name == "Photo-Id"
    return {"name": name, "in": "header", "required": required, "description": _HEADERS[name], "schema": schema}


def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    properties = model.model_json_schema(ref_template=_REF)["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": _without_null(schema)}
        for name, schema in properties.items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is left out, not null."""
    choices = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    if len(choices) == 1:
        return choices[0] | {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return schema


def page(doc: dict[str, Any]) -> str:
    """The document as one HTML page."""
    operations = "".join(
        _html_operation(path, method, operation)
        for path, methods in doc["paths"].items()
        for method, operation in methods.items()
    )
    models = "".join(
        f"<details id='{html.escape(name)}'><summary><code>{html.escape(name)}</code></summary>{_pre(schema)}</details>"
        for name, schema in sorted(doc["components"]["schemas"].items())
    )
    title = html.escape(doc["info"]["title"])
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{title}: HTTP interface</title><style>{_STYLE}</style></head><body><main><h1>{title}</h1>"
        f"<p>{html.escape(doc['info']['description'])} The same as a document: "
        "<a href='/openapi.json'>/openapi.json</a> (OpenAPI 3.1).</p>"
        f"<h2>Calls</h2>{operations}<h2>Types</h2>{models}</main></body></html>"
    )


def _html_operation(path: str, method: str, operation: dict[str, Any]) -> str:
    responses = "".join(
        f"<li><b>{html.escape(status)}</b> {html.escape(response['description'])}</li>"
        for status, response in operation["responses"].items()
    )
    parameters = "".join(
        f"<li><code>{html.escape(p['name'])}</code> ({html.escape(p['in'])}) "
        f"<code>{html.escape(json.dumps(p['schema'], ensure_ascii=False))}</code></li>"
        for p in operation["parameters"]
    )
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return (
        f"<details><summary><b class='{method}'>{method.upper()}</b> <code>{html.escape(path)}</code> "
        f"{html.escape(operation['summary'])}</summary>"
        f"<p>{html.escape(operation.get('description', 'Anyone may call this.'))}</p>"
        + (f"<h3>Parameters</h3><ul>{parameters}</ul>" if parameters else "")
        + (f"<h3>Body</h3>{_pre(body)}" if body else "")
        + f"<h3>Answers</h3><ul>{responses}</ul></details>"
    )


def _pre(value: Any) -> str:
    return f"<pre>{html.escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


_STYLE = (
    ":root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}body{margin:0}main{max-width:60rem;margin:auto;"
    "padding:1rem}details{border:1px solid #8886;border-radius:.4rem;margin:.4rem 0;padding:.3rem .8rem}"
    "summary{cursor:pointer;overflow-wrap:anywhere}pre{overflow:auto;background:#8881;padding:.6rem}h3{font-size:1rem;"
    "margin:.6rem 0 .2rem}.get{color:#0a7d3c}.post{color:#0b62c4}.put{color:#a25b00}.delete{color:#c22}"
)
