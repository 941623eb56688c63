"""What became of a journalled request, as the mark that is written down: order_svc's answer, or one more attempt."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chassis.logging import get_logger
from contracts.errors import BY_NAME, DomainError, Invalid
from gateway_svc.journal import Entry, Mark

MAX_ATTEMPTS = 10

_log = get_logger(__name__)


def placed(entry: Entry, result: dict[str, Any]) -> Mark:
    """order_svc answered: the order stands, or is refused for good."""
    if result["status"] == "placed":
        stands_as = UUID(result["order_id"])
        return Mark(entry.entry_id, "forwarded", 201, stands_as=None if stands_as == entry.order_id else stands_as)
    _log.error("order_svc refuses this order", order_id=str(entry.order_id), error=result["error"])
    return Mark(entry.entry_id, "failed", _status(result["error"]), error=result["error"])


def refused(entry: Entry, exc: Exception) -> Mark:
    """order_svc raised for this one order. A defect there is raised on, for the caller to try again."""
    if not isinstance(exc, DomainError):
        raise exc
    _log.error("order_svc refuses this order", order_id=str(entry.order_id), error=exc.as_dict())
    return Mark(entry.entry_id, "failed", exc.http_status, error=exc.as_dict())


def _status(error: dict[str, Any]) -> int:
    """The HTTP status of an error that came as a value."""
    return BY_NAME.get(str(error.get("error")), Invalid).http_status


def attempted(entry: Entry, exc: Exception) -> Mark:
    """One more failed attempt of an entry whose neighbours went through."""
    attempts = entry.attempts + 1
    error = {"error": type(exc).__name__, "detail": str(exc)[:2000], "fields": []}
    _log.error("order_svc cannot take this request", order_id=str(entry.order_id), attempts=attempts, error=error)
    return Mark(entry.entry_id, "failed" if attempts >= MAX_ATTEMPTS else "pending", error=error, attempts=attempts)


def as_told(mark: Mark, told: bool) -> Mark:
    """What a waiting client hears now needs no operator; what nobody hears does."""
    if mark.state == "failed" and mark.answer is not None and told:
        return Mark(mark.entry_id, "refused", mark.answer, mark.error, mark.attempts, mark.stands_as)
    return Mark(mark.entry_id, mark.state, mark.answer if told else None, mark.error, mark.attempts, mark.stands_as)
