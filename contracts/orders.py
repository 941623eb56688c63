"""What a subscriber orders: customer, address, items, and the rules every order must keep.

The gateway checks an order against these before it is journalled, and order_svc when it is stored,
so an order that was accepted is never found invalid afterwards.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from contracts.catalogue import PRODUCTS, Kind
from contracts.errors import Invalid

MAX_QUANTITY = 10
MAX_ITEMS = 20


def _clean(value: Any) -> Any:
    """Normalise to NFC, so that one name has one form, and trim; other types pass to the type check."""
    return unicodedata.normalize("NFC", value).strip() if isinstance(value, str) else value


def _printable(value: str) -> str:
    for char in value:
        if unicodedata.category(char) in {"Cc", "Cs", "Co", "Cn"}:
            raise ValueError("must not contain control, surrogate or unassigned characters")
    return value


def text(*, max_length: int, min_length: int = 1) -> Any:
    """One line of human text: trimmed, NFC, printable, within its length."""
    return Annotated[
        str,
        BeforeValidator(_clean),
        Field(min_length=min_length, max_length=max_length),
        AfterValidator(_printable),
    ]


Note = Annotated[
    str,
    BeforeValidator(_clean),
    Field(max_length=500),
    AfterValidator(lambda value: _printable(value.replace("\n", " ").replace("\t", " ")) and value),
]


class Value(BaseModel):
    """A frozen value; unknown fields are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_PLAIN_LOCAL = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_KNOWN_DOMAINS: set[str] = set()
_MOST_DOMAINS = 10_000


def _email(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Checking a domain takes most of an address's time, and few domains have most addresses.

    A domain is known once an address with it was found valid and as it should be; beside it only a plain local part
    needs no other look (RFC 5321, 4.1.2: dot-string of at most 64 characters).
    """
    local, _, domain = value.rpartition("@") if isinstance(value, str) else ("", "", "")
    if domain in _KNOWN_DOMAINS and len(local) <= 64 and _PLAIN_LOCAL.fullmatch(local):
        return value
    email = check(value)
    if email == value and len(_KNOWN_DOMAINS) < _MOST_DOMAINS:
        _KNOWN_DOMAINS.add(domain)
    return email


class Customer(Value):
    """Who ordered. `phone` is a Korean number, stored with hyphens (`010-1234-5678`)."""

    name: text(max_length=50)  # type: ignore[valid-type]
    phone: str = Field(max_length=20)
    email: Annotated[EmailStr, WrapValidator(_email), Field(max_length=254)] | None = None

    @field_validator("phone")
    @classmethod
    def _phone(cls, value: str) -> str:
        digits = re.sub(r"[\s-]", "", value)
        match = re.fullmatch(r"(02|0[1-9][0-9])([0-9]{3,4})([0-9]{4})", digits, re.ASCII)
        if match is None:
            raise ValueError("must be a Korean phone number such as 010-1234-5678")
        return "-".join(match.groups())


class Address(Value):
    """Where to install. `postcode` is the five-digit Korean postcode."""

    postcode: str = Field(pattern=r"^[0-9]{5}$")
    line1: text(max_length=200)  # type: ignore[valid-type]
    line2: text(max_length=200, min_length=0) = ""  # type: ignore[valid-type]


class OrderItem(Value):
    """One product and how many of it (TMF622 product order item)."""

    product: str = Field(max_length=40)
    quantity: int = Field(ge=1, le=MAX_QUANTITY, strict=True)

    @field_validator("product")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in PRODUCTS:
            raise ValueError(f"must be one of {', '.join(PRODUCTS)}")
        return value

    @property
    def kind(self) -> Kind:
        return PRODUCTS[self.product].kind


class OrderRequest(Value):
    """The body of `POST /api/orders`."""

    customer: Customer
    address: Address
    items: tuple[OrderItem, ...] = Field(min_length=1, max_length=MAX_ITEMS)


def check_internet_quantity(items: tuple[OrderItem, ...], minimum: int) -> None:
    """Hold the configured rule: at least `minimum` internet lines an order. Raise Invalid naming `items`."""
    quantity = sum(item.quantity for item in items if item.kind == "internet")
    if quantity < minimum:
        raise Invalid(
            f"an order needs at least {minimum} internet line(s), this one has {quantity}",
            [{"field": "items", "message": f"must contain at least {minimum} internet line(s)"}],
        )
