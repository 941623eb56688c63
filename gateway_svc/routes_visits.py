"""Routes of the call centre: the call queue, calls, windows, appointments, technicians."""

from __future__ import annotations

from typing import Any

from chassis.rpc_client import RpcClient
from contracts.ids import new_id
from gateway_svc import answers, ordering, schemas
from gateway_svc.intake import Intake
from gateway_svc.routing import DISPATCH, Answer, Call, one_page, route

_CONFLICT = frozenset({409})


class VisitRoutes:
    """Visits, all of which scheduling_svc knows."""

    intake: Intake
    order: RpcClient
    scheduling: RpcClient

    @route("GET", "/api/visits", roles=DISPATCH, tag="visits", query=schemas.VisitsQuery,
           answers={200: answers.VisitList})
    def list_visits(self, call: Call) -> Any:
        """The call queue: whom to call next, why, how often tried."""
        return self.scheduling.call("list_visits", **call.query.model_dump())

    @route("POST", "/api/visits/<order_id>/calls", roles=DISPATCH, tag="visits", body=schemas.RecordCall,
           answers={201: answers.Visit}, problems=_CONFLICT)
    def record_call(self, call: Call) -> Answer:
        """Record a call to the customer and what came of it."""
        visit = self.scheduling.call(
            "record_call", order_id=call.order, by=call.by.subject, call_id=str(new_id()),
            **call.body.model_dump(mode="json"),
        )
        return Answer(201, visit)

    @route("POST", "/api/visits/<order_id>/claim", roles=DISPATCH, tag="visits", answers={200: answers.Visit},
           problems=_CONFLICT)
    def claim_visit(self, call: Call) -> Any:
        """Say that you are on the phone with this customer, or still are; 409 where somebody else is."""
        return self.scheduling.call("claim_visit", order_id=call.order, by=call.by.subject)

    @route("DELETE", "/api/visits/<order_id>/claim", roles=DISPATCH, tag="visits", answers={200: answers.Visit})
    def release_visit(self, call: Call) -> Any:
        """End your claim, if there is one; somebody else's stays."""
        return self.scheduling.call("release_visit", order_id=call.order, by=call.by.subject)

    @route("POST", "/api/visits/next-claim", roles=DISPATCH, tag="visits", answers={200: answers.Visit, 204: None})
    def claim_next_visit(self, call: Call) -> Answer:
        """Claim whoever should be called first and is called by nobody; 204 where nobody waits."""
        visit = self.scheduling.call("claim_next", by=call.by.subject)
        return Answer(204 if visit is None else 200, visit)

    @route("GET", "/api/visits/<order_id>/windows", roles=DISPATCH | {"subscriber"}, owner=True, tag="visits",
           query=schemas.WindowsQuery, answers={200: answers.WindowList}, problems=_CONFLICT)
    def list_windows(self, call: Call) -> Any:
        """Free visit windows, each with the technicians who could come."""
        query: schemas.WindowsQuery = call.query
        windows = self._of_visit(call, "free_windows", from_=query.from_, to=query.to)
        return one_page(windows["items"])

    @route("PUT", "/api/visits/<order_id>/appointment", roles=DISPATCH | {"subscriber"}, owner=True, tag="visits",
           body=schemas.Appointment, answers={200: answers.Visit}, problems=_CONFLICT)
    def set_appointment(self, call: Call) -> Any:
        """Fix or move the visit; 409 where the window is taken."""
        return self._of_visit(call, "set_appointment", by=call.by.subject, **call.body.model_dump(mode="json"))

    @route("GET", "/api/technicians", roles=DISPATCH, tag="visits", answers={200: answers.TechnicianList})
    def list_technicians(self, call: Call) -> Any:
        """Technicians: names, skills, areas, shifts, load."""
        return one_page(self.scheduling.call("list_technicians")["items"])

    def _of_visit(self, call: Call, method: str, **arguments: Any) -> Any:
        assert call.order_id is not None
        return ordering.of_visit(
            self, call.by, call.order_id, lambda order_id: self.scheduling.call(method, order_id=order_id, **arguments)
        )
