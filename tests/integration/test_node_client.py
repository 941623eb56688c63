"""The Node client: it follows orders and calls RPC with nothing but docs/asyncapi.yaml, against the running system."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from contracts.ids import new_id
from tests.harness.client import Client, an_order, internet
from tools import node
from tools.render_asyncapi import DOCUMENT
from tools.system import System
from tools.waiting import wait_until

OSS = node.CLIENT / "bin" / "oss.js"


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """`npm ci`, or a failure that says what is missing."""
    node.install()


def environment(amqp_uri: str, **more: str) -> dict[str, str]:
    return os.environ | {"AMQP_URI": amqp_uri} | more


def oss_call(amqp_uri: str, method: str, timeout_ms: int = 5000, **arguments: Any) -> tuple[int, dict[str, Any]]:
    """Exit code, and the result or the error."""
    done = subprocess.run(
        ["node", str(OSS), "call", method, json.dumps(arguments)], capture_output=True, text=True, timeout=60,
        env=environment(amqp_uri, TIMEOUT_MS=str(timeout_ms)),
    )  # fmt: skip
    return done.returncode, json.loads(done.stderr if done.returncode else done.stdout)


class Follower:
    """`oss events`, running."""

    def __init__(self, folder: Path) -> None:
        self.out, self.err = folder / "events.jsonl", folder / "events.err"

    def events(self, order_id: str) -> list[str]:
        lines = [json.loads(line) for line in self.out.read_text(encoding="utf-8").splitlines(keepends=True)
                 if line.endswith("\n")]
        return [line["event_type"] for line in lines if line["order_id"] == order_id]


@contextmanager
def following(amqp_uri: str, folder: Path, *types: str) -> Iterator[Follower]:
    follower = Follower(folder)
    with follower.out.open("wb") as out, follower.err.open("wb") as err:
        process = subprocess.Popen(["node", str(OSS), "events", *types], stdout=out, stderr=err,
                                   env=environment(amqp_uri))
        try:
            wait_until(lambda: "listening" in follower.err.read_text(), lambda: follower.err.read_text())
            yield follower
            process.terminate()
            assert process.wait(60) == 0, follower.err.read_text()
        finally:
            process.kill()
            process.wait()


def test_it_follows_an_order_by_its_events_and_asks_for_its_page(
    system: System, client: Client, tmp_path: Path
) -> None:
    with following(system.amqp_uri, tmp_path) as follower:
        order_id = client.place(an_order(items=[internet()]))["order_id"]
        client.schedule(order_id)
        client.complete(order_id)
        wait_until(
            lambda: "order_completed" in follower.events(order_id), lambda: f"it saw {follower.events(order_id)}"
        )
        assert follower.events(order_id) == [
            "order_placed", "activation_completed", "visit_scheduled", "fieldwork_completed", "order_completed",
        ]  # fmt: skip
    client.wait_for_events(order_id, "order_completed")
    code, page = oss_call(system.amqp_uri, "mypage.get_order", order_id=order_id)
    assert (code, page["order_id"], page["status"]) == (0, order_id, "completed")


def test_it_takes_only_the_events_it_asked_for(system: System, client: Client, tmp_path: Path) -> None:
    with following(system.amqp_uri, tmp_path, "order_cancel_requested", "order_cancelled") as follower:
        order_id = client.place(an_order(items=[internet()]))["order_id"]
        client.wait_for_status(order_id, "activated")
        client.cancel(order_id)
        wait_until(lambda: "order_cancelled" in follower.events(order_id), "it saw the cancel")
        assert follower.events(order_id) == ["order_cancel_requested", "order_cancelled"]


def test_an_unknown_order_is_a_domain_error_by_its_name(system: System) -> None:
    unknown = str(new_id())
    code, error = oss_call(system.amqp_uri, "mypage.get_order", order_id=unknown)
    assert (code, error["error"], error["status"]) == (1, "NotFound", 404)
    assert unknown in error["message"]
    _, error = oss_call(system.amqp_uri, "mypage.list_orders", status="lost")
    assert (error["error"], error["fields"][0]["field"]) == ("Invalid", "status")


def test_a_wrong_argument_is_the_service_s_own_word(system: System) -> None:
    code, error = oss_call(system.amqp_uri, "mypage.get_order", number=7)
    assert (code, error["error"]) == (1, "RemoteFault")
    assert "IncorrectSignature" in error["message"]


def test_without_an_answer_the_call_ends_with_its_deadline(system: System) -> None:
    system.freeze("mypage")
    try:
        code, error = oss_call(system.amqp_uri, "mypage.get_order", timeout_ms=700, order_id=str(new_id()))
    finally:
        system.thaw("mypage")
    assert (code, error["error"]) == (1, "DeadlineExceeded")


def test_where_nobody_serves_the_method_it_is_said_at_once(vhost: str) -> None:
    code, error = oss_call(vhost, "mypage.get_order", timeout_ms=30_000, order_id=str(new_id()))
    assert (code, error["error"]) == (1, "NotTaken")


def test_what_needs_no_broker() -> None:
    done = subprocess.run(["node", "--test"], cwd=node.CLIENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_the_document_is_valid_by_the_official_schema() -> None:
    schemas = node.CLIENT / "node_modules" / "@asyncapi" / "specs" / "schemas"
    schema = json.loads((schemas / "3.0.0.json").read_text(encoding="utf-8"))
    document = yaml.load(DOCUMENT.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    validator = jsonschema.Draft7Validator(schema)
    assert [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)] == []
    del document["channels"]["order_placed"]["bindings"]["amqp"]["exchange"]
    assert not validator.is_valid(document), "the schema looks into bindings"


def test_the_lock_names_no_registry() -> None:
    lock = (node.CLIENT / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(lock)["packages"]
    assert "resolved" not in lock
    assert all("integrity" in package for name, package in packages.items() if name)


def test_without_npm_s_help_the_failure_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"dependencies": {"amqplib": "0.0.0"}}')
    (tmp_path / "package-lock.json").write_text('{"lockfileVersion": 3, "packages": {}}')
    with pytest.raises(node.NotInstalled, match=r"npm ci.*failed"):
        node.install(tmp_path)
