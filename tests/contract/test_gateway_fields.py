"""Every field of every request, wrong in every way: the answer is a 4xx that names the field, never a 5xx."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from contracts.ids import new_id
from tests.harness.client import Client, an_order
from tools.system import System

Path = tuple[str | int, ...]

WINDOW = {"window_start": "2026-12-01T00:00:00Z", "window_end": "2026-12-01T02:00:00Z"}
RESULTS = {"ont_serial": "ABCD12345678", "rx_power_dbm": -18.5, "down_mbps": 480.0, "up_mbps": 450.0}

# Every body with every field it can have; which of them must be there; who may send it.
BODIES: dict[tuple[str, str], tuple[dict[str, Any], set[str], str | None]] = {
    ("POST", "/api/sessions"): (
        {"username": "nobody", "password": "wrong password"}, {"username", "password"}, None,
    ),
    ("POST", "/api/orders"): (
        an_order(),
        {
            "customer", "customer.name", "customer.phone", "address", "address.postcode", "address.line1", "items",
            "items.0", "items.0.product", "items.0.quantity",
        },
        None,
    ),
    ("POST", "/api/orders/{id}/cancel"): ({"reason": "이사"}, set(), "operator"),
    ("POST", "/api/visits/{id}/calls"): (
        {"outcome": "call_back", "note": "저녁에", "call_back_at": "2026-12-01T09:00:00Z"}, {"outcome"}, "dispatcher",
    ),
    ("PUT", "/api/visits/{id}/appointment"): (
        {**WINDOW, "technician_id": "tech-kim"}, {"window_start", "window_end"}, "dispatcher",
    ),
    ("POST", "/api/jobs/{id}/complete"): (
        {"results": RESULTS, "note": "끝"},
        {"results", "results.ont_serial", "results.rx_power_dbm", "results.down_mbps"},
        "kim",
    ),
    ("POST", "/api/jobs/{id}/reject"): ({"reason_code": "no_duct", "note": "막힘"}, {"reason_code"}, "kim"),
    ("POST", "/api/ops/fallouts/{id}/abandon"): ({"reason": "중복"}, set(), "operator"),
}
NULLABLE = {"customer.email", "call_back_at", "technician_id", "results.up_mbps"}
FREE_TEXT = {"password"}
HOSTILE = (
    "'; drop table orders; --", "<script>alert(1)</script>", "${jndi:ldap://x}", "../../etc/passwd", "%00%0a",
    "{{7*7}}",
    "\u202eevil", "ﷺ" * 20, "👩‍👩‍👧‍👦", "A\u0301" * 10,
)


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of everything in a body."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield (*path, name)
        yield from places(child, (*path, name))


def at(body: Any, path: Path) -> Any:
    for part in path:
        body = body[part]
    return body


def changed(body: Any, path: Path, value: Any) -> Any:
    made = copy.deepcopy(body)
    at(made, path[:-1])[path[-1]] = value
    return made


def without(body: Any, path: Path) -> Any:
    made = copy.deepcopy(body)
    del at(made, path[:-1])[path[-1]]
    return made


def dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)


def wrong_values(name: str, value: Any) -> Iterator[Any]:
    """What this field must refuse."""
    if name not in NULLABLE:
        yield None
    if isinstance(value, dict):
        yield from (1, "x", [], True)
    elif isinstance(value, list):
        yield from (1, "x", {}, True, [])
    elif isinstance(value, str):
        yield from (1, 1.5, True, [], {}, [value], "가" * 10_000, "x\ud800", "\udfffx", "x\0y")
        if name not in FREE_TEXT:
            yield from ("bell\x07", "\x1b[31m", "\uffff")
    else:
        yield from ("1", "x", True, [], {}, -1e300, 1e300, 10**40, -(10**40))
        yield from () if name == "results.rx_power_dbm" else (-1, 0)


def mutations(body: dict[str, Any], required: set[str]) -> Iterator[tuple[str, Any]]:
    """(field that must be named, body) pairs."""
    for path in places(body):
        name = dotted(path)
        if name in required and not isinstance(path[-1], int):
            yield name, without(body, path)
        for value in wrong_values(name, at(body, path)):
            yield name, changed(body, path, value)
        if isinstance(at(body, path), dict):
            yield f"{name}.unheard_of", changed(body, (*path, "unheard_of"), 1)
    yield "unheard_of", {**body, "unheard_of": 1}


def send(client: Client, method: str, path: str, as_: str | None, body: Any) -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    return client.request(method, path.format(id=new_id()), as_=as_, data=data, headers=headers)


def problem_fields(response: requests.Response) -> set[str]:
    assert response.headers["Content-Type"] == "application/problem+json", response.text
    problem = response.json()
    assert problem["status"] == response.status_code and problem["title"]
    assert "Traceback" not in response.text
    return {error["field"] for error in problem.get("errors", [])}


@pytest.mark.parametrize("route", BODIES, ids=lambda route: " ".join(route))
def test_a_wrong_field_is_named(client: Client, route: tuple[str, str]) -> None:
    body, required, as_ = BODIES[route]
    wrong: list[str] = []
    for field, sent in mutations(body, required):
        response = send(client, *route, as_, sent)
        if response.status_code not in (400, 422) or field not in problem_fields(response):
            wrong.append(f"{field}: {json.dumps(sent)[:300]} -> {response.status_code} {response.text[:300]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("route", [r for r in BODIES if r[1] != "/api/sessions"], ids=lambda route: " ".join(route))
def test_hostile_text_breaks_nothing(client: Client, route: tuple[str, str]) -> None:
    body, _, as_ = BODIES[route]
    texts = [path for path in places(body) if isinstance(at(body, path), str)]
    for path in texts:
        for text in HOSTILE:
            response = send(client, *route, as_, changed(body, path, text))
            assert response.status_code < 500, f"{dotted(path)}: {text!r} -> {response.text}"


@pytest.mark.parametrize("route", BODIES, ids=lambda route: " ".join(route))
def test_a_body_that_is_not_json_is_said_to_be_so(client: Client, route: tuple[str, str]) -> None:
    body, _, as_ = BODIES[route]
    text = json.dumps(body).encode()
    for raw in (b"{", b"\xff\xfe", text[:-1], b'{"a":NaN}', b"[" * 30_000, text.decode().encode("utf-16"), text * 2):
        assert send(client, *route, as_, raw).status_code == 400, raw[:40]
    for value in (None, [], "x", 1, True):
        response = send(client, *route, as_, value)
        assert response.status_code == 422 and problem_fields(response) == {"body"}
    twice = b'{"x":1,' + text[1:-1] + b',"x":1}'
    assert send(client, *route, as_, twice).status_code == 400
    assert send(client, *route, as_, b" " * 70_000 + text).status_code == 413
    path = route[1].format(id=new_id())
    form = client.request(route[0], path, as_=as_, data=text, headers={"Content-Type": "text/plain"})
    assert form.status_code == 415 and not problem_fields(form)


QUERIES: dict[str, tuple[str, str | None]] = {
    "/api/orders": ("operator", "status"), "/api/visits": ("dispatcher", "state"), "/api/jobs": ("kim", "date"),
    "/api/ops/fallouts": ("operator", None), "/api/ops/parked": ("operator", None),
    "/api/ops/at-risk": ("operator", None),
}


@pytest.mark.parametrize("path", QUERIES)
def test_a_wrong_query_parameter_is_named(client: Client, path: str) -> None:
    as_, own = QUERIES[path]
    wrong = [("limit", value) for value in ("0", "-1", "201", "x", "1.5", "", "9" * 4000, "%00", "1&limit=2", "%FF")]
    wrong += [("cursor", value) for value in ("x", "", "%00", "A" * 600, "W10", "W251bGxd", "bnVsbA", "%FF%FE", "ö")]
    if own is not None:
        wrong += [(own, value) for value in ("nope", "", "%00", "x" * 2000, "%F0%9F%98%80", "'; --")]
    for name, value in wrong:
        response = client.request("GET", f"{path}?{name}={value}", as_=as_)
        assert response.status_code == 422 and problem_fields(response) == {name}, f"{name}={value}: {response.text}"
    answer = client.call("GET", f"{path}?limit=200&unheard_of=1", as_=as_)
    assert {"items", "next_cursor"} <= set(answer)


def test_an_id_that_cannot_be_an_id_is_not_found(client: Client) -> None:
    for text in ("x", "1", "%00", "%F0%9F%98%80", "0" * 300, "00000000-0000-4000-8000-000000000000", "..%2f..", "%ff"):
        for path in ("/api/orders/{}", "/api/orders/{}/stream", "/api/visits/{}/windows"):
            response = client.request("GET", path.format(text), as_="operator")
            assert response.status_code in (400, 404), f"{path} {text}: {response.status_code}"
            problem_fields(response)
        assert client.request("DELETE", f"/api/ops/parked/{text}", as_="operator").status_code in (400, 404)


def test_a_wrong_idempotency_key_is_named(client: Client) -> None:
    for key in ("x" * 256, "\x80\x81", "tab\tinside"):
        response = client.request("POST", "/api/orders", json=an_order(), headers={"Idempotency-Key": key})
        assert response.status_code in (400, 422), response.text
        if response.status_code == 422:
            assert problem_fields(response) == {"Idempotency-Key"}


def test_a_wrong_authorization_is_refused(client: Client) -> None:
    for value in ("Bearer", "Bearer x", "Basic b3BlcmF0b3I6eA==", "Bearer a.b.c", "Bearer \x80", "x" * 8000, ""):
        response = client.request("GET", "/api/orders", headers={"Authorization": value})
        assert response.status_code in (400, 401, 431), f"{value[:20]!r}: {response.status_code}"


def test_a_method_that_a_path_does_not_answer_is_405(system: System) -> None:
    response = requests.delete(f"{system.url}/api/orders", timeout=10)
    assert response.status_code == 405 and "GET" in response.headers["Allow"]
    assert response.headers["X-Request-ID"]
    assert requests.get(f"{system.url}/api/nothing", timeout=10).status_code == 404
