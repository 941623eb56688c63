"""What a technician's phone is answered: a page, or to a script of ours one word, of what came of a job's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import to_json
from werkzeug.wrappers import Response

from chassis import clock
from chassis.rpc_client import RpcClient
from contracts.errors import Conflict, DomainError, Forbidden, NotFound, Unauthenticated, Unavailable
from contracts.ids import new_id
from contracts.rejection import REJECTION_REASONS
from contracts.rpc import PHOTOS_MAX
from gateway_svc import schemas
from gateway_svc.pages import ask
from gateway_svc.pages.ask import Part
from gateway_svc.pages.forms import Form
from gateway_svc.pages.routing import error_page
from gateway_svc.pages.technician_results import Checklist, ranges
from gateway_svc.pages.view import View

KEPT_FOR = "Oss-Kept-For"
"""The technician whose phone it is: on pages of which it may keep a copy for a dead spot, and on answers that there is
no page now, for which it may show the copy that it has."""

_CLOSED = ("cancelled", "completed", "rejected")
_NOTHING = Checklist(Form({}))


class Phone:
    """One request of a technician's phone. fieldwork_svc holds whose job it is, and what may be done with it."""

    def __init__(self, fieldwork: RpcClient, settings: Mapping[str, Any], view: View) -> None:
        self._fieldwork, self._view = fieldwork, view
        self._technician_id = technician_of(view)
        self._timeout_s = float(settings["PAGE_TIMEOUT_S"])

    def ask(self, method: str, **arguments: Any) -> Part:
        """The answer to a question in the technician's name."""
        return ask.ask(self._question(method, **arguments))

    def show(
        self, status: int = 200, *, refused: str | None = None,
        checklist: Checklist = _NOTHING, rejection: Form[schemas.RejectJob] | None = None,
    ) -> Response:
        """The job's page; with what was typed, and what came of it, where a form was sent."""
        view, order_id = self._view, self._view.order
        parts = ask.together(
            job=self._question("get_job", order_id=order_id), photos=self._question("list_photos", order_id=order_id)
        )
        error = parts["job"].error
        if isinstance(error, Forbidden | NotFound):
            # A script that asks again takes over what it is answered only where all is well.
            return view.render("technician/gone.html", 200 if view.from_script else error.http_status,
                               reason="moved" if isinstance(error, Forbidden) else "unknown")
        try:
            job = parts["job"].required()
        except Unavailable as away:
            return self.kept(error_page(view, away))
        response = view.render(
            "technician/job.html", status, job=job, photos=parts["photos"], ranges=ranges(job["items"]),
            refused=refused, checklist=checklist, rejection=rejection or Form({}), reasons=REJECTION_REASONS,
            photo_id=new_id(), photos_max=PHOTOS_MAX, now=clock.utc_now(), closed=job["state"] in _CLOSED,
        )
        return self.kept(response) if status == 200 else response

    def act(self, method: str, notice: str, typed: Mapping[str, Any] | None = None, **arguments: Any) -> Response:
        """Tell fieldwork_svc, and answer what came of it. `typed`: what `show` needs to show the form again."""
        view = self._view
        done = ask.ask(lambda: self._fieldwork.call(
            method, order_id=view.order, technician_id=self._technician_id, **arguments
        ))  # fmt: skip
        if done.error is not None:
            return self.refuse(done.error, **(typed or {}))
        if done.missing:
            later = json_answer(503, {"outcome": "later"})
            return later if view.from_script else self.show(503, refused="later", **(typed or {}))
        answer = json_answer(200, {"outcome": "done"})
        return answer if view.from_script else view.redirect(f"/tech/jobs/{view.order}", notice=f"job-{notice}")

    def refuse(self, error: DomainError, **typed: Any) -> Response:
        """Sending it again will not help: say why."""
        outcome = self._outcome(error)
        if self._view.from_script:
            return json_answer(error.http_status, {"outcome": outcome})
        return self.show(error.http_status, refused=outcome, **typed)

    def faulty(self, form: Form[Any], **typed: Any) -> Response:
        """The form's fields are at fault."""
        if self._view.from_script:
            return json_answer(422, {"outcome": "invalid", "fields": sorted(form.errors)})
        return self.show(422, **typed)

    def kept(self, response: Response) -> Response:
        """The phone may keep a copy of this page for a dead spot, in its own memory, not in a cache on the way; with a
        status that is an error, show the copy of before instead.
        """
        response.headers[KEPT_FOR] = self._technician_id
        return response

    def _outcome(self, error: DomainError) -> str:
        """Why it was refused, as the texts `technician-refused-...` know it."""
        if isinstance(error, Conflict):
            state = (self.ask("get_job", order_id=self._view.order).value or {}).get("state")
            return str(state) if state in _CLOSED else "photos-full"
        return {Forbidden: "moved", NotFound: "unknown"}.get(type(error), "invalid")

    def _question(self, method: str, **arguments: Any) -> Callable[[], Any]:
        return ask.question(
            self._fieldwork, method, self._timeout_s, technician_id=self._technician_id, **arguments
        )


def technician_of(view: View) -> str:
    """Whose phone it is. Raises Unauthenticated where the user name belongs to no technician."""
    if view.by.technician_id is None:
        raise Unauthenticated("this user name belongs to no technician")
    return view.by.technician_id


def json_answer(status: int, content: Mapping[str, Any]) -> Response:
    """An answer to a script of ours."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(to_json(content), status=status, mimetype="application/json", headers=headers)
