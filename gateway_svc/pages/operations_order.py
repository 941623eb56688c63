"""One order at the operations desk: where it is in the saga, everything that happened to it, and what may be done."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from chassis import clock
from chassis.db import StoreSession
from contracts.errors import DomainError, NotFound
from gateway_svc import ordering, trace_parts
from gateway_svc.changes import Board
from gateway_svc.extensions import Limits
from gateway_svc.intake import Intake
from gateway_svc.operated import UNREACHABLE, Operated
from gateway_svc.pages import forms, live, operations_rows, operations_saga
from gateway_svc.pages.ask import question, together
from gateway_svc.pages.forms import Form
from gateway_svc.pages.routing import page
from gateway_svc.pages.view import View, local_path
from gateway_svc.routing import OPERATOR
from gateway_svc.schemas import Abandon

NO_FORM: Form[Abandon] = Form({})


class OrderDeskPages(Operated):
    """An order's page for operators, and the actions on a fallout case."""

    settings: dict[str, Any]
    changes: Board
    limits: Limits
    intake: Intake
    database: StoreSession

    @page("GET", "/ops/orders/<order_id>", roles=OPERATOR)
    def show_order_trace(self, view: View) -> Response:
        """The order, the picture of its saga, its whole trace, and its fallout case where it has one."""
        return self._order_page(view)

    @page("POST", "/ops/orders/<order_id>", roles=OPERATOR)
    def reveal_contact(self, view: View) -> Response:
        """The same page with the customer's phone number and e-mail; who looked is in the audit log."""
        return self._order_page(view, revealed=True)

    @page("GET", "/ops/orders/<order_id>/events", roles=OPERATOR)
    def follow_order_trace(self, view: View) -> Response:
        """Says when the order, or its visit, has changed."""
        return live.stream(
            view, self.changes, self.limits, self.settings, ("orders", view.order), ("visits", view.order)
        )

    @page("POST", "/ops/orders/<order_id>/retry", roles=OPERATOR)
    def retry_fallout_case(self, view: View) -> Response:
        """Provision again, on another service port where that was asked for."""
        another_port = view.request.form.get("another_port") == "1"
        return self._acted(view, "retry_fallout", "ops-retried", another_port=another_port)

    @page("GET", "/ops/orders/<order_id>/abandon", roles=OPERATOR)
    def ask_abandon(self, view: View) -> Response:
        """Asks whether to give the order up, and names what would be put back."""
        return self._abandon_page(view, NO_FORM)

    @page("POST", "/ops/orders/<order_id>/abandon", roles=OPERATOR)
    def abandon_fallout_case(self, view: View) -> Response:
        """Give the order up: everything is put back, and it ends as cancelled."""
        form = forms.read(view.request.form, Abandon, ("reason",))
        if form.value is None:
            return self._abandon_page(view, form, 422)
        return self._acted(view, "abandon_fallout", "ops-abandoned", reason=form.value.reason)

    def _acted(self, view: View, method: str, notice: str, **arguments: Any) -> Response:
        """Have activation do it; what it refuses, or does not answer, is said on the order's page."""
        try:
            self.activation.call(
                method, timeout_s=self._page_s, order_id=view.order, by=view.by.subject, **arguments
            )
        except UNREACHABLE:
            return self._not_done(view, 503, "ops-no-answer")
        except DomainError as refused:
            if refused.http_status == NotFound.http_status:
                raise
            return self._not_done(view, refused.http_status, "ops-refused", refused.detail)
        return view.redirect(local_path(view.request.form.get("next"), f"/ops/orders/{view.order}"), notice=notice)

    def _not_done(self, view: View, status: int, failure: str, detail: str | None = None) -> Response:
        """Why nothing was done, on the order's page; from the desk, too, which has to know that it is that page."""
        response = self._order_page(view, status=status, failure=failure, detail=detail)
        response.headers["Content-Location"] = f"/ops/orders/{view.order}"
        return response

    def _order_page(self, view: View, status: int = 200, **shown: Any) -> Response:
        assert view.order_id is not None
        order_id = view.order_id
        standing = str(ordering.standing(self, order_id))
        sources = trace_parts.Sources(self.services, self.intake.journal, self.database)
        parts = together(
            page=question(self.mypage, "get_order", self._page_s, order_id=standing),
            known=lambda: trace_parts.gather(sources, order_id, self._page_s),
        )
        known: trace_parts.Known = parts["known"].required()
        order = parts["page"].value or ordering.journalled(self, order_id)
        if order is None and known.is_nothing and not parts["page"].missing:
            raise NotFound(f"nobody knows order {order_id}")
        at = operations_saga.position(operations_rows.moments(known.entries, (order or {}).get("timeline", ())))
        return view.render(
            "operations/order.html", status, order_id=view.order, order=order, activation=known.activation,
            visit=known.visit, rows=operations_rows.rows(known.entries, view.t), at=at,
            saga=operations_saga, now=clock.utc_now(), unreachable=_silent(known, parts["page"].missing),
            pruned=known.pruned,
            **{"revealed": False, "failure": None, "detail": None} | shown,
        )

    def _abandon_page(self, view: View, form: Form[Abandon], status: int = 200) -> Response:
        parts = together(
            activation=question(self.activation, "get_activation", self._page_s, order_id=view.order)
        )
        case = parts["activation"].required().get("fallout")
        return view.render("operations/abandon.html", status, order_id=view.order, case=case, form=form)

    @property
    def _page_s(self) -> float:
        return float(self.settings["PAGE_TIMEOUT_S"])


def _silent(known: trace_parts.Known, mypage_missing: bool) -> list[str]:
    """Who did not answer, in the order of the flow."""
    missing = [*known.unreachable, *(["mypage"] if mypage_missing and "mypage" not in known.unreachable else [])]
    return sorted(missing, key=("order", "activation", "scheduling", "fieldwork", "mypage", "gateway").index)
