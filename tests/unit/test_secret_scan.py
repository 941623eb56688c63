"""No secret enters the repository: what the scan finds, what it leaves alone, and that it shows none."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tools import secret_scan
from tools.secret_scan import findings, scan


def kinds(text: str) -> list[str]:
    return [kind for _, kind in findings(text)]


# Put together here, so that this file holds none.
TOKENS = {
    "private key": "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
    "AWS key": "AKIA" + "ABCDEFGHIJKLMNOP",
    "GitHub token": "ghp_" + "a1" * 18,
    "GitLab token": "glpat-" + "a1" * 10,
    "Slack token": "xoxb-" + "1234567890",
    "Stripe key": "sk_live_" + "a1" * 8,
    "Google key": "AIza" + "a1B2c" * 7,
    "PyPI or npm token": "npm_" + "a1" * 18,
    "JSON web token": ".".join(("eyJ" + "a1" * 6, "eyJ" + "b2" * 6, "c3" * 12)),
    "password in an address": "amqp://oss" + ":hunter2@broker/oss",
    "random value": "BROKER_PASSWORD" + "=" + "4f9d2c1ab37e5608",
}


@pytest.mark.parametrize("kind", [kind for kind in TOKENS if kind != "random value"])
def test_each_kind_is_found_wherever_it_stands(kind: str) -> None:
    assert list(findings(f"first line\nsecond: {TOKENS[kind]} and more\n")) == [(2, kind)]


@pytest.mark.parametrize("form", ["{0}={1}", '{0}: "{1}"', "'{0}' : '{1}'", "export {0}={1}", '"{0}": "{1}",'])
@pytest.mark.parametrize("name", ["BROKER_PASSWORD", "clientSecret", "api_key", "TOKEN_KEY", "db-passwd"])
def test_a_random_value_of_a_name_that_says_secret_is_found(form: str, name: str) -> None:
    for value in (secrets.token_hex(16), secrets.token_urlsafe(24) + "1"):
        assert kinds(form.format(name, value)) == ["random value"], value


@pytest.mark.parametrize("text", [
    "AMQP_URI=amqp://oss_order:$(ORDER_BROKER_PASSWORD)@rabbitmq:5672/oss",
    "AMQP_URI: ${AMQP_URI:amqp://guest:guest@127.0.0.1:5672//}",
    'uri = f"amqp://oss:{self._password}@127.0.0.1:{self.port}/oss"',
    "https://example.com/a:b@c", "http://127.0.0.1:8000/@home",
    "password = load_secrets(folder)['DATABASE_PASSWORD']",
    "password: str, token_expires_at: datetime",
    "secretName: database-activation-credentials-of-the-service",
    "SUBSCRIBER_TOKEN_DAYS: ${SUBSCRIBER_TOKEN_DAYS:90}",
])  # fmt: skip
def test_names_references_and_examples_are_left_alone(text: str) -> None:
    assert kinds(text) == []


def test_a_line_may_say_that_it_holds_no_secret() -> None:
    line = TOKENS["AWS key"]
    assert kinds(f"{line}  # {secret_scan.ALLOWED}\n{line}\n") == ["AWS key"], "its own line only"


def test_what_is_found_is_named_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.env"
    file.write_text(f"# a comment\n{TOKENS['password in an address']}\n", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\0" + TOKENS["AWS key"].encode())
    monkeypatch.setattr(secret_scan, "files", lambda: [file, tmp_path / "picture.png", tmp_path / "gone.txt"])
    assert secret_scan.main() == 1
    said = capsys.readouterr()
    assert said.out == f"{file}:2: password in an address\n"
    assert "hunter2" not in said.out + said.err


def test_this_repository_holds_none() -> None:
    assert scan(secret_scan.files()) == []
