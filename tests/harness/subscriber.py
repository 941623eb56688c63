"""A subscriber at a browser without scripts: signs up, and comes back to the order."""

from __future__ import annotations

import re
from html import unescape
from uuid import uuid4

import requests

from gateway_svc.pages.formats import order_number
from tests.harness.pages import Visitor

PHONE = "010-1234-5678"


def a_form(**changed: str) -> dict[str, str]:
    """A sign-up form that is filled in; `customer__name="..."` changes the field `customer.name`."""
    fields = {
        "internet": "internet-500", "internet_quantity": "1", "tv": "tv-basic", "tv_quantity": "1",
        "address.postcode": "06236", "address.line1": "서울특별시 강남구 테헤란로 1", "address.line2": "101동 1203호",
        "customer.name": "김하늘", "customer.phone": PHONE, "customer.email": "",
    }
    return fields | {name.replace("__", "."): text for name, text in changed.items()}


def a_phone() -> str:
    """A phone number of one's own."""
    return f"010-{uuid4().int % 9000 + 1000}-{uuid4().int % 9000 + 1000}"


def key_of(page: str) -> str:
    """The key of the sign-up form on this page."""
    found = re.search(r'name="key" value="([\w-]+)"', page)
    assert found is not None, "there is a form with a key"
    return found[1]


def value_of(page: str, field: str) -> str:
    """What this page shows as typed into a field."""
    found = re.search(rf'<input[^>]* name="{re.escape(field)}"[^>]* value="([^"]*)"', page)
    assert found is not None, f"the page has a field {field}"
    return unescape(found[1])


def sign_up(visitor: Visitor, form: str | None = None, **changed: str) -> requests.Response:
    """Send the sign-up form on the page `form`, or on a fresh one, and follow where it leads."""
    page = visitor.get("/signup").text if form is None else form
    return visitor.post("/signup", {"key": key_of(page), **a_form(**changed)}, seen=page)


def order_of(answer: requests.Response) -> str:
    """The order whose MyPage this is."""
    found = re.search(r"/my/([0-9a-f-]{36})(?:\?|$)", answer.url)
    assert found is not None and answer.status_code == 200, f"{answer.status_code} {answer.url} is no MyPage"
    return found[1]


def stage_of(page: str) -> str:
    """Which story MyPage tells (`gateway_svc.pages.order_story.Story.stage`)."""
    found = re.search(r'id="headline" data-stage="([\w-]+)"', page)
    assert found is not None, f"no MyPage: {page[:300]}"
    return found[1]


def come_back(visitor: Visitor, order_id: str, phone: str = PHONE, **more: str) -> requests.Response:
    """Sign in to an order with the number people are given, and the phone number."""
    return visitor.post("/my", {"number": order_number(order_id), "phone": phone, **more})
