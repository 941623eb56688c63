"""The technician's phone: the day's jobs, one job, what was done there, photos. Works without scripts; with them, what
is entered is kept on the phone first and sent when there is signal (`static/js/technician*.js`).
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from pydantic_core import to_json
from werkzeug.wrappers import Request, Response

from chassis import clock
from chassis.rpc_client import RpcClient
from chassis.web import MAX_BODY, http
from contracts.errors import Conflict, DomainError, Forbidden, Invalid, NotFound, Unauthenticated
from contracts.ids import new_id
from contracts.rejection import REJECTION_REASONS
from contracts.rpc import PHOTO_BYTES_MAX, PHOTO_TYPES, PHOTOS_MAX
from gateway_svc import routes_jobs, schemas, wire
from gateway_svc.auth import Role
from gateway_svc.changes import Board
from gateway_svc.extensions import Limits
from gateway_svc.pages import ask, assets, forms, live
from gateway_svc.pages.ask import Part
from gateway_svc.pages.forms import Form
from gateway_svc.pages.routing import page
from gateway_svc.pages.technician_results import Checklist, ranges, read_checklist
from gateway_svc.pages.view import View

TECHNICIAN: frozenset[Role] = frozenset({"technician"})

KEPT_FOR = "Oss-Kept-For"
"""On answers of which a phone may keep a copy for a dead spot: the technician whose it is."""

_NEVER_KEPT = ("js/technician-sw.js",)
_CLOSED = ("cancelled", "completed", "rejected")
_NOTHING = Checklist(Form({}))


class TechnicianPages:
    """`/tech`. fieldwork_svc holds whose job it is, and what may be done with it."""

    fieldwork: RpcClient
    changes: Board
    limits: Limits
    settings: dict[str, Any]

    @page("GET", "/tech", roles=TECHNICIAN)
    def show_jobs(self, view: View) -> Response:
        """The jobs of a day, in the order of their windows."""
        today = view.formats.local(clock.utc_now()).date()
        day = _day(view, today)
        jobs = self._ask("list_jobs", date=day.isoformat(), limit=schemas.MAX_LIMIT, technician_id=_me(view))
        return _kept(view, view.render(
            "technician/jobs.html", jobs=jobs, day=day, today=today, now=clock.utc_now(),
            before=day - timedelta(days=1), after=day + timedelta(days=1),
        ))  # fmt: skip

    @page("GET", "/tech/events", roles=TECHNICIAN)
    def follow_jobs(self, view: View) -> Response:
        """Says when the technician's jobs have changed."""
        return live.stream(view, self.changes, self.limits, self.settings, ("jobs", _me(view)))

    @page("GET", "/tech/session", roles=TECHNICIAN)
    def show_session(self, view: View) -> Response:
        """Who has signed in on this phone, and the signature of their forms; JSON, for what is kept on the phone."""
        return _json(200, {"technician_id": _me(view), "username": view.by.subject, "csrf": view.csrf})

    @page("GET", "/tech/offline")
    def show_offline(self, view: View) -> Response:
        """What the phone shows of a page it has no copy of, without signal. Holds nothing personal."""
        return view.render("technician/offline.html")

    @http("GET", "/tech/sw.js")
    def service_worker(self, request: Request) -> Response:
        """The service worker: the phone's copies of pages for a dead spot."""
        names = [name for name in assets.assets() if name.startswith("js/technician") and name not in _NEVER_KEPT]
        urls = [assets.url(name) for name in ("app.css", "icon.svg", "js/page.js", *names)]
        head = f"const VERSION = {json.dumps(assets.version())};\nconst ASSETS = {json.dumps(urls)};\n"
        source = head.encode() + assets.assets()["js/technician-sw.js"].content
        return Response(source, mimetype="text/javascript", headers={
            "Cache-Control": "no-cache", "Service-Worker-Allowed": "/tech", "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; connect-src 'self'",
        })  # fmt: skip

    @page("GET", "/tech/jobs/<order_id>", roles=TECHNICIAN)
    def show_job(self, view: View) -> Response:
        """One job: where, for whom, what to install, and what was or is to be done."""
        return self._show(view)

    @page("POST", "/tech/jobs/<order_id>/start", roles=TECHNICIAN)
    def start_from_phone(self, view: View) -> Response:
        """On site."""
        return self._act(view, "start_job", "started")

    @page("POST", "/tech/jobs/<order_id>/complete", roles=TECHNICIAN)
    def complete_from_phone(self, view: View) -> Response:
        """Installed. Measurements out of the ordinary are asked about first; a script of ours has asked already."""
        items = () if view.from_script else self._ask("get_job", order_id=view.order, technician_id=_me(view))
        if isinstance(items, Part):
            items = items.value["items"] if items.known else ()
        checklist = read_checklist(view.request.form, items)
        if checklist.form.value is None:
            return self._faulty(view, checklist.form, checklist=checklist)
        if checklist.asked and not checklist.confirmed and not view.from_script:
            return self._show(view, 422, checklist=checklist)
        done = checklist.form.value.model_dump(mode="json")
        return self._act(view, "complete_job", "completed", checklist=checklist, **done)

    @page("POST", "/tech/jobs/<order_id>/reject", roles=TECHNICIAN)
    def reject_from_phone(self, view: View) -> Response:
        """Could not be installed."""
        form = forms.read(view.request.form, schemas.RejectJob, ("reason_code", "note"))
        if form.value is not None and form.value.reason_code == "other" and not form.value.note:
            form = Form(form.typed, None, {"note": "say what it was"})
        if form.value is None:
            return self._faulty(view, form, rejection=form)
        return self._act(view, "reject_job", "rejected", rejection=form, **form.value.model_dump(mode="json"))

    @page("POST", "/tech/jobs/<order_id>/photos", roles=TECHNICIAN, max_body=PHOTO_BYTES_MAX + MAX_BODY)
    def add_photo_from_phone(self, view: View) -> Response:
        """A photo of the site: the body itself from a script, a file in a form without one."""
        try:
            photo_id, media_type, content = _photo(view.request)
        except Invalid as invalid:
            return self._refuse(view, invalid)
        return self._act(view, "add_photo", "photo-kept", photo_id=photo_id, media_type=media_type,
                         content_b64=b64encode(content).decode())

    @page("GET", "/tech/jobs/<order_id>/photos/<photo_id>", roles=TECHNICIAN)
    def show_own_photo(self, view: View) -> Response:
        """One photo of an own job."""
        photo = self._ask("get_photo", order_id=view.order, photo_id=view.path["photo_id"], technician_id=_me(view))
        return routes_jobs.picture(photo.required())

    def _show(
        self, view: View, status: int = 200, *, refused: str | None = None,
        checklist: Checklist = _NOTHING, rejection: Form[schemas.RejectJob] | None = None,
    ) -> Response:
        """The job's page; with what was typed, and what came of it, where a form was sent."""
        parts = ask.together(
            job=self._question("get_job", order_id=view.order, technician_id=_me(view)),
            photos=self._question("list_photos", order_id=view.order, technician_id=_me(view)),
        )
        error = parts["job"].error
        if isinstance(error, Forbidden | NotFound):
            # A script that asks again takes over what it is answered only where all is well.
            return view.render("technician/gone.html", 200 if view.from_script else error.http_status,
                               reason="moved" if isinstance(error, Forbidden) else "unknown")
        job = parts["job"].required()
        response = view.render(
            "technician/job.html", status, job=job, photos=parts["photos"], ranges=ranges(job["items"]),
            refused=refused, checklist=checklist, rejection=rejection or Form({}), reasons=REJECTION_REASONS,
            photo_id=new_id(), photos_max=PHOTOS_MAX, now=clock.utc_now(), closed=job["state"] in _CLOSED,
        )
        return _kept(view, response) if status == 200 else response

    def _act(
        self, view: View, method: str, notice: str, *, checklist: Checklist = _NOTHING,
        rejection: Form[schemas.RejectJob] | None = None, **arguments: Any,
    ) -> Response:
        """Tell fieldwork_svc, and answer what came of it: to a script in one word, else on the job's page."""
        done = ask.ask(lambda: self.fieldwork.call(method, order_id=view.order, technician_id=_me(view), **arguments))
        if done.known:
            answer = _json(200, {"outcome": "done"})
            return answer if view.from_script else view.redirect(f"/tech/jobs/{view.order}", notice=f"job-{notice}")
        if done.error is None:
            answer = _json(503, {"outcome": "later"})
            return answer if view.from_script else self._show(
                view, 503, refused="later", checklist=checklist, rejection=rejection
            )
        return self._refuse(view, done.error, checklist=checklist, rejection=rejection)

    def _refuse(self, view: View, error: DomainError, **typed: Any) -> Response:
        """Sending it again will not help: say why."""
        outcome = self._outcome(view, error)
        if view.from_script:
            return _json(error.http_status, {"outcome": outcome})
        return self._show(view, error.http_status, refused=outcome, **typed)

    def _faulty(self, view: View, form: Form[Any], **typed: Any) -> Response:
        if view.from_script:
            return _json(422, {"outcome": "invalid", "fields": sorted(form.errors)})
        return self._show(view, 422, **typed)

    def _outcome(self, view: View, error: DomainError) -> str:
        """Why it was refused, as the texts `technician-refused-...` know it."""
        if isinstance(error, Conflict):
            state = self._ask("get_job", order_id=view.order).value or {}
            return str(state["state"]) if state.get("state") in _CLOSED else "photos-full"
        return {Forbidden: "moved", NotFound: "unknown"}.get(type(error), "invalid")

    def _question(self, method: str, **arguments: Any) -> Callable[[], Any]:
        return ask.question(self.fieldwork, method, float(self.settings["PAGE_TIMEOUT_S"]), **arguments)

    def _ask(self, method: str, **arguments: Any) -> Part:
        return ask.ask(self._question(method, **arguments))


