"""HTTP entrypoints: `@http("GET", "/api/orders/<order_id>")` and `problem(...)` (RFC 9457).

A route returns a werkzeug Response, text, a JSON value, `(status, payload)` or `(status, headers, payload)`. What it
raises becomes a problem document; what it did not mean to raise becomes a 500 that says nothing but its request id.
"""

from __future__ import annotations

import http as http_codes
import json
import math
from datetime import date, datetime
from time import perf_counter
from typing import Any

from nameko.exceptions import BadRequest, ContainerBeingKilled
from nameko.web.handlers import HttpRequestHandler
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map
from werkzeug.wrappers import Request, Response

from chassis import metrics
from chassis.logging import bind, bound, get_logger
from chassis.settings import setting
from chassis.web_body import BodyRefused, has_body, take_body
from chassis.web_protocol import problem_document, sane_request_id
from chassis.web_server import Stream, WebServer

__all__ = ["Answerable", "App", "HttpEntrypoint", "WebServer", "http", "json_response", "problem", "problem_for"]

MAX_BODY = 64 * 1024
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_log = get_logger(__name__)


def problem(
    status: int,
    title: str,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return an `application/problem+json` answer; `errors` is a list of {"field", "message"} (RFC 9457)."""
    body = problem_document(status, title, detail, errors=errors, request_id=bound("request_id"))
    return Response(body, status=status, headers=headers, content_type="application/problem+json")


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return `value` as JSON in UTF-8; UUIDs become text, times RFC 3339."""
    body = json.dumps(value, ensure_ascii=False, default=_json_value).encode("utf-8", "replace")
    return Response(body, status=status, headers=headers, content_type="application/json")


def _json_value(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime | date) else str(value)


class _HasAnswer(type):
    def __instancecheck__(cls, error: object) -> bool:
        """Errors that know their answer: domain errors (http_status) and failed calls (retry_after_s)."""
        return isinstance(error, Exception) and (hasattr(error, "http_status") or hasattr(error, "retry_after_s"))


class Answerable(Exception, metaclass=_HasAnswer):
    """Matches, in `isinstance`, every exception that knows its HTTP answer; chassis cannot import contracts."""


def problem_for(error: Exception) -> Response | None:
    """Return the problem an exception stands for; None where it was not meant to be an answer.

    Reads `http_status`, `title`, `detail`, `fields` and `retry_after_s`; an exception with `retry_after_s` alone
    (a call that failed) is a 503.
    """
    if isinstance(error, HTTPException):
        status = error.code or 400
        return problem(status, http_codes.HTTPStatus(status).phrase, error.description or "")
    if isinstance(error, BadRequest):
        return problem(400, "Bad request", str(error))
    if not isinstance(error, Answerable):
        return None
    status = int(getattr(error, "http_status", 503))
    wait_s = getattr(error, "retry_after_s", None)
    if status in (429, 503) and wait_s is None:
        wait_s = 1.0
    headers = {"Retry-After": str(max(1, math.ceil(wait_s)))} if wait_s is not None else None
    title = getattr(error, "title", None) or http_codes.HTTPStatus(status).phrase
    detail = getattr(error, "detail", None) or str(error) or title
    return problem(status, title, detail, errors=getattr(error, "fields", None), headers=headers)


def unexpected(error: BaseException) -> Response:
    """Log an error nobody meant and answer it without telling anything but the request id."""
    _log.error("http_unexpected_error", error=repr(error), exc_info=(type(error), error, error.__traceback__))
    detail = f"Something went wrong here. Quote request id {bound('request_id')} when you report it."
    return problem(500, "Internal server error", detail)


class HttpEntrypoint(HttpRequestHandler):
    """A route. The body is read, at most `max_body` bytes, before a worker is taken, so slow clients hold none."""

    server = WebServer()

    def __init__(self, method: str, url: str, max_body: int = MAX_BODY, **kwargs: Any) -> None:
        expected = kwargs.pop("expected_exceptions", ())
        expected = expected if isinstance(expected, tuple) else (expected,)
        super().__init__(method, url, expected_exceptions=(*expected, Answerable, HTTPException), **kwargs)
        self.max_body = max_body

    def handle_request(self, request: Any) -> Response:
        """Run the route as a worker; refuse at once where too many already wait."""
        pool = self.container._worker_pool
        limit = int(setting(self.container, "HTTP_MAX_WAITING", 256))
        if pool.free() <= 0 and pool.waiting() >= limit:
            return problem(503, "Overloaded", "Too many requests are waiting here", headers={"Retry-After": "1"})
        request.shallow = False
        try:
            result = self._run(request)
            return self.response_from_result(result)
        except ContainerBeingKilled:
            return problem(503, "Unavailable", "The service is stopping", headers={"Retry-After": "1"})
        except Exception as error:
            return self.response_from_exception(error)

    def _run(self, request: Any) -> Any:
        args, kwargs = self.get_entrypoint_parameters(request)
        data = self.server.context_data_from_headers(request)
        result, exc_info = self.container.carry_out(self, args, kwargs, context_data=data)
        if exc_info is not None:
            raise exc_info[1]
        return result

    def response_from_result(self, result: Any) -> Response:
        """See the module's docstring for what a route may return."""
        status, headers = 200, None
        if isinstance(result, tuple):
            status, headers, result = result if len(result) == 3 else (result[0], None, result[1])
        if isinstance(result, Response):
            return result
        if isinstance(result, str):
            return Response(result, status=status, headers=headers)
        return json_response(result, status, headers)

    def problem_from_exception(self, error: Exception) -> Response | None:
        """Override to map further exceptions; None leaves it a 500."""
        return problem_for(error)

    def response_from_exception(self, error: Exception) -> Response:
        """A problem document: the mapped one, or a bare 500."""
        return self.problem_from_exception(error) or unexpected(error)


http = HttpEntrypoint.decorator


class App:
    """The WSGI application: request id, routing, body limit, HEAD and OPTIONS, metrics and the access line."""

    def __init__(self, server: WebServer) -> None:
        self.server = server
        self.service = str(server.container.service_name)
        self.url_map: Map = server.make_url_map()
        self.url_map.merge_slashes = False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        started = perf_counter()
        request_id = sane_request_id(environ.get("HTTP_X_REQUEST_ID"))
        environ["chassis.request_id"] = request_id
        with bind(service=self.service, request_id=request_id):
            try:
                response = self._respond(environ)
            except Exception as error:
                response = unexpected(error)
            if has_body(environ) and not environ.get("chassis.body_taken"):
                environ["chassis.connection"].close_after(linger=True)  # what follows is a body, not a request
            response.headers["X-Request-ID"] = request_id
            # Answers hold personal data: nobody on the way keeps them, unless a route says that its own may be kept.
            response.headers.setdefault("Cache-Control", "no-store")
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            self._account(environ, response, perf_counter() - started)
            return self._finish(environ, response, start_response)

    def _respond(self, environ: dict[str, Any]) -> Response:
        try:
            path = environ["PATH_INFO"].encode("latin-1").decode("utf-8")
        except UnicodeDecodeError:
            return problem(400, "Bad request", "The path is not valid UTF-8")
        if "\x00" in path:
            return problem(400, "Bad request", "The path may not contain a NUL character")
        adapter = self.url_map.bind("localhost", path_info=path, default_method=environ["REQUEST_METHOD"])
        if environ["REQUEST_METHOD"] == "OPTIONS":
            return self._options(list(adapter.allowed_methods()))
        try:
            handler, values = adapter.match()
        except MethodNotAllowed as error:
            allow = _allow(list(error.valid_methods or ()))
            return problem(405, "Method not allowed", f"This path answers {allow}", headers={"Allow": allow})
        except HTTPException:
            return problem(404, "Not found", "There is nothing at this path")
        environ["chassis.route"] = getattr(handler, "url", path)
        try:
            take_body(environ, getattr(handler, "max_body", MAX_BODY))
        except BodyRefused as refused:
            return problem(refused.status, refused.title, refused.detail)
        request = Request(environ, shallow=True)
        request.path_values = values
        response: Response = handler.handle_request(request)
        return response

    @staticmethod
    def _options(methods: list[str]) -> Response:
        if not methods:
            return problem(404, "Not found", "There is nothing at this path")
        return Response(status=204, headers={"Allow": _allow(methods)})

    def _account(self, environ: dict[str, Any], response: Response, took_s: float) -> None:
        method = environ["REQUEST_METHOD"] if environ["REQUEST_METHOD"] in _METHODS else "other"
        route = environ.get("chassis.route", "unmatched")
        metrics.HTTP_DURATION.labels(self.service, method, route, str(response.status_code)).observe(took_s)
        if not environ.get("chassis.quiet"):
            _log.info(
                "http_request",
                method=method,
                path=environ["PATH_INFO"],
                route=route,
                status=response.status_code,
                duration_ms=round(took_s * 1000, 1),
            )

    def _finish(self, environ: dict[str, Any], response: Response, start_response: Any) -> Any:
        if response.is_streamed and environ["REQUEST_METHOD"] != "HEAD":
            environ["eventlet.minimum_write_chunk_size"] = 1  # each piece leaves at once
            response.response = Stream(self.server, response.response, environ["chassis.request_id"])
        elif response.is_streamed:
            response.close()
        return response(environ, start_response)


def _allow(methods: list[str]) -> str:
    return ", ".join(sorted({*methods, "OPTIONS"}))
