"""Who may open which page: written out a second time, and every page tried by everybody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from contracts.errors import DomainError
from contracts.ids import new_id
from gateway_svc import service
from gateway_svc.auth import ROLES, Caller, Role
from gateway_svc.pages.routing import PAGES
from gateway_svc.routing import Route

# "owner" is the subscriber of that very order.
ALLOWED: dict[tuple[str, str], set[str]] = {
    ("GET", "/"): {"anyone"},
    ("GET", "/signin"): {"anyone"},
    ("POST", "/signin"): {"anyone"},
    ("POST", "/signout"): {"dispatcher", "technician", "operator"},
    ("GET", "/signup"): {"anyone"},
    ("POST", "/signup"): {"anyone"},
    ("GET", "/my"): {"anyone"},
    ("POST", "/my"): {"anyone"},
    ("GET", "/my/<order_id>"): {"owner"},
    ("GET", "/my/<order_id>/events"): {"owner"},
    ("GET", "/my/<order_id>/visit"): {"owner"},
    ("POST", "/my/<order_id>/visit"): {"owner"},
    ("GET", "/my/<order_id>/cancel"): {"owner"},
    ("POST", "/my/<order_id>/cancel"): {"owner"},
    ("POST", "/my/<order_id>/signout"): {"owner"},
    ("GET", "/dispatch"): {"dispatcher", "operator"},
    ("GET", "/dispatch/events"): {"dispatcher", "operator"},
    ("POST", "/dispatch/next"): {"dispatcher", "operator"},
    ("POST", "/dispatch/visits/<order_id>/claim"): {"dispatcher", "operator"},
    ("POST", "/dispatch/visits/<order_id>/renew"): {"dispatcher", "operator"},
    ("POST", "/dispatch/visits/<order_id>/release"): {"dispatcher", "operator"},
    ("POST", "/dispatch/visits/<order_id>/call"): {"dispatcher", "operator"},
    ("POST", "/dispatch/visits/<order_id>/move"): {"dispatcher", "operator"},
    ("GET", "/tech"): {"technician"},
    ("GET", "/tech/events"): {"technician"},
    ("GET", "/tech/session"): {"technician"},
    ("GET", "/tech/offline"): {"anyone"},
    ("GET", "/tech/jobs/<order_id>"): {"technician"},
    ("POST", "/tech/jobs/<order_id>/start"): {"technician"},
    ("POST", "/tech/jobs/<order_id>/complete"): {"technician"},
    ("POST", "/tech/jobs/<order_id>/reject"): {"technician"},
    ("POST", "/tech/jobs/<order_id>/photos"): {"technician"},
    ("GET", "/tech/jobs/<order_id>/photos/<photo_id>"): {"technician"},
    ("GET", "/ops"): {"operator"},
    ("GET", "/ops/events"): {"operator"},
    ("GET", "/ops/search"): {"operator"},
    ("GET", "/ops/system"): {"operator"},
    ("GET", "/ops/audit"): {"operator"},
    ("GET", "/ops/orders/<order_id>"): {"operator"},
    ("POST", "/ops/orders/<order_id>"): {"operator"},
    ("GET", "/ops/orders/<order_id>/events"): {"operator"},
    ("POST", "/ops/orders/<order_id>/retry"): {"operator"},
    ("GET", "/ops/orders/<order_id>/abandon"): {"operator"},
    ("POST", "/ops/orders/<order_id>/abandon"): {"operator"},
    ("POST", "/ops/parked/<service>/<message_id>/replay"): {"operator"},
    ("GET", "/ops/parked/<service>/<message_id>/drop"): {"operator"},
    ("POST", "/ops/parked/<service>/<message_id>/drop"): {"operator"},
}

THEIRS, ANOTHERS = new_id(), new_id()


def _caller(role: Role, order_id: UUID | None = None) -> Caller:
    technician = "tech-kim" if role == "technician" else None
    return Caller("somebody", role, datetime.now(UTC) + timedelta(hours=1), order_id, technician)


def _may(entry: Route, caller: Caller | None, order_id: UUID) -> bool:
    try:
        entry.allows(caller)
        if entry.owner and caller is not None:
            caller.check_owns(order_id)
    except DomainError:
        return False
    return True


def test_the_table_knows_every_page() -> None:
    assert service.GatewayService.name == "gateway"
    assert {(entry.method, entry.path) for entry in PAGES} == set(ALLOWED)


@pytest.mark.parametrize("entry", PAGES, ids=lambda entry: f"{entry.method} {entry.path}")
def test_a_page_opens_for_whom_the_table_says_and_for_nobody_else(entry: Route) -> None:
    wanted = ALLOWED[entry.method, entry.path]
    callers: dict[str, Caller | None] = {role: _caller(role) for role in sorted(ROLES - {"subscriber"})}
    callers["owner"] = _caller("subscriber", THEIRS)
    allowed = {name for name, caller in callers.items() if _may(entry, caller, THEIRS)}
    assert allowed == (set(callers) if "anyone" in wanted else wanted)
    assert _may(entry, None, THEIRS) == ("anyone" in wanted)


@pytest.mark.parametrize("entry", [e for e in PAGES if "order_id" in e.path], ids=lambda e: f"{e.method} {e.path}")
def test_no_page_shows_one_subscriber_the_order_of_another(entry: Route) -> None:
    assert not _may(entry, _caller("subscriber", ANOTHERS), THEIRS)
