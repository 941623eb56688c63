"""The whole system with its read model in an SQLite file: six processes, orders over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.client import Client, an_order, internet
from tests.harness.containers import fresh_vhost
from tests.harness.databases import Databases
from tests.harness.settings import FAST
from tools.nodes import Nodes
from tools.system import System

ON_POSTGRES = ("order", "activation", "scheduling", "fieldwork", "gateway")


@pytest.fixture(scope="module")
def small_system(nodes: Nodes, databases: Databases, state_folder: Path) -> Iterator[System]:
    uris = {f"{service.upper()}_DB_URI": databases.fresh(service) for service in ON_POSTGRES}
    folder = state_folder / "small"
    with fresh_vhost(nodes) as amqp_uri:
        own = {"AMQP_URI": amqp_uri, "MYPAGE_DB_URI": f"sqlite:///{folder / 'mypage' / 'pages.sqlite3'}"}
        system = System(folder, nodes=nodes, overrides=FAST | uris | own | {"ELEMENTS_DRIVER": "sim"})
        try:
            system.up()
            yield system
        finally:
            system.down()
            for uri in uris.values():
                databases.drop(uri)


def test_an_order_is_followed_to_its_end_on_an_sqlite_read_model(small_system: System) -> None:
    client = Client(small_system.url, staff_password=small_system.env["STAFF_PASSWORD"])
    completed, rejected = (client.place(an_order(items=[internet()]))["order_id"] for _ in range(2))
    client.schedule(completed)
    client.complete(completed)
    page = client.wait_for_events(completed, "order_completed")
    assert page["status"] == "completed"
    assert small_system.db("mypage", "select sqlite_version() as version")

    small_system.kill("mypage")
    client.call("GET", "/livez")
    small_system.start("mypage")
    client.schedule(rejected)
    client.reject(rejected, reason_code="no_duct")
    assert client.wait_for_events(rejected, "order_rejected")["rejection"]["reason_code"] == "no_duct"
    assert client.order(completed) == page, "what was committed outlives kill -9"
    listed = client.call("GET", "/api/orders", as_="operator", params={"status": "completed"})["items"]
    assert [item["order_id"] for item in listed] == [completed]
