"""The interface, as a function from request to answer: what may be asked, of whom, and in which words it is refused."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tv_middleware.faults import Faults
from tv_middleware.state import Content, State

PAGE = 500
_SUBSCRIBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}")


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """Its answer. `silent`: the connection ends instead."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False


class Refused(Exception):
    """The answer is no: `status`, in these words, `kind` the last part of the problem's type (RFC 9457)."""

    def __init__(self, status: int, words: str, kind: str = "", **headers: str) -> None:
        super().__init__(words)
        self.status = status
        self.kind = kind
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def answer(self) -> Answer:
        """As a problem document."""
        problem = {"title": HTTPStatus(self.status).phrase, "status": self.status, "detail": str(self)}
        if self.kind:
            problem = {"type": f"urn:problem:tv-middleware:{self.kind}", **problem}
        return Answer(self.status, problem, {"Content-Type": "application/problem+json", **self.headers})


class Api:
    """The whole interface over one state; `faults` None where the process is not for tests."""

    def __init__(self, state: State, packages: tuple[str, ...], key: str, faults: Faults | None = None) -> None:
        self._state = state
        self._packages = packages
        self._key = key.encode()
        self._faults = faults

    def answer(self, request: Request) -> Answer:
        """Carry out one request."""
        try:
            return self._answer(request)
        except Refused as refused:
            return refused.answer

    def _answer(self, request: Request) -> Answer:
        url = urlsplit(request.target)
        if url.path == "/livez":
            _only(request, "GET")
            return Answer(200, {"status": "ok"})
        self._authorize(request)
        if url.path == "/faults" and self._faults is not None:
            return self._control(request, self._faults)
        collection, _, name = url.path.removeprefix("/").partition("/")
        if collection != "entitlements":
            raise Refused(404, f"there is no {url.path} here")
        return self._misbehaving(request, unquote(name), url.query)

    def _authorize(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(key.strip().encode("latin-1"), self._key):
            raise Refused(401, "the key is missing or not the right one", WWW_Authenticate="Bearer")

    def _misbehaving(self, request: Request, subscriber: str, query: str) -> Answer:
        fault = self._faults.meet(request.method, subscriber) if self._faults is not None else None
        if fault is None:
            return self._entitlements(request, subscriber, query)
        if fault.kind == "fail":
            wait = {} if fault.retry_after_s is None else {"Retry_After": str(fault.retry_after_s)}
            raise Refused(fault.status, fault.words, **wait)
        answer = self._entitlements(request, subscriber, query)
        if fault.kind == "drop":
            return Answer(answer.status, silent=True)
        fault.lifted.wait(fault.seconds)
        return answer

    def _entitlements(self, request: Request, subscriber: str, query: str) -> Answer:
        if not subscriber:
            _only(request, "GET")
            return self._list(query)
        _only(request, "GET", "PUT", "DELETE")
        if not _SUBSCRIBER.fullmatch(subscriber):
            raise Refused(422, f"{subscriber!r} cannot be a subscriber: letters, digits and . _ ~ - only, 100 at most")
        if request.method == "DELETE":
            self._state.delete(subscriber)
            return Answer(204)
        if request.method == "PUT":
            return Answer(201 if self._state.write(subscriber, self._entitlement(request.body)) else 204)
        found = self._state.read(subscriber)
        if found is None:
            raise Refused(404, f"{subscriber} has no entitlement", "no-entitlement")
        return Answer(200, found)

    def _list(self, query: str) -> Answer:
        given = parse_qs(query)
        limit = given.get("limit", [str(PAGE)])[0]
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= PAGE):
            raise Refused(422, f"limit must be between 1 and {PAGE}, not {limit!r}")
        page = self._state.page(given.get("after", [""])[0], int(limit))
        more = len(page) == int(limit)
        return Answer(200, {"entitlements": page, "next": max(page) if more else None})

    def _entitlement(self, body: bytes) -> Content:
        content = _json_object(body)
        package = content.get("package")
        if not isinstance(package, str):
            raise Refused(422, "an entitlement names its package")
        if package not in self._packages:
            raise Refused(422, f"package {package!r} is not in the catalogue ({', '.join(self._packages)})")
        return content

    def _control(self, request: Request, faults: Faults) -> Answer:
        _only(request, "POST", "DELETE")
        if request.method == "DELETE":
            faults.heal()
            return Answer(204)
        try:
            faults.add(_json_object(request.body))
        except (TypeError, ValueError) as exc:
            raise Refused(422, f"no such fault: {exc}") from exc
        return Answer(204)


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise Refused(405, f"{request.method} is not possible here", Allow=", ".join(methods))


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as exc:
        raise Refused(400, "the body is not JSON") from exc
    if not isinstance(content, dict):
        raise Refused(422, "the body is not a JSON object")
    return content


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not JSON (RFC 8259)")
