"""Promises of the account's content: one shape in and out, and clear words for any other."""

from __future__ import annotations

from typing import Any

import pytest

from activation_svc.bng_accounts import accounts_of, key_of, username_of
from activation_svc.driver import Change
from tests.harness.bng import an_account
from tools.bng import profiles


def test_key_and_user_name_lead_to_each_other() -> None:
    for name in ("kim", "kim/1", "이@example", "x" * 253):
        assert username_of(key_of(name)) == name


@pytest.mark.parametrize("key", ["account/", "entitlement/kim", "kim", "account/" + "x" * 254, "account/a\0b"])
def test_any_other_key_is_no_account(key: str) -> None:
    with pytest.raises(ValueError, match="names no account"):
        username_of(key)


def test_tuples_become_the_lists_that_are_read_back_and_the_later_change_counts() -> None:
    content = {"check": [("a", ":=", "b")], "reply": [], "groups": (("internet-100", 1),)}
    wanted = accounts_of([Change("account/kim", None), Change("account/kim", content), Change("account/lee", None)])
    kim = {"check": [["a", ":=", "b"]], "reply": [], "groups": [["internet-100", 1]]}
    assert wanted == {"kim": kim, "lee": None}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"check": [], "reply": [], "groups": []}, "with a row"),
        ({"vlan": 7}, "`check`, `reply` and `groups`"),
        ({"check": [["a", "b"]]}, r"`check` is \[attribute, op, value\]"),
        ({"reply": [["a", "=", 7]]}, r"`reply` is \[attribute, op, value\]"),
        ({"groups": [["internet-100", "1"]]}, r"`groups` is \[group, priority\]"),
        ({"check": [["a", ":=", "b\0"]]}, "`check` is"),
    ],
)
def test_content_that_is_no_account_is_refused_in_clear_words(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        accounts_of([Change("account/kim", an_account() | changed)])


def test_every_internet_product_has_a_profile_with_its_speeds_in_bits_a_second() -> None:
    assert set(profiles()) == {"internet-100", "internet-500", "internet-1000"}
    assert ("WISPr-Bandwidth-Max-Down", "=", "500000000") in profiles()["internet-500"]
