"""Coming back to an order later: with its number and the phone number it was placed with."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from werkzeug.wrappers import Response

from chassis import clock
from chassis.rpc_client import RpcClient
from contracts.errors import DomainError, TooManyRequests, Unavailable
from contracts.ids import is_uuid7
from contracts.orders import Customer
from gateway_svc import ordering
from gateway_svc.auth import Tokens
from gateway_svc.extensions import Limits
from gateway_svc.intake import Intake
from gateway_svc.pages import ask, forms
from gateway_svc.pages.formats import order_number
from gateway_svc.pages.routing import page
from gateway_svc.pages.sessions import Cookies, my_path
from gateway_svc.pages.signup import tidy_number
from gateway_svc.pages.view import View, local_path

SHORT = 8
"""Hex digits of an order number as people are given it: the end of the order id."""


class OrderSignInPages:
    """Order number and phone number together are what a subscriber knows and others do not."""

    settings: dict[str, Any]
    tokens: Tokens
    intake: Intake
    limits: Limits
    order: RpcClient
    mypage: RpcClient

    @page("GET", "/my")
    def show_order_sign_in(self, view: View) -> Response:
        """Ask for order number and phone number."""
        wanted = re.match(r"/my/([0-9a-f-]{36})(?:[/?]|$)", view.request.args.get("next", ""))
        number = order_number(wanted[1]) if wanted and is_uuid7(wanted[1]) else ""
        return self._order_sign_in_form(view, forms.Form({"number": number}))

    @page("POST", "/my")
    def sign_in_to_order(self, view: View) -> Response:
        """Lead to the order. An unknown number and a wrong phone number get the same answer."""
        form: forms.Form[Any] = forms.Form({name: view.request.form.get(name, "") for name in ("number", "phone")})
        number, phone = read_number(form["number"]), read_phone(form["phone"])
        errors = [name for name, value in (("number", number), ("phone", phone)) if value is None]
        if number is None or phone is None:
            return self._order_sign_in_form(view, form, 422, errors=errors)
        try:
            with self.limits.look_up(self.limits.address(view.request), number[-SHORT:]) as judged:
                order_id = None
                try:
                    order_id = self._find_order(number, phone)
                finally:
                    # Also where mypage was away: the journal has been asked, so it was a guess like any other.
                    judged(order_id is not None)
        except (TooManyRequests, Unavailable) as refused:
            problem = "locked" if refused.http_status == 429 else "away"
            response = self._order_sign_in_form(view, form, refused.http_status, problem=problem)
            response.headers["Retry-After"] = str(max(1, round(refused.retry_after_s or 5.0)))
            return response
        if order_id is None:
            return self._order_sign_in_form(view, form, 401, problem="wrong")
        return self._let_subscriber_in(view, order_id)

    def _let_subscriber_in(self, view: View, order_id: UUID) -> Response:
        path, now = my_path(order_id), clock.utc_now()
        wanted = local_path(view.request.form.get("next"), path)
        response = view.redirect(wanted if wanted.startswith(f"{path}/") else path)
        Cookies.of(self.tokens, self.settings).sign_in(response, ordering.owner(self, order_id, now), now)
        return response

    def _find_order(self, number: str, phone: str) -> UUID | None:
        """The order of this number and phone number, from the journal or else from mypage.

        Raises Unavailable where the journal does not know it and mypage cannot be asked.
        """
        for entry in self.intake.journal.orders_ending(number[-SHORT:]):
            known = entry.state != "refused" and entry.body["customer"]["phone"] == phone
            if known and entry.order_id.hex.endswith(number):
                return entry.stands_as or entry.order_id
        timeout_s = float(self.settings.get("PAGE_TIMEOUT_S", 1.5))
        found = ask.ask(
            ask.question(self.mypage, "list_orders", timeout_s, phone=phone, order_end=number, limit=1)
        ).required()
        return UUID(found["items"][0]["order_id"]) if found["items"] else None

    def _order_sign_in_form(
        self, view: View, form: forms.Form[Any], status: int = 200, *, problem: str | None = None,
        errors: list[str] | None = None,
    ) -> Response:
        faults = {name: view.t(f"mypage-error-{name}") for name in errors or ()}
        wanted = view.request.values.get("next", "")
        return view.render("mypage/sign_in.html", status, form=form, problem=problem, faults=faults, wanted=wanted)


def read_number(text: str) -> str | None:
    """The hex digits of an order number in any spelling: the short one, or the whole id. None where it is neither."""
    digits = re.sub(r"[\s-]", "", text).lower().translate(str.maketrans("oil", "011"))
    return digits if re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{32}", digits) else None


def read_phone(text: str) -> str | None:
    """The phone number as orders store it; None where it is none."""
    try:
        return Customer(name="-", phone=tidy_number(text)).phone
    except (ValidationError, DomainError):
        return None
