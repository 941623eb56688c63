"""How moments, money, phone numbers and order numbers are written on pages. Pure; words come from Babel and Fluent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from babel import dates, numbers

from chassis import clock
from contracts.catalogue import PRODUCTS
from gateway_svc.pages.texts import Language

_DAY = {"ko": "M월 d일 (EEE)", "en": "EEE, MMM d"}
_PHONE = re.compile(r"\b0\d{1,2}[- ]?\d{3,4}[- ]?\d{4}\b")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_TIME = {"ko": "aaaa h:mm", "en": "h:mm a"}


class Formats:
    """Writes values for people of one language in one time zone."""

    def __init__(self, language: Language, zone: ZoneInfo) -> None:
        self.language, self.zone = language, zone

    def local(self, moment: Any) -> datetime:
        """An RFC 3339 text or aware datetime as local time."""
        value = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        return value.astimezone(self.zone)  # type: ignore[no-any-return]

    def day(self, moment: Any) -> str:
        """`11월 26일 (목)` or `Thu, Nov 26`; takes dates too."""
        value = moment if type(moment) is date else self.local(moment).date()
        return dates.format_date(value, _DAY[self.language], locale=self.language)

    def time(self, moment: Any) -> str:
        """`오후 2:00` or `2:00 PM`."""
        return dates.format_time(self.local(moment), _TIME[self.language], tzinfo=self.zone, locale=self.language)

    def moment(self, moment: Any) -> str:
        """Day and time."""
        return f"{self.day(moment)} {self.time(moment)}"

    def hours(self, start: Any, end: Any) -> str:
        """`09:00–11:00`."""
        return f"{self.local(start):%H:%M}–{self.local(end):%H:%M}"

    def window(self, start: Any, end: Any) -> str:
        """A visit window: its day and hours."""
        return f"{self.day(start)} {self.hours(start, end)}"

    def iso(self, moment: Any) -> str:
        """For `<time datetime>` and machine eyes: UTC, RFC 3339."""
        return clock.rfc3339(self.local(moment))

    def local_date(self, moment: Any) -> str:
        """`2026-11-26`, the local day."""
        return self.local(moment).date().isoformat()

    def money(self, won: int) -> str:
        """An amount in Korean won."""
        return numbers.format_currency(won, "KRW", locale=self.language)

    def number(self, value: float) -> str:
        """A number with the language's separators."""
        return numbers.format_decimal(value, locale=self.language)

    def product(self, product_id: str) -> str:
        """A product's name; its id where the catalogue no longer has it."""
        known = PRODUCTS.get(product_id)
        return product_id if known is None else str(getattr(known, f"name_{self.language}"))

    def products(self, items: Iterable[Mapping[str, Any]] | None) -> str:
        """What was ordered: `인터넷 500M, TV 베이직 × 2`."""
        named = ((self.product(item["product"]), item["quantity"]) for item in items or ())
        return ", ".join(f"{name} × {n}" if n > 1 else name for name, n in named)

    def span(self, seconds: float) -> str:
        """How long: `3시간` or `3 hours`, in its largest unit."""
        return dates.format_timedelta(timedelta(seconds=seconds), threshold=1.2, locale=self.language)


def masked_phone(phone: str | None) -> str:
    """`010-****-5678`: enough to recognise a number one knows, too little to call one does not."""
    if not phone:
        return ""
    digits = re.sub(r"\D", "", phone)
    head = "02" if digits.startswith("02") else digits[:3]
    return f"{head}-{'*' * max(3, len(digits) - len(head) - 4)}-{digits[-4:]}"


def without_contacts(text: str) -> str:
    """A message, or what is wrong with it, with phone numbers masked and without e-mail addresses: operators are shown
    it without having asked for a contact.
    """
    return _EMAIL.sub("***@***", _PHONE.sub(lambda found: masked_phone(found.group()), text))


def order_number(order_id: UUID | str) -> str:
    """The end of the order id, as people read it out: `4D2F-88A1`. The random end of a UUIDv7 tells orders apart."""
    end = str(order_id).replace("-", "")[-8:].upper()
    return f"{end[:4]}-{end[4:]}"