def _me(view: View) -> str:
    if view.by.technician_id is None:
        raise Unauthenticated("this user name belongs to no technician")
    return view.by.technician_id


def _day(view: View, today: date) -> date:
    """The day asked for; today where none, or nonsense, is."""
    try:
        query = wire.read_query(view.request.args, schemas.JobsQuery)
    except Invalid:
        return today
    return query.date or today


def _photo(request: Request) -> tuple[str, str, bytes]:
    """Id, media type and content. Raises Invalid."""
    if request.mimetype in PHOTO_TYPES:
        return str(wire.uuid_from_header(request, "Photo-Id")), request.mimetype, request.get_data(cache=False)
    file = request.files.get("photo")
    if file is None or not file.filename:
        raise Invalid("photo is missing", [{"field": "photo", "message": "choose a photo"}])
    try:
        photo_id = str(UUID(request.form.get("photo_id", "")))
    except ValueError:
        raise Invalid("photo_id must be a UUID", [{"field": "photo_id", "message": "must be a UUID"}]) from None
    return photo_id, file.mimetype, file.read()


def _kept(view: View, response: Response) -> Response:
    """The phone may keep a copy of this page for a dead spot. Its own memory, that is; no cache on the way."""
    response.headers[KEPT_FOR] = _me(view)
    return response


def _json(status: int, content: dict[str, Any]) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(to_json(content), status=status, mimetype="application/json", headers=headers)
