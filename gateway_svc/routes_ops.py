"""Routes of the operators: fallouts, orders at risk, what happened to an order, the overview."""

from __future__ import annotations

from typing import Any

from eventlet import GreenPool

from chassis.db import StoreSession
from chassis.rpc_client import RpcClient
from gateway_svc import answers, schemas, trace_parts
from gateway_svc.intake import Intake
from gateway_svc.operated import UNREACHABLE, Operated
from gateway_svc.routing import OPERATOR, Answer, Call, route

_CONFLICT = frozenset({409})


class OpsRoutes(Operated):
    """What needs a person, over all services. A service that does not answer is named, not waited for."""

    intake: Intake
    settings: dict[str, Any]
    database: StoreSession

    @route("GET", "/api/ops/fallouts", roles=OPERATOR, tag="operations", query=schemas.ListQuery,
           answers={200: answers.FalloutList})
    def list_fallouts(self, call: Call) -> Any:
        """Orders that need a person: why, and what was tried."""
        return self.activation.call("list_fallouts", **call.query.model_dump())

    @route("POST", "/api/ops/fallouts/<order_id>/retry", roles=OPERATOR, tag="operations",
           query=schemas.RetryQuery, answers={202: answers.Thing}, problems=_CONFLICT)
    def retry_fallout(self, call: Call) -> Answer:
        """Try again to provision an order in fallout; with `another_port` on another service port."""
        result = self.activation.call(
            "retry_fallout", order_id=call.order, by=call.by.subject, another_port=call.query.another_port
        )
        return Answer(202, result or {})

    @route("POST", "/api/ops/fallouts/<order_id>/abandon", roles=OPERATOR, tag="operations", body=schemas.Abandon,
           body_optional=True, answers={202: answers.Thing}, problems=_CONFLICT)
    def abandon_fallout(self, call: Call) -> Answer:
        """Give an order in fallout up: what was provisioned is put back."""
        result = self.activation.call(
            "abandon_fallout", order_id=call.order, by=call.by.subject, reason=call.body.reason
        )
        return Answer(202, result or {})

    @route("GET", "/api/ops/overview", roles=OPERATOR, tag="operations", answers={200: answers.Overview})
    def show_overview(self, call: Call) -> Any:
        """Breakers, queue depths, outbox and journal lag, the oldest open order of each step."""
        timeout_s = self._timeout_s
        pool = GreenPool()
        overviews = {name: pool.spawn(_overview, client, timeout_s) for name, client in self.services.items()}
        counted = pool.spawn(_counts, self.mypage, timeout_s)
        orders: list[dict[str, Any]] | None = counted.wait()
        return {
            "services": {name: answer.wait() for name, answer in overviews.items()},
            "breakers": {name: client.breaker_state for name, client in self.services.items()},
            "journal": self.intake.lag(),
            "orders": orders,
            "oldest_open": [
                {"status": item["status"], "order_id": item["oldest_order_id"], "since": item["oldest_at"]}
                for item in orders or () if item["oldest_at"] is not None
            ],
        }

    @route("GET", "/api/ops/at-risk", roles=OPERATOR, tag="operations", query=schemas.ListQuery,
           answers={200: answers.AtRiskList})
    def list_at_risk(self, call: Call) -> Any:
        """Orders that have waited too long, who has waited longest first: why, and since when."""
        return self.mypage.call("list_at_risk", **call.query.model_dump())

    @route("GET", "/api/ops/orders/<order_id>/trace", roles=OPERATOR, tag="operations",
           answers={200: answers.OrderTrace})
    def show_trace(self, call: Call) -> Any:
        """What happened to an order, from all services as one list: messages, calls, attempts, what staff did."""
        assert call.order_id is not None
        sources = trace_parts.Sources(self.services, self.intake.journal, self.database)
        return trace_parts.of_order(sources, call.order_id, self._timeout_s)

    @property
    def _timeout_s(self) -> float:
        return float(self.settings.get("OVERVIEW_TIMEOUT_S", 3.0))


def _overview(client: RpcClient, timeout_s: float) -> dict[str, Any]:
    try:
        return {"status": "ok", **client.call("overview", timeout_s=timeout_s)}
    except UNREACHABLE as exc:
        return {"status": "unreachable", "detail": str(exc)[:500]}


def _counts(mypage: RpcClient, timeout_s: float) -> list[dict[str, Any]] | None:
    """Orders under way by status and age; None where mypage does not answer."""
    try:
        counted: list[dict[str, Any]] = mypage.call("count_orders", timeout_s=timeout_s)["items"]
    except UNREACHABLE:
        return None
    return counted
