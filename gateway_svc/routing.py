"""One decorator for every route: who may call it, whose order it is, what it takes and what it answers.

The table `ROUTES` is built by it. Roles and ownership are enforced here and nowhere else, and the OpenAPI document
is generated from the same rows.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol
from uuid import UUID

from pydantic import BaseModel
from pydantic_core import to_json
from werkzeug.wrappers import Request, Response

from chassis import clock
from chassis.logging import get_logger
from chassis.rpc_client import RemoteFault
from chassis.web import MAX_BODY, http, problem
from contracts.errors import Forbidden, Unauthenticated, Unavailable
from gateway_svc import wire
from gateway_svc.auth import STAFF, Caller, Role, Tokens

ANYONE: frozenset[Role] = frozenset()
EVERYONE: frozenset[Role] = STAFF | {"subscriber"}
DISPATCH: frozenset[Role] = frozenset({"dispatcher", "operator"})
FIELD: frozenset[Role] = frozenset({"technician", "operator"})
OPERATOR: frozenset[Role] = frozenset({"operator"})

FAULT_RETRY_AFTER_S = 5.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table. `roles` empty: anyone, without a token. `owner`: subscribers only with their own order.

    `checks_form` False: a page's method checks itself that the form is ours. `audited` False: a script sends it by
    itself, so it is nobody's deed.
    `uploads` are the media types of a body that is not JSON; the handler reads it, of at most `max_body` bytes.
    `answers` maps statuses to the model of the answer (None: no content, or not JSON); `problems` are the further
    statuses a client may meet beside those that follow from the rest.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    roles: frozenset[Role] = ANYONE
    owner: bool = False
    body: type[BaseModel] | None = None
    body_optional: bool = False
    query: type[BaseModel] | None = None
    answers: Mapping[int, type[BaseModel] | None] = field(default_factory=dict)
    problems: frozenset[int] = frozenset()
    headers: tuple[str, ...] = ()
    media_type: str = "application/json"
    uploads: tuple[str, ...] = ()
    audited: bool = True
    checks_form: bool = True
    max_body: int = MAX_BODY

    @property
    def parameters(self) -> list[str]:
        """Names in the path."""
        return re.findall(r"<(\w+)>", self.path)

    def allows(self, caller: Caller | None) -> None:
        """Raise Unauthenticated without a caller, Forbidden where the role is not in the row."""
        if not self.roles:
            return
        if caller is None:
            raise Unauthenticated("send Authorization: Bearer with a token from /api/sessions or from your order")
        if caller.role not in self.roles:
            raise Forbidden(f"this needs one of the roles {', '.join(sorted(self.roles))}; yours is {caller.role}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request of a route and one of a page have alike: who asks, and about which order.

    `path` holds the values of the path, `order_id` the checked one.
    """

    request: Request
    caller: Caller | None
    order_id: UUID | None
    path: Mapping[str, str]

    @property
    def by(self) -> Caller:
        """The caller of a route or page that has roles."""
        assert self.caller is not None
        return self.caller

    @property
    def order(self) -> str:
        """The order id of a route or page that has one, as text."""
        assert self.order_id is not None
        return str(self.order_id)


@dataclass(frozen=True, slots=True)
class Call(Asked):
    """One request, checked: `body` and `query` are of the route's models."""

    body: Any
    query: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and its JSON content (None: no content)."""

    status: int
    content: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Gate(Protocol):
    """What the decorator needs of the service."""

    tokens: Tokens

    def audit(
        self, caller: Caller, action: str, order_id: UUID | None, status: int, target: str | None = None
    ) -> None: ...


Handler = Callable[[Any, Call], Any]

ROUTES: list[Route] = []


def route(
    method: str, path: str, *, roles: frozenset[Role] = ANYONE, tag: str = "orders", **row: Any
) -> Callable[[Handler], Handler]:
    """Make a method of the service answer `method` `path`. Further keywords are fields of `Route`.

    The method takes a `Call` and returns JSON content, an `Answer` or a ready `Response`.
    """

    def decorate(handler: Handler) -> Handler:
        summary = (handler.__doc__ or "").strip().splitlines()[0]
        entry = Route(method, path, handler.__name__, summary, tag, roles, **row)
        ROUTES.append(entry)

        @functools.wraps(handler)
        def handle(self: Any, request: Request, **values: str) -> Response:
            try:
                return _handle(self, entry, handler, request, values)
            except Unauthenticated as error:
                # RFC 9110, section 15.5.2: a 401 says how to authenticate.
                return problem(401, error.title, error.detail, headers={"WWW-Authenticate": "Bearer"})

        entrypoint: Handler = http(method, path, max_body=entry.max_body)(handle)
        return entrypoint

    return decorate


def _handle(service: Gate, entry: Route, handler: Handler, request: Request, values: dict[str, str]) -> Response:
    caller = _caller(service.tokens, request) if entry.roles else None
    entry.allows(caller)
    order_id = wire.order_id_from(values["order_id"]) if "order_id" in values else None
    if caller is not None and entry.owner and order_id is not None:
        caller.check_owns(order_id)
    call = Call(
        request=request,
        caller=caller,
        order_id=order_id,
        path=values,
        query=wire.read_query(request.args, entry.query) if entry.query else None,
        body=wire.read_body(request, entry.body, optional=entry.body_optional) if entry.body else None,
    )
    try:
        response = _response(handler(service, call))
    except RemoteFault as fault:
        # A defect of another service is not the client's, and not the client's business.
        _log.error("a service failed", route=entry.name, order_id=str(order_id), error=str(fault))
        raise Unavailable("a service behind this failed; try again later", retry_after_s=FAULT_RETRY_AFTER_S) from fault
    if caller is not None and caller.role in STAFF and entry.method != "GET":
        service.audit(caller, entry.name, order_id, response.status_code, **target_of(values))
    return response


def target_of(values: Mapping[str, str]) -> dict[str, str]:
    """For the audit: what else than an order a path names, as the keyword `target`; nothing where it names nothing."""
    others = " ".join(value for name, value in values.items() if name != "order_id")
    return {"target": "".join(c if c.isprintable() else "?" for c in others)[:200]} if others else {}


def _caller(tokens: Tokens, request: Request) -> Caller | None:
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("send Authorization: Bearer with a token")
    return tokens.read(token.strip(), clock.utc_now())


def _response(result: Any) -> Response:
    if isinstance(result, Response):
        return result
    answer = result if isinstance(result, Answer) else Answer(HTTPStatus.OK, result)
    if answer.content is None:
        return Response(status=answer.status, headers=dict(answer.headers))
    return Response(
        to_json(answer.content), status=answer.status, headers=dict(answer.headers), mimetype="application/json"
    )


def one_page(items: Iterable[Any]) -> dict[str, Any]:
    """A list that has no further page."""
    return {"items": list(items), "next_cursor": None}
