"""Times and local days as clients write them: RFC 3339, and dates such as 2026-11-25, in the years 2000 to 2099.

The gateway reads them at its edge and scheduling at its own, by the same rule: what the one takes the other takes.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)


def is_date(text: str) -> bool:
    """Whether this is written like a date, not like a time."""
    return _DATE.fullmatch(text) is not None


def _rfc3339(value: Any) -> Any:
    """The moment: strict bodies take no text for a time, so the text is read here, and stricter."""
    message = "must be a time as in RFC 3339, such as 2026-11-25T09:00:00Z"
    if not isinstance(value, str) or _RFC3339.fullmatch(value) is None:
        raise ValueError(message)
    try:
        return datetime.fromisoformat(value.upper())
    except ValueError as exc:
        raise ValueError(message) from exc


def _in_range(value: datetime) -> datetime:
    if not _EARLIEST <= value < _LATEST:
        raise ValueError("must lie in the years 2000 to 2099")
    return value.astimezone(UTC)


def _plain_date(value: Any) -> Any:
    if not isinstance(value, str) or not is_date(value):
        raise ValueError("must be a date such as 2026-11-25")
    return value


def _date_in_range(value: date) -> date:
    if not 2000 <= value.year < 2100:
        raise ValueError("must lie in the years 2000 to 2099")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_rfc3339), AfterValidator(_in_range)]
"""In UTC, once it is read."""
Day = Annotated[date, BeforeValidator(_plain_date), AfterValidator(_date_in_range)]
