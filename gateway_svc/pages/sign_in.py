"""The ways in and out for staff, the shop's door, and the files that all pages need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

from chassis import clock
from chassis.web import http
from contracts.errors import TooManyRequests, Unauthenticated, Unavailable
from gateway_svc import schemas
from gateway_svc.auth import STAFF, Caller, Role, Tokens
from gateway_svc.pages import assets, forms
from gateway_svc.pages.routing import page
from gateway_svc.pages.sessions import Cookies
from gateway_svc.pages.view import View, local_path

HOME: dict[Role, str] = {"dispatcher": "/dispatch", "technician": "/tech", "operator": "/ops"}


class SignInPages:
    """Signing in and out. Failures are counted together with those of `POST /api/sessions`."""

    tokens: Tokens
    settings: dict[str, Any]
    staff_caller: Callable[[schemas.SignIn, Request], Caller]

    @http("GET", "/static/<version>/<path:name>")
    def static_file(self, request: Request, version: str, name: str) -> Response:
        """A style sheet, a script or a picture."""
        return assets.serve(request, version, name)

    @page("GET", "/")
    def show_home(self, view: View) -> Response:
        """The shop's door: sign up."""
        return view.redirect("/signup")

    @page("GET", "/signin")
    def show_sign_in(self, view: View) -> Response:
        """The sign-in form for staff; who has signed in already goes to their desk."""
        if view.caller is not None:
            return view.redirect(_destination(view, view.caller))
        return view.render("sign_in.html", form=forms.Form({}), failure=None)

    @page("POST", "/signin", audited=False)
    def sign_in_staff(self, view: View) -> Response:
        """Sign in as staff; repeated failures lock the caller out for a while. `staff_caller` writes the record."""
        form = forms.read(view.request.form, schemas.SignIn, ("username", "password"))
        if form.value is None:
            return view.render("sign_in.html", 422, form=form, failure="sign-in-incomplete")
        try:
            caller = self.staff_caller(form.value, view.request)
        except (Unauthenticated, TooManyRequests, Unavailable) as refused:
            failure = {401: "sign-in-wrong", 429: "sign-in-locked"}.get(refused.http_status, "sign-in-impossible")
            response = view.render("sign_in.html", refused.http_status, form=form, failure=failure)
            if refused.retry_after_s is not None:
                response.headers["Retry-After"] = str(max(1, round(refused.retry_after_s)))
            return response
        response = view.redirect(_destination(view, caller))
        Cookies.of(self.tokens, self.settings).sign_in(response, caller, clock.utc_now())
        return response

    @page("POST", "/signout", roles=STAFF)
    def sign_out_staff(self, view: View) -> Response:
        """Forget who has signed in on this browser."""
        response = view.redirect("/signin", notice="signed-out")
        # What a phone keeps for a dead spot is the user's: it goes with them.
        response.headers["Clear-Site-Data"] = '"cache"'
        Cookies.of(self.tokens, self.settings).sign_out(response, "staff")
        return response


def _destination(view: View, caller: Caller) -> str:
    """Where they wanted to go, or their desk."""
    return local_path(view.request.values.get("next"), HOME[caller.role])
