"""Tokens, passwords and the table of roles: who may do what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import jwt
import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from contracts.errors import DomainError, Forbidden, Unauthenticated
from contracts.ids import new_id
from gateway_svc import service
from gateway_svc.auth import ROLES, Caller, Passwords, Role, Tokens, subscriber
from gateway_svc.routing import ROUTES, Answer, Route, _handle

KEY = "k" * 32
OTHER_KEY = "o" * 32
NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)

# API.md, written out a second time: who may call what. "owner" is the subscriber of that very order.
ALLOWED: dict[tuple[str, str], set[str]] = {
    ("POST", "/api/sessions"): {"anyone"},
    ("GET", "/api/products"): {"anyone"},
    ("GET", "/api/rejection-reasons"): {"anyone"},
    ("GET", "/openapi.json"): {"anyone"},
    ("GET", "/docs"): {"anyone"},
    ("POST", "/api/orders"): {"anyone"},
    ("GET", "/api/orders"): {"subscriber", "dispatcher", "technician", "operator"},
    ("GET", "/api/orders/<order_id>"): {"owner", "dispatcher", "technician", "operator"},
    ("GET", "/api/orders/<order_id>/stream"): {"owner", "dispatcher", "technician", "operator"},
    ("POST", "/api/orders/<order_id>/cancel"): {"owner", "operator"},
    ("GET", "/api/visits"): {"dispatcher", "operator"},
    ("POST", "/api/visits/<order_id>/calls"): {"dispatcher", "operator"},
    ("GET", "/api/visits/<order_id>/windows"): {"owner", "dispatcher", "operator"},
    ("PUT", "/api/visits/<order_id>/appointment"): {"owner", "dispatcher", "operator"},
    ("POST", "/api/visits/<order_id>/claim"): {"dispatcher", "operator"},
    ("DELETE", "/api/visits/<order_id>/claim"): {"dispatcher", "operator"},
    ("POST", "/api/visits/next-claim"): {"dispatcher", "operator"},
    ("GET", "/api/technicians"): {"dispatcher", "operator"},
    ("GET", "/api/jobs"): {"technician", "dispatcher", "operator"},
    ("POST", "/api/jobs/<order_id>/start"): {"technician", "operator"},
    ("POST", "/api/jobs/<order_id>/complete"): {"technician", "operator"},
    ("POST", "/api/jobs/<order_id>/reject"): {"technician", "operator"},
    ("POST", "/api/jobs/<order_id>/photos"): {"technician", "operator"},
    ("GET", "/api/jobs/<order_id>/photos"): {"technician", "dispatcher", "operator"},
    ("GET", "/api/jobs/<order_id>/photos/<photo_id>"): {"technician", "dispatcher", "operator"},
    ("GET", "/api/ops/fallouts"): {"operator"},
    ("POST", "/api/ops/fallouts/<order_id>/retry"): {"operator"},
    ("POST", "/api/ops/fallouts/<order_id>/abandon"): {"operator"},
    ("GET", "/api/ops/parked"): {"operator"},
    ("POST", "/api/ops/parked/<message_id>/replay"): {"operator"},
    ("DELETE", "/api/ops/parked/<message_id>"): {"operator"},
    ("GET", "/api/ops/overview"): {"operator"},
    ("GET", "/api/ops/at-risk"): {"operator"},
    ("GET", "/api/ops/orders/<order_id>/trace"): {"operator"},
}

BODIES: dict[str, Any] = {
    "SignIn": {"username": "kim", "password": "x"},
    "OrderRequest": {
        "customer": {"name": "김하늘", "phone": "010-1234-5678"},
        "address": {"postcode": "06236", "line1": "테헤란로 1"},
        "items": [{"product": "internet-500", "quantity": 1}],
    },
    "Cancel": {},
    "RecordCall": {"outcome": "no_answer"},
    "Appointment": {"window_start": "2026-11-26T00:00:00Z", "window_end": "2026-11-26T02:00:00Z"},
    "CompleteJob": {"results": {"ont_serial": "ABCD12345678", "rx_power_dbm": -18.5, "down_mbps": 500}},
    "RejectJob": {"reason_code": "no_power"},
    "Abandon": {},
}


def a_caller(role: Role, order_id: UUID | None = None) -> Caller:
    return Caller(
        "somebody", role, datetime(2099, 1, 1, tzinfo=UTC), order_id=order_id,
        technician_id="tech-kim" if role == "technician" else None,
    )


def outcome(entry: Route, order_id: UUID, caller: Caller | None) -> str:
    """`ok`, or the name of the error, of a call that is right in everything but who calls."""
    tokens = Tokens([KEY])
    headers = {"Authorization": f"Bearer {tokens.issue(caller, NOW)}"} if caller else {}
    json = BODIES[entry.body.__name__] if entry.body else None
    builder = EnvironBuilder(method=entry.method, path="/", headers=headers, json=json)
    values = {name: str(order_id) for name in entry.parameters}
    gate = SimpleNamespace(tokens=tokens, audit=lambda *record, **more: None)
    try:
        _handle(gate, entry, lambda service, call: Answer(200, {}), Request(builder.get_environ()), values)
    except DomainError as error:
        return type(error).__name__
    return "ok"


def test_the_table_of_routes_is_the_one_of_the_interface_description() -> None:
    assert {(route.method, route.path) for route in ROUTES} == set(ALLOWED)
    assert service.GatewayService.name == "gateway"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_each_route_answers_exactly_the_roles_of_the_interface_description(route: Route) -> None:
    allowed = ALLOWED[route.method, route.path]
    order_id, another = new_id(), new_id()

    nobody = outcome(route, order_id, None)
    assert nobody == ("ok" if "anyone" in allowed else "Unauthenticated")
    for role in sorted(ROLES - {"subscriber"}):
        expected = "ok" if allowed & {role, "anyone"} else "Forbidden"
        assert outcome(route, order_id, a_caller(role)) == expected, role
    owner = outcome(route, order_id, a_caller("subscriber", order_id))
    assert owner == ("ok" if allowed & {"owner", "subscriber", "anyone"} else "Forbidden")
    stranger = outcome(route, order_id, a_caller("subscriber", another))
    assert stranger == ("ok" if allowed & {"subscriber", "anyone"} else "Forbidden")


def test_a_token_says_who_its_bearer_is() -> None:
    tokens = Tokens([KEY])
    order_id = new_id()
    caller = subscriber(order_id, NOW, days=90)

    assert tokens.read(tokens.issue(caller, NOW), NOW) == caller
    assert tokens.issue(caller, NOW) == tokens.issue(caller, NOW)
    kim = Caller("kim", "technician", NOW + timedelta(hours=12), technician_id="tech-kim")
    assert tokens.read(tokens.issue(kim, NOW), NOW) == kim


def test_a_token_ends_with_its_time() -> None:
    tokens = Tokens([KEY])
    token = tokens.issue(Caller("kim", "operator", NOW + timedelta(hours=1)), NOW)

    assert tokens.read(token, NOW + timedelta(minutes=59)).subject == "kim"
    with pytest.raises(Unauthenticated, match="expired"):
        tokens.read(token, NOW + timedelta(hours=1))


def test_old_keys_verify_until_they_are_taken_off_the_list() -> None:
    token = Tokens([OTHER_KEY]).issue(a_caller("operator"), NOW)

    assert Tokens.from_text(f"{KEY}, {OTHER_KEY}").read(token, NOW).role == "operator"
    with pytest.raises(Unauthenticated, match="key"):
        Tokens([KEY]).read(token, NOW)


@pytest.mark.parametrize("text", ["", "short", f"{'k' * 32},short"])
def test_weak_or_missing_keys_are_refused_at_start(text: str) -> None:
    with pytest.raises(ValueError, match="TOKEN_KEY"):
        Tokens.from_text(text)


def test_forged_and_broken_tokens_are_refused() -> None:
    tokens = Tokens([KEY])
    real = tokens.issue(a_caller("subscriber", new_id()), NOW)
    header, payload, signature = real.split(".")
    kid = jwt.get_unverified_header(real)["kid"]
    claims = {"iss": "oss-gateway", "sub": "x", "role": "operator", "iat": 1, "exp": 9999999999}
    forged = [
        "", "x", "a.b.c", "..", f"{header}.{payload}.", f"{header}.{payload}x.{signature}", real[:-2],
        jwt.encode(claims, "w" * 32, "HS256", headers={"kid": kid}),
        jwt.encode(claims, None, "none", headers={"kid": kid}),
        jwt.encode({**claims, "role": "root"}, KEY, "HS256", headers={"kid": kid}),
        jwt.encode({**claims, "iss": "somebody"}, KEY, "HS256", headers={"kid": kid}),
        jwt.encode({k: v for k, v in claims.items() if k != "exp"}, KEY, "HS256", headers={"kid": kid}),
        jwt.encode({**claims, "order_id": "no uuid"}, KEY, "HS256", headers={"kid": kid}),
        "é" * 10,
    ]
    # Also where the real one is known, and more than once: a good token is remembered, a bad one is not.
    tokens.read(real, NOW)
    for token in forged * 2:
        with pytest.raises(Unauthenticated):
            tokens.read(token, NOW)


def test_a_subscriber_owns_one_order_and_staff_every() -> None:
    mine, other = new_id(), new_id()
    a_caller("subscriber", mine).check_owns(mine)
    a_caller("operator").check_owns(other)
    with pytest.raises(Forbidden):
        a_caller("subscriber", mine).check_owns(other)


def test_a_password_matches_only_its_own_hash() -> None:
    passwords = Passwords()
    stored = passwords.hash("correct horse")

    assert stored.startswith("$argon2id$")
    assert passwords.matches(stored, "correct horse")
    assert not passwords.matches(stored, "wrong horse")
    assert not passwords.matches(None, "nobody signs in with this")
    assert not passwords.matches("no hash at all", "x")
