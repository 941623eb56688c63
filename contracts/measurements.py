"""What a technician's measurements should look like, and which of them to ask about before they are sent.

A value outside its normal range is questioned ("sure?") and never refused: the line may really be like that, and only
the technician on site can tell. What cannot be a measurement at all is refused by `JobResults`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from contracts.catalogue import PRODUCTS
from contracts.events import JobResults
from contracts.orders import OrderItem

QuestionCode = Literal["too_low", "too_high", "corrected"]

RX_POWER_DBM = (-28.0, -8.0)
"""Received power at an ONT of class B+: sensitivity and overload (ITU-T G.984.2 Amendment 1)."""

SLOW_BELOW = 0.8
"""Below this share of the ordered speed, a line is slow enough to look again at the plug, the cable, the tester."""

FAST_ABOVE = 1.1
"""Above this share of the ordered speed, the number is implausible: the network shapes a line to what was ordered."""

_LOOKS_LIKE = str.maketrans({"O": "0", "Q": "0", "I": "1", "L": "1"})


@dataclass(frozen=True, slots=True)
class Range:
    """What is normal, both ends included; None: no limit on that side."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Question:
    """One value to ask about. `field` is a field of `JobResults`; `corrected`: read otherwise than it was typed."""

    field: str
    code: QuestionCode


def normal_ranges(items: Iterable[OrderItem]) -> dict[str, Range]:
    """What is normal, by field of `JobResults`, for what was ordered. Without an internet line no speed is.

    With lines of several speeds the measured one may be any of them.
    """
    ranges = {"rx_power_dbm": Range(*RX_POWER_DBM)}
    products = [PRODUCTS[item.product] for item in items]
    for field in ("down_mbps", "up_mbps"):
        speeds = [speed for product in products if (speed := getattr(product, field)) is not None]
        if speeds:
            ranges[field] = Range(min(speeds) * SLOW_BELOW, round(max(speeds) * FAST_ABOVE, 1))
    return ranges


def questions(results: JobResults, items: Iterable[OrderItem], typed_serial: str | None = None) -> list[Question]:
    """What to ask about these results, in the order of their fields; empty where all is normal.

    `typed_serial`: the serial as it was typed, where `read_serial` has read it.
    """
    asked: list[Question] = []
    if typed_serial is not None and typed_serial.strip() != results.ont_serial:
        asked.append(Question("ont_serial", "corrected"))
    for field, normal in normal_ranges(items).items():
        value = getattr(results, field)
        if value is not None and normal.low is not None and value < normal.low:
            asked.append(Question(field, "too_low"))
        if value is not None and normal.high is not None and value > normal.high:
            asked.append(Question(field, "too_high"))
    return asked


def read_serial(typed: str) -> str:
    """An ONT serial as a thumb types it, in its proper form: `hfrn-1234 abcO` is `HFRN1234ABC0`.

    Four letters of the vendor, then eight hexadecimal digits (ITU-T G.984.3, clause 9.2.4.1), in which O, Q, I and L
    can only be misread digits. What is no serial either way is returned as it is, and refused by `JobResults`.
    """
    plain = re.sub(r"[\s:-]", "", typed).upper()
    return plain[:4] + plain[4:].translate(_LOOKS_LIKE)


def read_power(typed: str) -> str:
    """A received power in dBm as a thumb types it: `19,5` is `-19.5`, because phones' number pads have no minus.

    What an ONT receives is below 0 dBm by far (1 mW), so a number without a sign means minus; `+2` is taken at its
    word.
    """
    plain = typed.strip().replace("\N{MINUS SIGN}", "-").replace(",", ".").replace(" ", "")
    return f"-{plain}" if re.fullmatch(r"[0-9]*\.?[0-9]+", plain) and float(plain) else plain


def read_speed(typed: str) -> str:
    """A speed in Mbit/s as a thumb types it: `487,5` is `487.5`."""
    return typed.strip().replace(",", ".")
