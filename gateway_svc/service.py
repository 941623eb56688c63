"""gateway: the HTTP interface. Entrypoints only; the routes stand in `routes_*.py`, by subject.

It answers no RPC and consumes no events, so it starts and takes orders while the broker and its database are away.
"""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any
from uuid import UUID

from werkzeug.wrappers import Request, Response

from chassis import clock
from chassis.db import Store
from chassis.loop import loop
from chassis.pruning import Pruner
from chassis.rpc_client import RpcClient
from chassis.service import OperatedService
from contracts.errors import Unauthenticated, Unavailable, from_rpc
from contracts.ids import new_id
from gateway_svc import (
    answers,
    models,
    openapi,
    pruning,
    routes_jobs,
    routes_ops,
    routes_orders,
    routes_parked,
    routes_visits,
    schemas,
    staff,
)
from gateway_svc.auth import Caller
from gateway_svc.changes import Changes
from gateway_svc.extensions import IntakeProvider, LimitsProvider, PasswordsProvider, TokensProvider
from gateway_svc.feeds import FeedsProvider
from gateway_svc.intake import FORWARD_LOOP
from gateway_svc.pages import dispatch, my_sign_in, mypage, operations, sign_in, signup, technician
from gateway_svc.routing import ROUTES, Answer, Call, Route, route

VERSION = "1.0.0"
DATABASE_TIMEOUT_S = 5.0
"""Of signing in, and of writing down who did what: longer than a page's parts have, shorter than people wait."""

# Not routes of ours: every service answers these.
OPERATED = [
    Route("GET", "/livez", "livez", "Whether the process lives", "operations", answers={200: answers.Thing},
          problems=frozenset({503})),
    Route("GET", "/readyz", "readyz", "Whether it can take requests", "operations", answers={200: answers.Thing},
          problems=frozenset({503})),
    Route("GET", "/metrics", "metrics", "Prometheus metrics", "operations", answers={200: None},
          media_type="text/plain"),
]


# The mixins are named through their modules: `nameko run` would take an imported class with entrypoints for a service.
class GatewayService(
    routes_orders.OrderRoutes, routes_visits.VisitRoutes, routes_jobs.JobRoutes, routes_ops.OpsRoutes,
    routes_parked.ParkedRoutes, sign_in.SignInPages, dispatch.DispatchPages, operations.OperationsPages,
    technician.TechnicianPages, signup.SignUpPages, my_sign_in.OrderSignInPages, mypage.MyPages,
    OperatedService,
):
    """All of API.md, and the pages. `database` is for staff only, so it does not decide whether orders can be taken."""

    name = "gateway"
    readiness_ignores = frozenset({"database"})

    database = Store(models.Base)
    pruner = Pruner(pruning.AUDIT_LOG)
    intake = IntakeProvider()
    tokens = TokensProvider()
    passwords = PasswordsProvider()
    limits = LimitsProvider()
    changes = Changes()
    feeds = FeedsProvider()
    order = RpcClient("order", errors=from_rpc)
    activation = RpcClient("activation", errors=from_rpc)
    scheduling = RpcClient("scheduling", errors=from_rpc)
    fieldwork = RpcClient("fieldwork", errors=from_rpc)
    mypage = RpcClient("mypage", errors=from_rpc)

    @loop(FORWARD_LOOP, workers=1, idle_s=0.5)
    def forward_journal(self) -> bool:
        """Pass journalled orders and cancels on to order_svc, in order."""
        more: bool = self.intake.forward(self.order)
        if not more:
            self.intake.purge(timedelta(days=float(self.settings.get("JOURNAL_KEEP_DAYS", 30))))
        return more

    @route("POST", "/api/sessions", tag="sessions", body=schemas.SignIn, answers={201: answers.Session},
           problems=frozenset({401, 429, 503}))
    def sign_in(self, call: Call) -> Answer:
        """Sign in as staff; repeated failures lock the caller out for a while."""
        caller = self.staff_caller(call.body, call.request)
        content = {
            "token": self.tokens.issue(caller, clock.utc_now()), "role": caller.role, "expires_at": caller.expires_at
        }
        return Answer(201, content)

    def staff_caller(self, wanted: schemas.SignIn, request: Request) -> Caller:
        """Whom this name and password belong to. Raises Unauthenticated, TooManyRequests, Unavailable."""
        with self.limits.sign_in(self.limits.address(request), wanted.username) as judged:
            user = self._staff_user(wanted.username)
            matches = self.passwords.matches(user.password_hash if user else None, wanted.password)
            judged(matches)
        if user is None or not matches:
            raise Unauthenticated("the user name or the password is wrong")
        hours = float(self.settings.get("STAFF_TOKEN_HOURS", 12))
        expires_at = (clock.utc_now() + timedelta(hours=hours)).replace(microsecond=0)
        caller = Caller(user.username, user.role, expires_at, technician_id=user.technician_id)
        self.audit(caller, "sign_in", None, 201)
        return caller

    @route("GET", "/openapi.json", tag="documents", answers={200: answers.Thing})
    def show_openapi(self, call: Call) -> Any:
        """This interface as an OpenAPI 3.1 document."""
        return document()

    @route("GET", "/docs", tag="documents", answers={200: None}, media_type="text/html")
    def show_docs(self, call: Call) -> Response:
        """This interface as a page to read."""
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return Response(openapi.page(document()), mimetype="text/html", headers=headers)

    def audit(
        self, caller: Caller, action: str, order_id: UUID | None, status: int, target: str | None = None
    ) -> None:
        """Write down who did what; where the database is away or slow, the log keeps it."""
        record: dict[str, Any] = {
            "username": caller.subject, "role": caller.role, "action": action, "order_id": order_id, "status": status,
            "target": target,
        }
        try:
            with staff.answering(DATABASE_TIMEOUT_S, "the audit log"), self.database.transaction() as tx:
                staff.audit(tx.conn, key=new_id(), at=tx.now, **record)
        except Unavailable as exc:
            self.logging.error("audit_record_not_stored", error=str(exc), **record)

    def _staff_user(self, username: str) -> staff.StaffUser | None:
        with staff.answering(DATABASE_TIMEOUT_S, "the list of staff"), self.database.read() as conn:
            return staff.find(conn, username)


@functools.cache
def document() -> dict[str, Any]:
    """The OpenAPI document of the whole interface."""
    return openapi.document([*ROUTES, *OPERATED], VERSION)
