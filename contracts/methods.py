"""The typed side of RPC: which arguments and answers are values of `contracts`, method by method.

For documents and for clients in other languages (`tools.render_asyncapi`). What is not here is plain JSON, as described
in `contracts.rpc` and in the service's canvas. A service may answer more fields than these: ignore them.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from contracts.day_board import DayBoard
from contracts.rpc import (
    AtRisk,
    Audit,
    Fallout,
    Finding,
    Job,
    OrderPage,
    Photo,
    PlaceOrder,
    PlaceOrderResult,
    Repaired,
    VisitAnswer,
    VisitRequest,
    VisitResult,
)

T = TypeVar("T")


class Paged(BaseModel, Generic[T]):
    """One page of a list; `next_cursor` is opaque and None on the last page."""

    items: list[T]
    next_cursor: str | None = None


class Listed(BaseModel, Generic[T]):
    """A whole list."""

    items: list[T]


ARGUMENTS: dict[str, dict[str, Any]] = {
    "order.place_orders": {"orders": list[PlaceOrder]},
    "scheduling.request_visit": {name: field.annotation for name, field in VisitRequest.model_fields.items()},
    "scheduling.request_visits": {"requests": list[VisitRequest]},
    "activation.repair": {"findings": list[Finding]},
}
"""By `service.method`: the types of arguments, where the method's own signature says less."""

ANSWERS: dict[str, Any] = {
    "order.place_orders": list[PlaceOrderResult],
    "activation.list_fallouts": Paged[Fallout],
    "activation.audit": Audit,
    "activation.repair": Listed[Repaired],
    "scheduling.request_visit": VisitAnswer,
    "scheduling.request_visits": list[VisitResult],
    "scheduling.day_board": DayBoard,
    "fieldwork.list_jobs": Paged[Job],
    "fieldwork.get_job": Job,
    "fieldwork.start_job": Job,
    "fieldwork.complete_job": Job,
    "fieldwork.reject_job": Job,
    "fieldwork.list_photos": Listed[Photo],
    "mypage.get_order": OrderPage,
    "mypage.list_orders": Paged[OrderPage],
    "mypage.list_at_risk": Paged[AtRisk],
}
"""By `service.method`: the type of the answer."""
