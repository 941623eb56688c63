"""What an operator types into the search: an order's number or its end, a phone number, an ONT's serial. Pure."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from contracts.ids import is_uuid7

MAX_LENGTH = 60

_SERIAL = re.compile(r"[A-Z]{4}[0-9A-F]{8}")
_PHONE = re.compile(r"0[0-9]{8,10}")
_END = re.compile(r"[0-9a-f]{4,32}")


def order_id_in(text: str) -> UUID | None:
    """The order's id, where the whole of it was given."""
    plain = text.strip().lower()
    return UUID(plain) if is_uuid7(plain) else None


def filters(text: str) -> list[dict[str, Any]]:
    """The searches that may be meant, as arguments of mypage's `list_orders`; none where it can be nothing of ours.

    Written in any way: with spaces or dashes, in capitals or not.
    """
    plain = re.sub(r"[\s-]", "", text)[:MAX_LENGTH]
    found: list[dict[str, Any]] = []
    if _SERIAL.fullmatch(plain.upper()):
        found.append({"ont_serial": plain.upper()})
    if _PHONE.fullmatch(plain):
        found.append({"phone": plain})
    if _END.fullmatch(plain.lower()):
        found.append({"order_end": plain.lower()})
    return found
