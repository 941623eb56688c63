"""The technician's phone: the day's jobs, one job, what was done there, photos. Works without scripts; with them, what
is entered is kept on the phone first and sent when there is signal (`static/js/technician*.js`).
"""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from werkzeug.wrappers import Request, Response

from chassis import clock
from chassis.rpc_client import RpcClient
from chassis.web import MAX_BODY, http
from contracts.errors import Invalid
from contracts.rpc import PHOTO_BYTES_MAX, PHOTO_TYPES
from gateway_svc import routes_jobs, schemas, wire
from gateway_svc.auth import Role
from gateway_svc.changes import Board
from gateway_svc.extensions import Limits
from gateway_svc.pages import assets, forms, live
from gateway_svc.pages.ask import Part
from gateway_svc.pages.forms import Form
from gateway_svc.pages.routing import page
from gateway_svc.pages.technician_answers import Phone, json_answer, technician_of
from gateway_svc.pages.technician_results import read_checklist
from gateway_svc.pages.view import View

TECHNICIAN: frozenset[Role] = frozenset({"technician"})

_NEVER_KEPT = ("js/technician-sw.js",)


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
        phone = Phone(self.fieldwork, self.settings, view)
        jobs = phone.ask("list_jobs", date=day.isoformat(), limit=schemas.MAX_LIMIT)
        response = view.render(
            "technician/jobs.html", jobs=jobs, day=day, today=today, now=clock.utc_now(),
            before=day - timedelta(days=1), after=day + timedelta(days=1), status=200 if jobs.known else 503,
        )  # fmt: skip
        return phone.kept(response)

    @page("GET", "/tech/events", roles=TECHNICIAN)
    def follow_jobs(self, view: View) -> Response:
        """Says when the technician's jobs have changed."""
        return live.stream(view, self.changes, self.limits, self.settings, ("jobs", technician_of(view)))

    @page("GET", "/tech/session", roles=TECHNICIAN)
    def show_session(self, view: View) -> Response:
        """Who has signed in on this phone, and the signature of their forms; JSON, for what is kept on the phone."""
        return json_answer(200, {"technician_id": technician_of(view), "username": view.by.subject, "csrf": view.csrf})

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
        return Phone(self.fieldwork, self.settings, view).show()

    @page("POST", "/tech/jobs/<order_id>/start", roles=TECHNICIAN)
    def start_from_phone(self, view: View) -> Response:
        """On site."""
        return Phone(self.fieldwork, self.settings, view).act("start_job", "started")

    @page("POST", "/tech/jobs/<order_id>/complete", roles=TECHNICIAN)
    def complete_from_phone(self, view: View) -> Response:
        """Installed. Measurements out of the ordinary are asked about first; a script of ours has asked already."""
        phone = Phone(self.fieldwork, self.settings, view)
        job = Part() if view.from_script else phone.ask("get_job", order_id=view.order)
        checklist = read_checklist(view.request.form, job.value["items"] if job.value else ())
        if checklist.form.value is None:
            return phone.faulty(checklist.form, checklist=checklist)
        if checklist.asked and not checklist.confirmed and not view.from_script:
            return phone.show(422, checklist=checklist)
        done = checklist.form.value.model_dump(mode="json")
        return phone.act("complete_job", "completed", {"checklist": checklist}, **done)

    @page("POST", "/tech/jobs/<order_id>/reject", roles=TECHNICIAN)
    def reject_from_phone(self, view: View) -> Response:
        """Could not be installed."""
        phone = Phone(self.fieldwork, self.settings, view)
        form = forms.read(view.request.form, schemas.RejectJob, ("reason_code", "note"))
        if form.value is not None and form.value.reason_code == "other" and not form.value.note:
            form = Form(form.typed, None, {"note": "say what it was"})
        if form.value is None:
            return phone.faulty(form, rejection=form)
        return phone.act("reject_job", "rejected", {"rejection": form}, **form.value.model_dump(mode="json"))

    @page("POST", "/tech/jobs/<order_id>/photos", roles=TECHNICIAN, max_body=PHOTO_BYTES_MAX + MAX_BODY)
    def add_photo_from_phone(self, view: View) -> Response:
        """A photo of the site: the body itself from a script, a file in a form without one."""
        phone = Phone(self.fieldwork, self.settings, view)
        try:
            photo_id, media_type, content = _photo(view.request)
        except Invalid as invalid:
            return phone.refuse(invalid)
        return phone.act("add_photo", "photo-kept", photo_id=photo_id, media_type=media_type,
                         content_b64=b64encode(content).decode())

    @page("GET", "/tech/jobs/<order_id>/photos/<photo_id>", roles=TECHNICIAN)
    def show_own_photo(self, view: View) -> Response:
        """One photo of an own job."""
        phone = Phone(self.fieldwork, self.settings, view)
        photo = phone.ask("get_photo", order_id=view.order, photo_id=view.path["photo_id"])
        return routes_jobs.picture(photo.required())


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
