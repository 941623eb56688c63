"""Sign-up: what, where, who. The order is on the gateway's own disk before this answers, whatever else is away."""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator
from werkzeug.wrappers import Request, Response

from chassis.rpc_client import RpcClient
from contracts.catalogue import PRODUCTS, Kind
from contracts.errors import Conflict, DomainError, Forbidden, Invalid, Overloaded, TooManyRequests, Unavailable
from contracts.orders import MAX_QUANTITY, Address, Customer, OrderItem, OrderRequest, Value
from gateway_svc import ordering
from gateway_svc.auth import Tokens
from gateway_svc.extensions import Limits
from gateway_svc.intake import Intake
from gateway_svc.pages import forms, sessions
from gateway_svc.pages.routing import page
from gateway_svc.pages.sessions import Cookies
from gateway_svc.pages.view import View

FIELDS = (
    "internet", "internet_quantity", "tv", "tv_quantity", "address.postcode", "address.line1", "address.line2",
    "customer.name", "customer.phone", "customer.email",
)
"""In the order of the page."""
OTHER = "other"
"""Where a fault is shown that belongs to no field."""


def _of_kind(kind: Kind) -> AfterValidator:
    def check(product: str) -> str:
        if product not in PRODUCTS or PRODUCTS[product].kind != kind:
            raise ValueError(f"must be one of our {kind} products")
        return product

    return AfterValidator(check)


def tidy_number(text: Any) -> Any:
    """Digits as people and phones write them: full-width ones, +82 for the leading 0, dots, spaces and brackets."""
    if not isinstance(text, str):
        return text
    plain = re.sub(r"[\s().·-]", "", unicodedata.normalize("NFKC", text))
    return re.sub(r"^(?:\+|00)820?", "0", plain)


class Installation(Address):
    """Where to install, as it was typed."""

    @field_validator("postcode", mode="before")
    @classmethod
    def _tidy(cls, value: Any) -> Any:
        return tidy_number(value)


class Subscriber(Customer):
    """Who orders, as it was typed."""

    @field_validator("phone", mode="before")
    @classmethod
    def _tidy(cls, value: Any) -> Any:
        return tidy_number(value)


Quantity = Annotated[int, Field(ge=1, le=MAX_QUANTITY)]


class SignUp(Value):
    """The form. Its quantities count internet lines and television sets."""

    internet: Annotated[str, _of_kind("internet")]
    internet_quantity: Quantity = 1
    tv: Annotated[str, _of_kind("tv")] | None = None
    tv_quantity: Quantity = 1
    address: Installation
    customer: Subscriber

    def order(self) -> OrderRequest:
        """The order that the form asks for."""
        items = [OrderItem(product=self.internet, quantity=self.internet_quantity)]
        if self.tv is not None:
            items.append(OrderItem(product=self.tv, quantity=self.tv_quantity))
        customer, address = Customer(**self.customer.model_dump()), Address(**self.address.model_dump())
        return OrderRequest(customer=customer, address=address, items=tuple(items))


