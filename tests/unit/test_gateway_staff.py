"""The gateway's database may be slow: signing in and the audit log wait for it only so long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import eventlet
import pytest

from chassis import clock
from contracts.errors import Unavailable
from gateway_svc import service, staff
from gateway_svc.auth import Caller
from gateway_svc.service import GatewayService


class FrozenDatabase:
    """Takes every question and answers none."""

    @contextmanager
    def read(self) -> Iterator[None]:
        eventlet.sleep(60)
        yield None

    transaction = read


class Log:
    def __init__(self) -> None:
        self.errors: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **values: Any) -> None:
        self.errors.append((event, values))


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> GatewayService:
    monkeypatch.setattr(service, "DATABASE_TIMEOUT_S", 0.05)
    gateway = GatewayService()
    gateway.database, gateway.logging = FrozenDatabase(), Log()
    return gateway


def test_what_was_done_is_logged_where_the_database_does_not_take_it(gateway: GatewayService) -> None:
    caller = Caller("anna", "dispatcher", clock.utc_now() + timedelta(hours=1))
    with eventlet.Timeout(5):
        gateway.audit(caller, "call_next", None, 200)
    ((event, record),) = gateway.logging.errors
    assert event == "audit_record_not_stored" and (record["username"], record["action"]) == ("anna", "call_next")


def test_signing_in_is_refused_where_the_database_does_not_answer(gateway: GatewayService) -> None:
    with eventlet.Timeout(5), pytest.raises(Unavailable) as refused:
        gateway._staff_user("anna")
    assert refused.value.retry_after_s == 5.0


def test_a_deadline_of_the_caller_is_not_taken_for_the_databases() -> None:
    with pytest.raises(eventlet.Timeout), eventlet.Timeout(0.01), staff.answering(5.0, "the audit log"):
        eventlet.sleep(60)
