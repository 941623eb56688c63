"""Who uses a page: cookies that carry the same signed tokens as the API's bearers, and forms that only we can make.

The API takes no cookie and pages take no bearer, so no other site can make a browser call the API. Against forged
forms: every browser gets a random visitor cookie, and every form carries a signature of it (OWASP CSRF prevention:
signed double submit); what browsers say of a request's origin (Sec-Fetch-Site, Origin) is held against it as well.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from werkzeug.wrappers import Request, Response

from chassis import clock
from contracts.errors import Forbidden, Unauthenticated
from gateway_svc.auth import Caller, Tokens

STAFF_COOKIE = "oss_staff"
ORDER_COOKIE = "oss_order"
VISITOR_COOKIE = "oss_visitor"
CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"

Session = Literal["staff", "order"]
COOKIES: dict[Session, str] = {"staff": STAFF_COOKIE, "order": ORDER_COOKIE}


def my_path(order_id: UUID | str) -> str:
    """MyPage of one order. Its cookie is sent there only, so that several orders can be followed side by side."""
    return f"/my/{order_id}"


def caller(tokens: Tokens, request: Request, session: Session) -> Caller | None:
    """Who has signed in; None without a cookie, or with one that is no longer good."""
    token = request.cookies.get(COOKIES[session])
    if not token:
        return None
    try:
        found = tokens.read(token, clock.utc_now())
    except Unauthenticated:
        return None
    return found if (found.role == "subscriber") == (session == "order") else None


class Cookies:
    """Sets and clears cookies. `secure` False is for plain HTTP to another host than this one, in a test network."""

    def __init__(self, tokens: Tokens, *, secure: bool) -> None:
        self._tokens, self._secure = tokens, secure

    @classmethod
    def of(cls, tokens: Tokens, settings: Mapping[str, Any]) -> Cookies:
        """The cookies that the setting `COOKIE_SECURE` asks for."""
        return cls(tokens, secure=str(settings.get("COOKIE_SECURE", True)).lower() != "false")

    def sign_in(self, response: Response, signed_in: Caller, issued_at: datetime) -> None:
        """Remember who has signed in until their token ends. Forms made before staff did are no longer good."""
        token = self._tokens.issue(signed_in, issued_at)
        if signed_in.order_id is not None:
            path, name, same_site = my_path(signed_in.order_id), ORDER_COOKIE, "Lax"
        else:
            path, name, same_site = "/", STAFF_COOKIE, "Strict"
        response.set_cookie(
            name, token, expires=signed_in.expires_at, path=path, secure=self._secure, httponly=True, samesite=same_site
        )
        if signed_in.order_id is None:
            self.visitor(response, secrets.token_urlsafe(16))

    def sign_out(self, response: Response, session: Session, path: str = "/") -> None:
        """Forget who has signed in, and make forms of before worthless."""
        response.delete_cookie(COOKIES[session], path=path, secure=self._secure, httponly=True, samesite="Lax")
        self.visitor(response, secrets.token_urlsafe(16))

    def visitor(self, response: Response, visitor: str) -> None:
        """Remember this browser."""
        response.set_cookie(VISITOR_COOKIE, visitor, path="/", secure=self._secure, httponly=True, samesite="Lax")

    def language(self, response: Response, name: str, language: str) -> None:
        """Remember the chosen language for a year. No secret, and no script needs it either."""
        response.set_cookie(
            name, language, max_age=365 * 86400, path="/", secure=self._secure, httponly=True, samesite="Lax"
        )


def csrf_token(tokens: Tokens, visitor: str) -> str:
    """What the forms of this browser carry."""
    return tokens.sign(f"csrf:{visitor}")


def is_foreign(request: Request) -> bool:
    """Whether the browser says that another site made it send this."""
    origin = request.headers.get("Origin")
    return request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none") or (
        origin is not None and "Sec-Fetch-Site" not in request.headers and origin.partition("://")[2] != request.host
    )


def check_form(tokens: Tokens, request: Request) -> None:
    """Raise Forbidden unless this request comes from a form that we gave to this very browser."""
    visitor = request.cookies.get(VISITOR_COOKIE, "")
    given = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
    good = any(
        hmac.compare_digest(given.encode(), signature.encode()) for signature in tokens.signatures(f"csrf:{visitor}")
    )
    if is_foreign(request) or not visitor or not good:
        raise Forbidden("this form is out of date or was not made by this site; load the page again")
