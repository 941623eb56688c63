"""The OpenAPI document says what the gateway does: schemathesis calls every operation and meets no 5xx."""

from __future__ import annotations

import json

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error

from gateway_svc.routing import ROUTES
from gateway_svc.service import document
from tests.harness.client import Client
from tools.system import System

EXAMPLES = 15


@pytest.fixture(scope="module")
def operator(running_system: System) -> dict[str, str]:
    running_system.start_all()
    client = Client(running_system.url, staff_password=running_system.env["STAFF_PASSWORD"])
    return {"Authorization": f"Bearer {client.login('operator')}"}


# Loaded from the code, so that pytest knows the operations before the system runs; a test below holds that it serves
# the same document. A stream has no end, and has tests of its own.
operations = schemathesis.openapi.from_dict(document()).exclude(path_regex="/stream$")


@operations.parametrize()
@settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
def test_no_request_meets_a_server_error(
    case: schemathesis.Case, running_system: System, operator: dict[str, str]
) -> None:
    response = case.call(base_url=running_system.url, headers=operator, timeout=30)
    case.validate_response(response, checks=[not_a_server_error])


def test_the_document_names_every_route_and_its_answers(system: System) -> None:
    served = requests.get(f"{system.url}/openapi.json", timeout=10).json()
    assert served == json.loads(json.dumps(document()))
    assert served["openapi"].startswith("3.1")
    for route in ROUTES:
        operation = served["paths"][route.path.replace("<", "{").replace(">", "}")][route.method.lower()]
        assert {str(status) for status in route.answers} <= set(operation["responses"])
        assert ("security" in operation) == bool(route.roles)
        assert ("requestBody" in operation) == bool(route.body or route.uploads)
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs"):
        assert path in served["paths"]
        assert requests.get(system.url + path, timeout=10).status_code == 200


def test_the_page_of_the_document_needs_no_other_host(system: System) -> None:
    page = requests.get(f"{system.url}/docs", timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "http://" not in page.text.replace(json.dumps(system.url), "") and "https://" not in page.text
    assert "<script" not in page.text
    assert all(route.path.replace("<", "{").replace(">", "}") in page.text for route in ROUTES)
