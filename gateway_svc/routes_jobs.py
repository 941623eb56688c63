"""Routes of the technicians: the day's jobs, start, complete, reject, photos."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from werkzeug.wrappers import Response

from chassis.rpc_client import RpcClient
from contracts.rejection import REJECTION_REASONS
from contracts.rpc import PHOTO_BYTES_MAX, PHOTO_TYPES, Job
from gateway_svc import answers, schemas, wire
from gateway_svc.routing import DISPATCH, FIELD, Answer, Call, one_page, route

_CONFLICT = frozenset({409})


def picture(photo: dict[str, str]) -> Response:
    """The answer that shows a photo. Whatever a stranger's bytes are, a browser takes them for a picture only."""
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, no-store",
    }
    return Response(b64decode(photo["content_b64"]), mimetype=photo["media_type"], headers=headers)


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

    @route("POST", "/api/jobs/<order_id>/photos", roles=FIELD, tag="jobs", uploads=PHOTO_TYPES,
           max_body=PHOTO_BYTES_MAX, headers=("Photo-Id",), answers={201: answers.PhotoKept}, problems=_CONFLICT)
    def add_photo(self, call: Call) -> Answer:
        """A photo of the site: the body is the picture. Sent again with the same Photo-Id, it is kept once."""
        photo_id = wire.uuid_from_header(call.request, "Photo-Id")
        content = wire.read_upload(call.request, PHOTO_TYPES)
        kept = self.fieldwork.call(
            "add_photo", order_id=call.order, technician_id=self._technician(call), photo_id=photo_id,
            media_type=call.request.mimetype, content_b64=b64encode(content).decode(),
        )
        return Answer(201, kept)

    @route("GET", "/api/jobs/<order_id>/photos", roles=DISPATCH | {"technician"}, tag="jobs",
           answers={200: answers.PhotoList})
    def list_photos(self, call: Call) -> Any:
        """What is known of a job's photos; a technician sees those of their own jobs."""
        return one_page(self.fieldwork.call("list_photos", order_id=call.order,
                                            technician_id=call.by.technician_id)["items"])

    @route("GET", "/api/jobs/<order_id>/photos/<photo_id>", roles=DISPATCH | {"technician"}, tag="jobs",
           media_type="image/*", answers={200: None})
    def show_photo(self, call: Call) -> Response:
        """One photo, as it was sent."""
        photo = self.fieldwork.call("get_photo", order_id=call.order, photo_id=call.path["photo_id"],
                                    technician_id=call.by.technician_id)
        return picture(photo)

    def _technician(self, call: Call) -> str:
        """Who does the job: the technician of the token; an operator stands in for the one it is assigned to."""
        if call.by.technician_id is not None:
            return call.by.technician_id
        return str(self.fieldwork.call("get_job", order_id=call.order)["technician_id"])
