"""One decorator for every page: who may open it, whose order it is, and that its forms are ours.

`PAGES` is the table of them, with the same rows, and the same checks, as the routes of the API (`gateway_svc.routing`).
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import quote
from zoneinfo import ZoneInfo

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from chassis import web
from chassis.rpc_client import CallFailed, RemoteFault
from contracts.errors import DomainError, Unauthenticated, Unavailable
from contracts.ids import is_uuid7
from gateway_svc import wire
from gateway_svc.auth import Caller, Role, Tokens
from gateway_svc.pages import sessions
from gateway_svc.pages.formats import Formats
from gateway_svc.pages.sessions import Cookies, Session
from gateway_svc.pages.texts import LANGUAGE_COOKIE, LANGUAGES, language_of, texts
from gateway_svc.pages.view import View, local_path
from gateway_svc.routing import ANYONE, Route, target_of

PAGES: list[Route] = []

SIGN_IN: dict[Session, str] = {"staff": "/signin", "order": "/my"}

Handler = Callable[[Any, View], Response]


class Site(Protocol):
    """What the decorator needs of the service."""

    tokens: Tokens
    settings: dict[str, Any]

    def audit(
        self, caller: Caller, action: str, order_id: Any, status: int, target: str | None = None
    ) -> None: ...


def page(
    method: str, path: str, *, roles: frozenset[Role] = ANYONE, owner: bool = False, session: Session = "staff",
    max_body: int = web.MAX_BODY, checks_form: bool = True, audited: bool = True,
) -> Callable[[Handler], Handler]:
    """Make a method of the service answer `method` `path` with a page. `session`: which cookie says who asks.
    Without `checks_form` the method calls `sessions.check_form` itself, because it shows again what was typed.

    The method takes a `View` and returns a Response (`view.render`, `view.redirect`). Whatever it raises becomes a
    page that says so; without the cookie it needs, the caller is sent to sign in.
    """

    def decorate(handler: Handler) -> Handler:
        summary = (handler.__doc__ or "").strip().splitlines()[0]
        entry = Route(
            method, path, handler.__name__, summary, "pages", roles, owner=owner, media_type="text/html",
            audited=audited, checks_form=checks_form,
        )
        PAGES.append(entry)

        @functools.wraps(handler)
        def handle(self: Any, request: Request, **values: str) -> Response:
            return _answer(self, entry, session, handler, request, values)

        entrypoint: Handler = web.http(method, path, max_body=max_body)(handle)
        return entrypoint

    return decorate


def _answer(
    service: Site, entry: Route, session: Session, handler: Handler, request: Request,
    values: dict[str, str],
) -> Response:
    visitor = request.cookies.get(sessions.VISITOR_COOKIE) or secrets.token_urlsafe(16)
    cookies = Cookies.of(service.tokens, service.settings)
    caller = sessions.caller(service.tokens, request, session)
    view = _view(service, request, caller, values, visitor)
    try:
        response = _checked(service, entry, handler, view)
    except Unauthenticated:
        response = _to_sign_in(view, session)
    except Exception as error:
        response = error_page(view, error)
    if caller is not None and entry.audited and entry.method != "GET":
        service.audit(caller, entry.name, view.order_id, response.status_code, **target_of(values))
    if not any(line.startswith(sessions.VISITOR_COOKIE) for line in response.headers.getlist("Set-Cookie")) and (
        sessions.VISITOR_COOKIE not in request.cookies
    ):
        cookies.visitor(response, visitor)
    if request.args.get("lang") in LANGUAGES:
        cookies.language(response, LANGUAGE_COOKIE, view.language)
    return response


def _view(service: Site, request: Request, caller: Caller | None, values: dict[str, str], visitor: str) -> View:
    language = language_of(request)
    zone = ZoneInfo(str(service.settings.get("TIMEZONE", "Asia/Seoul")))
    order_id = None
    if "order_id" in values and is_uuid7(values["order_id"]):
        order_id = wire.order_id_from(values["order_id"])
    csrf = sessions.csrf_token(service.tokens, visitor)
    return View(request, caller, order_id, values, texts(language), Formats(language, zone), csrf)


def _checked(service: Site, entry: Route, handler: Handler, view: View) -> Response:
    """Whose page it is, before anything is read; for a form, that it is ours; then the page."""
    entry.allows(view.caller)
    if "order_id" in view.path:
        wire.order_id_from(view.path["order_id"])
    if entry.owner and view.caller is not None and view.order_id is not None:
        view.caller.check_owns(view.order_id)
    if entry.checks_form and entry.method != "GET":
        sessions.check_form(service.tokens, view.request)
    return handler(service, view)


def _to_sign_in(view: View, session: Session) -> Response:
    if view.from_script:
        return error_page(view, Unauthenticated("sign in again"))
    wanted = view.request.full_path.rstrip("?") if view.request.method == "GET" else SIGN_IN[session]
    return view.redirect(f"{SIGN_IN[session]}?next={quote(wanted)}")


def _where_again(request: Request) -> str:
    """Where to try again: this page, or the one on which the form stood that was sent."""
    if request.method == "GET":
        return local_path(request.full_path.rstrip("?"), "/")
    host, slash, rest = request.headers.get("Referer", "").partition("://")[2].partition("/")
    return local_path(slash + rest, "/") if host == request.host else "/"


def error_page(view: View, error: Exception) -> Response:
    """What went wrong, in the reader's language, with what they can do; never what is inside."""
    if isinstance(error, CallFailed | RemoteFault):
        error = Unavailable(str(error), retry_after_s=getattr(error, "retry_after_s", None))
    known = isinstance(error, DomainError | HTTPException)
    answer = web.problem_for(error) if known else None
    answer = answer or web.unexpected(error)
    status = answer.status_code
    kind = f"error-{status}" if f"error-{status}" in view.t else "error-any"
    shows_detail = isinstance(error, DomainError) and status in (409, 422)
    response = view.render(
        "error.html", status, kind=kind, again=_where_again(view.request), detail=str(error) if shows_detail else None,
        request_id=view.request.environ.get("chassis.request_id", ""),
    )
    if "Retry-After" in answer.headers:
        response.headers["Retry-After"] = answer.headers["Retry-After"]
    return response

