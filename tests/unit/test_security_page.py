"""docs/security.md says what is: the table of broker users is the code's, and what stops a threat is where it says."""

from __future__ import annotations

import re

import pytest

from contracts.events import EVENTS
from tools.broker_users import RPC, any_of, emitted, permissions, table
from tools.paths import BROKER_USERS, ROOT, SCALER, SERVICES

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
PARTS = re.search(r"<!-- broker users -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)


def test_the_table_of_broker_users_is_current() -> None:
    assert PARTS is not None and PARTS[1] == table(), "python -m tools.broker_users"


def test_each_threat_names_what_stops_it() -> None:
    rows = re.findall(r"^\| (\d) \|.*\| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert {number for number, _ in rows} == set("12345")
    for _, places in rows:
        files = re.findall(r"`([^`]+)`", places)
        assert files and all((ROOT / file).is_file() for file in files), places


def test_every_event_has_exactly_one_user_that_may_publish_it() -> None:
    owners = [name for service in SERVICES for name in emitted(service)]
    assert sorted(owners) == sorted(EVENTS)


@pytest.mark.parametrize("user", BROKER_USERS)
def test_no_permission_reaches_the_default_exchange_or_everything(user: str) -> None:
    allowed = permissions(user)
    assert {"oss.events", RPC} == allowed.topics.keys(), "an exchange without topic permissions is open"
    patterns = [*allowed.resources().values(), *(any_of(keys) for pair in allowed.topics.values() for keys in pair)]
    for pattern in patterns:
        assert not re.search(pattern, "amq.default") and not re.search(pattern, "nobody-s-queue"), pattern
        assert pattern.startswith("^") and pattern.endswith("$"), pattern


def test_the_scaler_may_do_nothing() -> None:
    assert permissions(SCALER).resources() == {"configure": "^$", "write": "^$", "read": "^$"}
