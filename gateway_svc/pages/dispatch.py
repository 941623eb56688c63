"""The dispatch desk: whom to call, the customer while on the phone, free windows, the day board. It keeps no rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, Field
from werkzeug.wrappers import Response

from chassis import clock
from chassis.rpc_client import RpcClient
from contracts.errors import Invalid
from contracts.orders import Note, text
from contracts.rpc import CallOutcome
from gateway_svc.changes import Board
from gateway_svc.extensions import Limits
from gateway_svc.pages import ask, forms, live
from gateway_svc.pages.ask import Part
from gateway_svc.pages.dispatch_desk import PATH, Chosen, Desk, why_refused
from gateway_svc.pages.forms import Form
from gateway_svc.pages.routing import page
from gateway_svc.pages.view import View
from gateway_svc.routing import DISPATCH


def _slot(value: str) -> str:
    parts = value.split("|")
    if len(parts) != 3:
        raise ValueError("must be a technician, a start and an end")
    return value


def _utc(moment: datetime, zone: ZoneInfo) -> datetime | None:
    """A moment of local time in UTC; None for one that UTC has no year for."""
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        return None


class CallForm(BaseModel):
    """What came of a call. `slot` is the window agreed on, as `start|end`; `call_back_at` is local time.

    An outcome `call_back+30` is a call-back so many minutes from now.
    """

    outcome: CallOutcome
    note: Note = ""
    call_back_at: datetime | None = None
    slot: Annotated[str, Field(max_length=100, pattern=r"^[^|]+\|[^|]+$")] | None = None
    technician_id: text(max_length=64) | None = None  # type: ignore[valid-type]
    revision: int | None = None
    call_id: UUID | None = None


class MoveForm(BaseModel):
    """Where a visit is put on the board: `technician|start|end`, and the revision that was seen there."""

    slot: Annotated[str, Field(max_length=200), AfterValidator(_slot)]
    revision: int


class DispatchPages:
    """The desk of the call centre. Everything on it is scheduling's."""

    scheduling: RpcClient
    changes: Board
    limits: Limits
    settings: dict[str, Any]

    @page("GET", PATH, roles=DISPATCH)
    def show_dispatch(self, view: View) -> Response:
        """The desk as it is chosen in the address."""
        return self._desk(view, Chosen.of(view))

    @page("GET", f"{PATH}/events", roles=DISPATCH)
    def stream_dispatch(self, view: View) -> Response:
        """Says when any visit, claim or booking has changed."""
        return live.stream(view, self.changes, self.limits, self.settings, ("visits", None))

    @page("POST", f"{PATH}/next", roles=DISPATCH)
    def call_next(self, view: View) -> Response:
        """Claim whoever should be called first."""
        chosen = Chosen(day=Chosen.of(view).day)
        part = self._ask("claim_next", by=view.by.subject)
        if not part.known:
            return self._desk(view, chosen, trouble=part)
        if part.value is None:
            return view.redirect(chosen.url(), notice="dispatch-nobody-waits")
        return view.redirect(chosen.url(order=part.value["order_id"]))

    @page("POST", f"{PATH}/visits/<order_id>/claim", roles=DISPATCH)
    def claim_call(self, view: View) -> Response:
        """Claim this customer: the desk shows the number then."""
        given = Chosen.of(view)
        chosen = Chosen(order=view.order, day=given.day, since=given.since, pick=given.pick)
        part = self._ask("claim_visit", order_id=view.order, by=view.by.subject)
        return view.redirect(chosen.url()) if part.known else self._desk(view, chosen, trouble=part)

    @page("POST", f"{PATH}/visits/<order_id>/renew", roles=DISPATCH, audited=False)
    def renew_call(self, view: View) -> Response:
        """Keep the claim while the panel is open; 409 where somebody else has it. Sent by the desk's script."""
        self._ask("claim_visit", order_id=view.order, by=view.by.subject).required()
        return Response(status=204)

    @page("POST", f"{PATH}/visits/<order_id>/release", roles=DISPATCH)
    def release_call(self, view: View) -> Response:
        """Put the phone down without a result."""
        chosen = Chosen(day=Chosen.of(view).day)
        part = self._ask("release_visit", order_id=view.order, by=view.by.subject)
        if not part.known:
            return self._desk(view, Chosen(day=chosen.day, order=view.order), trouble=part)
        return view.redirect(chosen.url(), notice="dispatch-released")

    @page("POST", f"{PATH}/visits/<order_id>/call", roles=DISPATCH)
    def record_visit_call(self, view: View) -> Response:
        """Write down what came of the call; an agreed one fixes the visit."""
        chosen = Chosen.of(view)
        form, call = self._read_call(view)
        if call is None:
            return self._desk(view, chosen, form=form)
        if call.outcome == "agreed":
            start, end = (call.slot or "|").split("|")
            part = self._ask(
                "set_appointment", order_id=view.order, by=view.by.subject, window_start=start, window_end=end,
                technician_id=call.technician_id, revision=call.revision, note=call.note,
            )
        else:
            part = self._ask(
                "record_call", order_id=view.order, by=view.by.subject, outcome=call.outcome, note=call.note,
                call_back_at=call.call_back_at and view.formats.iso(call.call_back_at),
                call_id=call.call_id and str(call.call_id),
            )
        if not part.known:
            return self._desk(view, chosen, form=form, trouble=part, revision=call.revision)
        return view.redirect(Chosen(day=chosen.day, done=view.order).url())

    @page("POST", f"{PATH}/visits/<order_id>/move", roles=DISPATCH)
    def move_visit(self, view: View) -> Response:
        """Move a visit on the board to another window or technician, if it is still where it was seen."""
        chosen = Chosen.of(view)
        form = forms.read(view.request.form, MoveForm, ("slot", "revision"))
        if form.value is None:
            return self._desk(view, chosen, trouble=Part(error=Invalid(fields=[{"field": "slot", "message": ""}])))
        technician_id, start, end = form.value.slot.split("|")
        part = self._ask(
            "set_appointment", order_id=view.order, by=view.by.subject, window_start=start, window_end=end,
            technician_id=technician_id, revision=form.value.revision,
        )
        if not part.known:
            return self._desk(view, chosen, trouble=part, about=view.order, revision=form.value.revision)
        return view.redirect(f"{chosen.url(move=None, done=view.order)}#board")

    def _ask(self, method: str, **arguments: Any) -> Part:
        return ask.ask(ask.question(self.scheduling, method, float(self.settings["PAGE_TIMEOUT_S"]), **arguments))

    def _read_call(self, view: View) -> tuple[Form[CallForm], CallForm | None]:
        """The form, and the call where it is whole: an agreed one has a window, a call-back a time ahead."""
        fields = view.request.form.copy()
        outcome, _, minutes = fields.get("outcome", "").partition("+")
        fields["outcome"] = outcome
        zone = ZoneInfo(str(self.settings.get("TIMEZONE", "Asia/Seoul")))
        if outcome == "call_back" and minutes.isdecimal():
            at = clock.utc_now().astimezone(zone) + timedelta(minutes=min(int(minutes[:5]), 24 * 60))
            fields["call_back_at"] = at.strftime("%Y-%m-%dT%H:%M")
        elif outcome != "call_back":
            fields.pop("call_back_at", None)
        form = forms.read(fields, CallForm, tuple(CallForm.model_fields))
        if form.value is None:
            return form, None
        errors, call = {}, form.value
        if call.outcome == "agreed" and call.slot is None:
            errors["slot"] = "is required"
        if call.call_back_at is not None:
            call = call.model_copy(update={"call_back_at": _utc(call.call_back_at, zone)})
        if call.outcome == "call_back" and (call.call_back_at is None or call.call_back_at <= clock.utc_now()):
            errors["call_back_at"] = "must be in the future"
        return (Form(form.typed, None, errors), None) if errors else (form, call)

    def _desk(
        self,
        view: View,
        chosen: Chosen,
        *,
        form: Form[CallForm] | None = None,
        trouble: Part | None = None,
        about: str | None = None,
        revision: int | None = None,
    ) -> Response:
        """The desk; with what was wrong with a form, or why scheduling refused (`about`: a visit that is not open)."""
        desk = Desk(view, self.scheduling, float(self.settings["PAGE_TIMEOUT_S"]), chosen)
        errors = dict(form.errors) if form else {}
        status, refusal, standing = 422 if errors else 200, None, desk.visit
        if trouble is not None:
            status = trouble.error.http_status if trouble.error else 503
            standing = self._ask("get_visit", order_id=about) if about else desk.visit
            refusal = why_refused(trouble.error, standing, view.by.subject, revision)
        return view.render(
            "dispatch/desk.html", status, desk=desk, chosen=chosen, form=form or Form({}), errors=errors,
            refusal=refusal, standing=standing.value if standing.known else None,
        )
