"""Routes of the technicians: the day's jobs, start, complete, reject."""

from __future__ import annotations

from typing import Any

from chassis.rpc_client import RpcClient
from contracts.rejection import REJECTION_REASONS
from contracts.rpc import Job
from gateway_svc import answers, schemas
from gateway_svc.routing import DISPATCH, FIELD, Call, one_page, route

_CONFLICT = frozenset({409})


class JobRoutes:
    """Jobs, all of which fieldwork_svc knows. A technician acts on their own jobs only; fieldwork_svc holds that."""

    fieldwork: RpcClient

    @route("GET", "/api/rejection-reasons", tag="jobs", answers={200: answers.RejectionReasonList})
    def list_rejection_reasons(self, call: Call) -> Any:
        """The codes with which a job can be rejected (반송)."""
        return one_page({"code": code, **texts} for code, texts in REJECTION_REASONS.items())

    @route("GET", "/api/jobs", roles=DISPATCH | {"technician"}, tag="jobs", query=schemas.JobsQuery,
           answers={200: answers.JobList})
    def list_jobs(self, call: Call) -> Any:
        """The day's jobs; a technician sees their own."""
        return self.fieldwork.call(
            "list_jobs", technician_id=call.by.technician_id, **call.query.model_dump(mode="json")
        )

    @route("POST", "/api/jobs/<order_id>/start", roles=FIELD, tag="jobs", answers={200: Job},
           problems=_CONFLICT)
    def start_job(self, call: Call) -> Any:
        """The technician is on site."""
        return self.fieldwork.call("start_job", order_id=call.order, technician_id=self._technician(call))

    @route("POST", "/api/jobs/<order_id>/complete", roles=FIELD, tag="jobs", body=schemas.CompleteJob,
           answers={200: Job}, problems=_CONFLICT)
    def complete_job(self, call: Call) -> Any:
        """The installation is done; from here nothing is undone."""
        return self.fieldwork.call(
            "complete_job", order_id=call.order, technician_id=self._technician(call),
            **call.body.model_dump(mode="json"),
        )

    @route("POST", "/api/jobs/<order_id>/reject", roles=FIELD, tag="jobs", body=schemas.RejectJob,
           answers={200: Job}, problems=_CONFLICT)
    def reject_job(self, call: Call) -> Any:
        """The installation cannot be done (반송): everything goes back."""
        return self.fieldwork.call(
            "reject_job", order_id=call.order, technician_id=self._technician(call),
            **call.body.model_dump(mode="json"),
        )

    def _technician(self, call: Call) -> str:
        """Who does the job: the technician of the token; an operator stands in for the one it is assigned to."""
        if call.by.technician_id is not None:
            return call.by.technician_id
        return str(self.fieldwork.call("get_job", order_id=call.order)["technician_id"])
