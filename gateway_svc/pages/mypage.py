"""MyPage: one order as its subscriber sees it, live; choosing the visit's time; cancelling."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from werkzeug.wrappers import Response

from chassis import clock
from chassis.rpc_client import CallFailed, RemoteFault, RpcClient
from contracts.catalogue import PRODUCTS
from contracts.errors import Conflict, Invalid, NotFound, Overloaded, Unavailable
from gateway_svc import elsewhere, ordering, schemas, wire
from gateway_svc.auth import Role, Tokens
from gateway_svc.changes import Board
from gateway_svc.extensions import Limits
from gateway_svc.intake import Intake
from gateway_svc.pages import ask, forms, live, order_story
from gateway_svc.pages.order_story import Facts
from gateway_svc.pages.routing import page
from gateway_svc.pages.sessions import Cookies, my_path
from gateway_svc.pages.view import View

SUBSCRIBER: frozenset[Role] = frozenset({"subscriber"})
REASON_LENGTH = 400
"""Of a reason that is too long, or otherwise no note."""


class MyPages:
    """The pages of one order. Whoever has its cookie is its subscriber."""

    settings: dict[str, Any]
    tokens: Tokens
    intake: Intake
    limits: Limits
    changes: Board
    order: RpcClient
    mypage: RpcClient
    scheduling: RpcClient

    @page("GET", "/my/<order_id>", roles=SUBSCRIBER, owner=True, session="order")
    def show_my_order(self, view: View) -> Response:
        """Where the order stands."""
        assert view.order_id is not None
        stands_as = ordering.standing(self, view.order_id)
        if stands_as != view.order_id:
            return self._my_other_page(view, str(stands_as))
        facts = self._my_facts(view)
        if facts.order is not None and facts.order["order_id"] != view.order:
            return self._my_other_page(view, facts.order["order_id"])
        nothing_known = facts.order is None and facts.visit is None
        response = self._my_page(view, "mypage/order.html", facts, 503 if nothing_known else 200)
        if nothing_known:
            response.headers["Retry-After"] = "5"
        return response

    @page("GET", "/my/<order_id>/events", roles=SUBSCRIBER, owner=True, session="order")
    def stream_my_order(self, view: View) -> Response:
        """Says when the order or its visit has changed."""
        return live.stream(
            view, self.changes, self.limits, self.settings, ("orders", view.order), ("visits", view.order)
        )

    @page("GET", "/my/<order_id>/visit", roles=SUBSCRIBER, owner=True, session="order")
    def show_my_windows(self, view: View) -> Response:
        """The free windows of the visit."""
        return self._my_windows(view)

    @page("POST", "/my/<order_id>/visit", roles=SUBSCRIBER, owner=True, session="order")
    def choose_my_window(self, view: View) -> Response:
        """Fix or move the visit to the chosen window; show what is free now where that one is taken."""
        start, _, end = view.request.form.get("window", "").partition("/")
        if not start:
            return self._my_windows(view, 422, problem="choose")
        try:
            wanted = wire.validated(schemas.Appointment, {"window_start": start, "window_end": end})
            self._of_my_visit(
                view, "set_appointment", by=view.by.subject,
                **wanted.model_dump(mode="json", exclude={"technician_id"}),
            )
        except (Conflict, Invalid):
            return self._my_windows(view, 409, problem="taken")
        except (CallFailed, RemoteFault, Unavailable, Overloaded):
            away = ask.Part(missing=True)
            return self._my_windows(view, 503, problem="unsure", parts={"windows": away, "visit": away})
        return view.redirect(my_path(view.order), notice="mypage-visit-fixed")

    @page("GET", "/my/<order_id>/cancel", roles=SUBSCRIBER, owner=True, session="order")
    def show_my_cancel(self, view: View) -> Response:
        """What cancelling means now, and the button for it."""
        return self._my_page(view, "mypage/cancel.html", self._my_facts(view), refused=False)

    @page("POST", "/my/<order_id>/cancel", roles=SUBSCRIBER, owner=True, session="order")
    def cancel_my_order(self, view: View) -> Response:
        """Cancel the order; where it is too late, say why."""
        assert view.order_id is not None
        form = forms.read(view.request.form, schemas.Cancel, ("reason",))
        reason = form.value.reason if form.value else _readable(form["reason"])
        try:
            ordering.cancel(self, view.order_id, reason, view.by.subject, self._my_timeout_s)
        except Conflict:
            return self._my_page(view, "mypage/cancel.html", self._my_facts(view), 409, refused=True)
        return view.redirect(my_path(view.order), notice="mypage-cancel-asked")

    @page("POST", "/my/<order_id>/signout", roles=SUBSCRIBER, owner=True, session="order")
    def leave_my_order(self, view: View) -> Response:
        """Forget on this browser that this order is theirs."""
        response = view.redirect("/my", notice="signed-out")
        Cookies.of(self.tokens, self.settings).sign_out(response, "order", my_path(view.order))
        return response

    @property
    def _my_timeout_s(self) -> float:
        return float(self.settings.get("PAGE_TIMEOUT_S", 1.5))

    def _my_facts(self, view: View) -> Facts:
        """All that is known now. Raises NotFound where there is no such order anywhere."""
        assert view.order_id is not None
        journal = self.intake.journal
        entry, cancel = journal.order(view.order_id), journal.cancel(view.order_id)
        cancel_waits = cancel is not None and cancel.state == "pending"
        written = ordering.journalled(self, view.order_id)
        if entry is not None and entry.state == "pending":
            # Not forwarded yet: nobody else can know it, so nobody is asked.
            return Facts(written, cancel_waits=cancel_waits)
        parts = ask.together(
            order=ask.question(self.mypage, "get_order", self._my_timeout_s, order_id=view.order),
            visit=ask.question(self.scheduling, "get_visit", self._my_timeout_s, order_id=view.order),
        )
        known, visit = parts["order"], parts["visit"]
        if isinstance(known.error, NotFound) and written is None:
            # Its subscriber has a token of it, so it was accepted: another gateway may still have it in its journal.
            assert view.by.accepted_at is not None
            written = elsewhere.page(self, view.order_id, view.by.accepted_at, known.error, self._my_timeout_s)
        return Facts(
            known.value or written, is_current=not known.missing, visit=visit.value, visit_missing=visit.missing,
            cancel_waits=cancel_waits,
        )

    def _my_page(self, view: View, template: str, facts: Facts, status: int = 200, **more: Any) -> Response:
        told = order_story.story(facts, clock.utc_now(), view.formats.zone)
        items = (facts.order or {}).get("items", ())
        fee = sum(PRODUCTS[item["product"]].monthly_fee_krw * item["quantity"] for item in items)
        return view.render(template, status, facts=facts, order=facts.order, story=told, monthly_fee=fee, **more)

    def _my_windows(
        self, view: View, status: int = 200, *, problem: str | None = None, parts: dict[str, ask.Part] | None = None
    ) -> Response:
        parts = parts or ask.together(
            windows=lambda: self._of_my_visit(view, "free_windows"),
            visit=lambda: self._of_my_visit(view, "get_visit"),
        )
        windows, visit = parts["windows"], parts["visit"]
        if windows.missing and status == 200:
            status = 503
        return view.render(
            "mypage/visit.html", status, problem=problem, is_missing=windows.missing,
            is_closed=windows.error is not None, days=_by_day(view, windows.value or {"items": []}),
            visit=order_story.agreed_visit(Facts(None, visit=visit.value)),
        )

    def _of_my_visit(self, view: View, method: str, **arguments: Any) -> Any:
        assert view.order_id is not None
        timeout_s = self._my_timeout_s

        def asked(order_id: str) -> Any:
            return self.scheduling.call(method, timeout_s=timeout_s, order_id=order_id, **arguments)

        return ordering.of_visit(self, view.by, view.order_id, asked, timeout_s)

    def _my_other_page(self, view: View, order_id: str) -> Response:
        """To the page of the order under which this one stands; whoever owns one owns the other."""
        response = view.redirect(my_path(order_id), notice=view.request.args.get("notice"))
        owner = ordering.owner(self, wire.order_id_from(order_id), clock.utc_now())
        Cookies.of(self.tokens, self.settings).sign_in(response, owner, clock.utc_now())
        return response


def _readable(reason: str) -> str:
    """What can be kept of a reason that breaks the rules of a note. A cancel does not fail for the words it comes with,
    and nothing goes into the journal that order_svc could not store.
    """
    printable = "".join(char if char.isprintable() else " " for char in reason)
    return " ".join(printable.split())[:REASON_LENGTH]


def _by_day(view: View, windows: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Free windows by local day, as `(day in words, windows)`."""
    days = groupby(windows["items"], key=lambda window: view.formats.day(window["window_start"]))
    return [(day, list(free)) for day, free in days]

