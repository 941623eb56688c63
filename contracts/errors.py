"""The one small tree of domain errors. Each knows its RPC name and its HTTP status.

An error crosses RPC as (name, arguments) and is raised again as the same class at the caller.
"""

from __future__ import annotations

from typing import Any, ClassVar


class DomainError(Exception):
    """An answer that is not a result. `detail` says what was wrong and what would be right.

    `fields` is a list of `{"field": ..., "message": ...}` (RFC 9457 extension member `errors`);
    `retry_after_s` is set where coming back later makes sense.
    """

    title: ClassVar[str] = "Error"
    http_status: ClassVar[int] = 500

    def __init__(
        self,
        detail: str = "",
        fields: list[dict[str, str]] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.detail = detail or self.title
        self.fields = list(fields or [])
        self.retry_after_s = float(retry_after_s) if retry_after_s is not None else None
        # Everything the constructor needs goes into `args`, because that is what crosses RPC.
        super().__init__(self.detail, self.fields, self.retry_after_s)

    def __str__(self) -> str:
        return self.detail

    @property
    def rpc_name(self) -> str:
        """The name under which this error crosses RPC."""
        return type(self).__name__

    def as_dict(self) -> dict[str, Any]:
        """The error as a value, for answers that carry one result for each of several requests."""
        return {
            "error": self.rpc_name,
            "detail": self.detail,
            "fields": self.fields,
            "retry_after_s": self.retry_after_s,
        }


class Invalid(DomainError):
    """The content of a request breaks a rule; `fields` names the fields at fault."""

    title = "Invalid content"
    http_status = 422


class Unauthenticated(DomainError):
    """Nobody has signed in, or the token is wrong or has expired."""

    title = "Sign in first"
    http_status = 401


class Forbidden(DomainError):
    """The caller's role, or ownership, does not allow this."""

    title = "Not allowed"
    http_status = 403


class NotFound(DomainError):
    """There is nothing of that id."""

    title = "Not found"
    http_status = 404


class Conflict(DomainError):
    """The request does not fit the state things are in."""

    title = "Conflict with the present state"
    http_status = 409


class TooManyRequests(DomainError):
    """The caller asks too often; `retry_after_s` says when to come back."""

    title = "Too many requests"
    http_status = 429


class Overloaded(DomainError):
    """The service is full and refuses at once; `retry_after_s` says when to come back."""

    title = "Overloaded"
    http_status = 503


class Unavailable(DomainError):
    """The service, or the way to it, cannot be reached: no answer within the deadline, or no way at all."""

    title = "Unavailable"
    http_status = 503


def _tree(cls: type[DomainError]) -> dict[str, type[DomainError]]:
    found = {cls.__name__: cls}
    for child in cls.__subclasses__():
        found |= _tree(child)
    return found


BY_NAME: dict[str, type[DomainError]] = _tree(DomainError)


def from_rpc(name: str, args: list[Any], value: str) -> DomainError | None:
    """Return the domain error that crossed RPC as `name` with `args`; None where it is not one of ours."""
    cls = BY_NAME.get(name)
    if cls is None:
        return None
    # Nameko writes everything but text and lists as text, so "no retry_after_s" arrives as "None".
    detail_and_fields, retry_after_s = args[:2], [given for given in args[2:3] if given != "None"]
    try:
        return cls(*detail_and_fields, *retry_after_s)
    except (TypeError, ValueError):
        return cls(value)
