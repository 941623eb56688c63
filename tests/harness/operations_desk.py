"""The operations pages over stand-ins of the services: what each answers, or how it is silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import eventlet
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from chassis import clock
from chassis.rpc_client import DeadlineExceeded
from contracts.errors import NotFound
from contracts.ids import new_id
from gateway_svc.auth import Caller, Tokens
from gateway_svc.changes import Board
from gateway_svc.intake import Intake
from gateway_svc.pages import routing
from gateway_svc.pages.operations import OperationsPages

ORDER, MESSAGE = str(new_id()), str(new_id())
AT = "2026-11-26T00:00:00Z"
PAGE_S = 0.5
CUSTOMER = {"name": "김하늘", "phone": "010-1234-5678", "email": "sky@example.com"}
CASE = {
    "order_id": ORDER, "state": "fallout", "since": AT, "reason": "port <1/1/3> is locked", "element": "olt-1",
    "attempts": 3, "what_was_tried": [{"at": AT, "step": "apply", "element": "olt-1", "error": "locked",
                                       "ports": [{"element": "olt-1", "port": "1/1/3"}]}],
    "standing": [{"element": "olt-1", "key": "service-port/1/1/3"}],
    "actions": ["retry", "retry_on_another_port", "abandon"],
}  # fmt: skip
PARKED = {
    "message_id": MESSAGE, "order_id": ORDER, "event_type": "visit_scheduled", "queue": "fieldwork.events",
    "error": "boom", "attempts": 6, "parked_at": AT, "body": '{"phone": "010-1234-5678", "email": "sky@example.com"}',
}
NOTHING: dict[str, Any] = {"items": [], "next_cursor": None}


def an_order_page(**more: Any) -> dict[str, Any]:
    return {
        "order_id": ORDER, "status": "fallout", "customer": CUSTOMER, "items": [{"product": "tv-basic", "quantity": 1}],
        "address": {"postcode": "06236", "line1": "테헤란로 1", "line2": None}, "visit": None, "results": None,
        "rejection": None, "cancel_refused": False, "version": 2, "placed_at": AT, "updated_at": AT,
        "timeline": [{"at": AT, "event": "order_placed", "details": {}}],
    } | more


class Service:
    """One service: what it answers by method (a value, an error, or a function), or silence."""

    breaker_state = "closed"

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {
            "list_parked": NOTHING, "order_messages": {"sent": [], "handled": [], "parked": []},
            "overview": {"outbox": {"unsent": 0, "oldest_age_s": None}, "parked": 0, "breakers": {}, "queues": None,
                         "checks": {}, "info": {}},
        } | answers  # fmt: skip
        self.silent = False
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def call(self, method: str, timeout_s: float | None = None, **arguments: Any) -> Any:
        assert timeout_s is not None, "a page waits for nobody without a deadline"
        self.calls.append((method, arguments))
        if self.silent:
            eventlet.sleep(timeout_s)
            raise DeadlineExceeded("somebody", "no answer", 1.0)
        answer = self.answers.get(method, NotFound("not here"))
        if isinstance(answer, Exception):
            raise answer
        return answer(**arguments) if callable(answer) else answer


class Database:
    @contextmanager
    def read(self) -> Iterator[None]:
        yield None


class Desk(OperationsPages):
    """The pages over stand-ins."""

    def __init__(self, intake: Intake) -> None:
        self.settings = {"PAGE_TIMEOUT_S": PAGE_S}
        self.tokens = Tokens(["k" * 32])
        self.intake, self.changes, self.database = intake, Board(), Database()  # type: ignore[assignment]
        self.order, self.scheduling, self.fieldwork = Service(), Service(), Service()  # type: ignore[assignment]
        self.activation = Service(list_fallouts=NOTHING)  # type: ignore[assignment]
        self.mypage = Service(count_orders=NOTHING, list_at_risk=NOTHING, list_orders=NOTHING)  # type: ignore[assignment]

    def service(self, name: str) -> Any:
        return self.services[name]

    def open(self, handler: str, path: str = "/ops", form: dict[str, str] | None = None, **values: str) -> Response:
        environ = EnvironBuilder(path, method="POST" if form is not None else "GET", data=form or {},
                                 headers={"Accept-Language": "en"}).get_environ()  # fmt: skip
        caller = Caller("operator", "operator", clock.utc_now() + timedelta(hours=1))
        view = routing._view(self, Request(environ), caller, values, "v")  # type: ignore[arg-type]
        try:
            response: Response = getattr(OperationsPages, handler).__wrapped__(self, view)
        except NotFound as error:
            return routing.error_page(view, error)
        return response

    def read(self, *arguments: Any, **values: Any) -> str:
        return self.open(*arguments, **values).get_data(as_text=True)
