"""Email addresses: that a domain is known changes nothing about which addresses are taken, and as what."""

from __future__ import annotations

import pytest
from pydantic import EmailStr, TypeAdapter, ValidationError

from contracts.orders import Customer

WHATEVER_COMES = (
    "sky@example.com", "sky.high+tag@example.com", "sky@mail.example.com", "SKY@example.com", "sky@EXAMPLE.com",
    "Postmaster@example.com", "postmaster@example.com", "Kim <kim@example.com>", "kim <kim@example.com",
    " sky@example.com",
    "sky@example.com\n", "sky\n@example.com", "@example.com", "a@b@example.com", ".sky@example.com", "sky.@example.com",
    "a..b@example.com", '"sky"@example.com', "a" * 64 + "@example.com", "a" * 65 + "@example.com", "하늘@example.com",
    "sky@하늘.example.com", "e\u0301@example.com", "a b@example.com", "sky@example", "sky", "", "sky@",
    "sky@[127.0.0.1]", "sky@localhost", "sky@example.test", "ſky@example.com", "sky\u00a0@example.com",
    "(x)sky@example.com",
)  # fmt: skip


def as_pydantic_has_it(address: str) -> str | None:
    try:
        return TypeAdapter[str](EmailStr).validate_python(address)
    except ValidationError:
        return None


def as_an_order_has_it(address: str) -> str | None:
    try:
        return Customer(name="김하늘", phone="010-1234-5678", email=address).email
    except ValidationError:
        return None


@pytest.mark.parametrize("address", WHATEVER_COMES)
def test_an_address_is_taken_or_refused_alike_whether_its_domain_is_known_or_not(address: str) -> None:
    expected = as_pydantic_has_it(address)
    assert as_an_order_has_it(address) == expected
    for known in ("sky@example.com", "sky@mail.example.com"):
        as_an_order_has_it(known)
    assert as_an_order_has_it(address) == expected


@pytest.mark.parametrize("strange", [7, True, ["sky@example.com"], {"sky": "example.com"}, b"\xff@example.com"])
def test_what_is_no_text_is_no_address(strange: object) -> None:
    with pytest.raises(ValidationError):
        Customer.model_validate({"name": "김하늘", "phone": "010-1234-5678", "email": strange})