class SignUpPages:
    """The form and what it does. A form carries a key, so that sending it again is the same order."""

    settings: dict[str, Any]
    tokens: Tokens
    intake: Intake
    limits: Limits
    order: RpcClient
    mypage: RpcClient

    @page("GET", "/signup")
    def show_sign_up(self, view: View) -> Response:
        """The sign-up form. `?internet=` and `?tv=` choose a product beforehand."""
        chosen = {name: view.request.args.get(name, "") for name in ("internet", "tv")}
        quantities = {"internet_quantity": str(self._signup_minimum), "tv_quantity": "1"}
        return self._signup_form(view, forms.Form(chosen | quantities), _new_key())

    @page("POST", "/signup", checks_form=False)
    def sign_up(self, view: View) -> Response:
        """Take the order and lead to its MyPage; or show the form again, with all that was typed."""
        form = forms.read(view.request.form, SignUp, FIELDS, address={}, customer={})
        key = _key_of(view.request)
        try:
            sessions.check_form(self.tokens, view.request)
        except Forbidden:
            if sessions.is_foreign(view.request):
                raise
            return self._signup_form(view, form, key, 403, problem="stale", errors={})
        if "total" in view.request.form:
            return self._signup_form(view, form, key, errors={})
        if form.value is None:
            return self._signup_form(view, form, key, 422)
        try:
            taken = self._signup_order(form.value.order(), _journal_key(view.request, key), view.request)
        except (TooManyRequests, Overloaded, Unavailable) as refused:
            return self._signup_refused(view, form, key, refused)
        except (Invalid, Conflict) as refused:
            # No order stands under this key here: what is sent next is a new one.
            return self._signup_refused(view, form, _new_key(), refused)
        return self._signup_done(view, taken)

    def _signup_order(self, order: OrderRequest, key: str, request: Request) -> ordering.Taken:
        """Take the order. A key whose first order was refused is as good as unused."""
        while True:
            taken = ordering.place(self, order, key, self.limits.address(request))
            if taken.same or not ordering.was_refused(self, taken.order_id):
                return taken
            key = f"{key}+{taken.order_id.hex[-8:]}"

    def _signup_done(self, view: View, taken: ordering.Taken) -> Response:
        notice = ("signup-placed" if taken.placed else "signup-accepted") if taken.same else "signup-sent-before"
        response = view.redirect(sessions.my_path(taken.order_id), notice=notice)
        owner = ordering.owner(self, taken.order_id, taken.accepted_at)
        Cookies.of(self.tokens, self.settings).sign_in(response, owner, taken.accepted_at)
        return response

    def _signup_refused(self, view: View, form: forms.Form[SignUp], key: str, refused: DomainError) -> Response:
        """The form again, with what the refusal means for the sender."""
        problem = {409: "sent-elsewhere", 422: None, 429: "too-many"}.get(refused.http_status, "unavailable")
        errors = forms.faults(refused) if isinstance(refused, Invalid) else {}
        response = self._signup_form(view, form, key, refused.http_status, problem=problem, errors=errors)
        if refused.retry_after_s is not None:
            response.headers["Retry-After"] = str(max(1, round(refused.retry_after_s)))
        return response

    def _signup_form(
        self, view: View, form: forms.Form[SignUp], key: str, status: int = 200, *, problem: str | None = None,
        errors: dict[str, str] | None = None,
    ) -> Response:
        found = {_field(name) for name in (form.errors if errors is None else errors)}
        faults = {name: view.t(f"signup-error-{_dashed(name)}") for name in (*FIELDS, OTHER) if name in found}
        response = view.render(
            "signup/form.html", status, form=form, key=key, problem=problem, faults=faults,
            summary=[(_element(name), text) for name, text in faults.items()], total=monthly_fee(form),
            minimum=self._signup_minimum, maximum=MAX_QUANTITY,
        )
        if view.request.method == "GET":
            # Who comes back to it in the browser's history shall find the same form, with the same key, not a fresh
            # one. Nothing personal is in it yet; and it came with the very cookies that it goes with.
            response.headers["Cache-Control"] = "private, no-cache"
            response.headers["Vary"] = "Accept-Language"
        return response

    @property
    def _signup_minimum(self) -> int:
        return int(self.settings["MIN_INTERNET_QUANTITY"])


def monthly_fee(form: forms.Form[SignUp]) -> int:
    """What the chosen products cost a month, in won; what is not understood counts nothing."""
    fee = 0
    for kind in ("internet", "tv"):
        product, quantity = PRODUCTS.get(form[kind]), form[f"{kind}_quantity"]
        if product is not None and quantity.isascii() and quantity.isdigit():
            fee += product.monthly_fee_krw * min(int(quantity[:4]), MAX_QUANTITY)
    return fee


def _field(name: str) -> str:
    """The field of the page at which a fault is shown."""
    return "internet_quantity" if name == "items" else name if name in FIELDS else OTHER


def _dashed(name: str) -> str:
    return name.replace(".", "-").replace("_", "-")


def _element(name: str) -> str:
    """The id of the element to go to for a fault of this field."""
    first = next(product.id for product in PRODUCTS.values() if product.kind == "internet")
    return {"internet": f"internet-{first}", "tv": "tv-none", OTHER: "main"}.get(name, _dashed(name))


def _new_key() -> str:
    return secrets.token_urlsafe(18)


def _key_of(request: Request) -> str:
    """The key the form came with; a form without a good one is a form of its own."""
    key = request.form.get("key", "")
    return key if re.fullmatch(r"[\w-]{16,64}", key, re.ASCII) else _new_key()


def _journal_key(request: Request, key: str) -> str:
    """The idempotency key of this form in this browser: nobody else's form, and no API client's key, can be it."""
    visitor = request.cookies.get(sessions.VISITOR_COOKIE, "")
    return "signup:" + hashlib.sha256(f"{visitor}:{key}".encode()).hexdigest()
