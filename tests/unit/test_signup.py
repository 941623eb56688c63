"""The sign-up form: what people and phones write becomes an order, and a form is one order however often it is sent."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.datastructures import MultiDict
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from contracts.catalogue import PRODUCTS
from gateway_svc.pages import forms, sessions, signup
from gateway_svc.pages.texts import LANGUAGES, texts

TYPED = {
    "internet": "internet-500", "internet_quantity": "1", "tv": "tv-basic", "tv_quantity": "2",
    "address.postcode": "06236", "address.line1": "서울특별시 강남구 테헤란로 1", "address.line2": "101동 1203호",
    "customer.name": "김하늘", "customer.phone": "010-1234-5678", "customer.email": "",
}


def read(**changed: str) -> forms.Form[Any]:
    typed = MultiDict(TYPED | {name.replace("__", "."): text for name, text in changed.items()})
    return forms.read(typed, signup.SignUp, signup.FIELDS, address={}, customer={})


def test_a_filled_form_is_the_order_it_shows() -> None:
    form = read().value
    assert form is not None
    order = form.order().model_dump(mode="json")
    assert order["items"] == [{"product": "internet-500", "quantity": 1}, {"product": "tv-basic", "quantity": 2}]
    assert order["customer"] == {"name": "김하늘", "phone": "010-1234-5678", "email": None}
    assert order["address"]["postcode"] == "06236"


def test_without_tv_nothing_but_internet_is_ordered() -> None:
    form = read(tv="", tv_quantity="3").value
    assert form is not None and [item.product for item in form.order().items] == ["internet-500"]


@pytest.mark.parametrize("written", [
    "010-1234-5678", "01012345678", "+82 10-1234-5678", "+82 010 1234 5678", "0082 10 1234 5678", "010.1234.5678",
    "(010) 1234 5678", "０１０-１２３４-５６７８", " 010 1234 5678 ",
])  # fmt: skip
def test_a_phone_number_is_understood_as_phones_and_people_write_it(written: str) -> None:
    form = read(customer__phone=written)
    assert form.value is not None and form.value.order().customer.phone == "010-1234-5678"
    assert form["customer.phone"] == written, "what was typed is shown again as it was typed"


@pytest.mark.parametrize("written", ["06236", " 06236 ", "０６２３６", "062-36"])
def test_a_postcode_is_understood_as_it_is_written(written: str) -> None:
    form = read(address__postcode=written).value
    assert form is not None and form.order().address.postcode == "06236"


@pytest.mark.parametrize(("field", "text"), [
    ("internet", ""), ("internet", "tv-basic"), ("internet", "internet-9000"), ("internet", "\0"),
    ("internet_quantity", "0"), ("internet_quantity", "11"), ("internet_quantity", "two"),
    ("tv", "internet-500"), ("tv_quantity", "-1"),
    ("address.postcode", ""), ("address.postcode", "6236"), ("address.postcode", "062361"),
    ("address.line1", " "), ("address.line1", "x" * 201), ("address.line2", "x" * 201),
    ("customer.name", ""), ("customer.name", "x" * 51), ("customer.name", "a\0b"), ("customer.name", "\x07"),
    ("customer.phone", ""), ("customer.phone", "12345"), ("customer.email", "nobody"),
])  # fmt: skip
def test_a_fault_is_found_at_its_field_and_nothing_typed_is_lost(field: str, text: str) -> None:
    form = read(**{field.replace(".", "__"): text})
    assert form.value is None and set(form.errors) == {field}
    assert form.typed == TYPED | {field: text}


def test_every_empty_field_that_is_needed_is_named() -> None:
    form = forms.read(MultiDict(), signup.SignUp, signup.FIELDS, address={}, customer={})
    assert set(form.errors) == {"internet", "address.postcode", "address.line1", "customer.name", "customer.phone"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_fault_and_problem_can_be_said(language: Any) -> None:
    said = texts(language)
    faults = [f"signup-error-{name.replace('.', '-').replace('_', '-')}" for name in (*signup.FIELDS, signup.OTHER)]
    problems = [f"signup-problem-{name}" for name in ("stale", "too-many", "unavailable", "sent-elsewhere")]
    notices = [f"notice-signup-{name}" for name in ("placed", "accepted", "sent-before")]
    assert [key for key in (*faults, *problems, *notices) if key not in said] == []


@pytest.mark.parametrize(("typed", "fee"), [
    ({}, 33000 + 2 * 12100), ({"tv": ""}, 33000), ({"internet": "", "tv": ""}, 0),
    ({"internet_quantity": "two"}, 2 * 12100), ({"internet_quantity": "9" * 5000, "tv": ""}, 10 * 33000),
    ({"internet_quantity": "²", "tv": "nothing"}, 0),
])  # fmt: skip
def test_the_monthly_total_is_what_the_catalogue_says(typed: dict[str, str], fee: int) -> None:
    assert PRODUCTS["internet-500"].monthly_fee_krw == 33000 and PRODUCTS["tv-basic"].monthly_fee_krw == 12100
    assert signup.monthly_fee(read(**typed)) == fee


def sent(visitor: str, key: str) -> Request:
    builder = EnvironBuilder(path="/signup", method="POST", data={"key": key},
                             headers={"Cookie": f"{sessions.VISITOR_COOKIE}={visitor}"})
    return Request(builder.get_environ())


def journal_key(visitor: str, key: str) -> str:
    request = sent(visitor, key)
    return signup._journal_key(request, signup._key_of(request))


def test_one_form_of_one_browser_has_one_key() -> None:
    one = "a" * 24
    assert journal_key("me", one) == journal_key("me", one)
    assert journal_key("me", one) != journal_key("me", "b" * 24)
    assert journal_key("me", one) != journal_key("you", one), "another browser cannot reach my order with my form's key"
    assert journal_key("me", one).startswith("signup:"), "nor an API client's, with any key"


@pytest.mark.parametrize("key", ["", "short", "x" * 65, "에" * 20, "a b" * 8])
def test_a_key_we_did_not_make_is_replaced(key: str) -> None:
    assert journal_key("me", key) != journal_key("me", key)
