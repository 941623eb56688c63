"""Broker and databases over TLS: the whole system runs so, and whoever cannot check a certificate stays away."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import eventlet
import pytest
import sqlalchemy as sa
from nameko.standalone.rpc import ClusterRpcProxy

from chassis import broker
from chassis.amqp import Link
from chassis.service import queue_depths
from tests.harness import certificates
from tests.harness.client import Client, an_order, internet
from tests.harness.settings import FAST
from tools import packages, rabbit
from tools.certificates import Certificates
from tools.environment import environment_of
from tools.nodes import Nodes
from tools.paths import OPERATOR, ROOT, SERVICES
from tools.system import System
from tools.waiting import wait_until


@pytest.fixture(scope="module")
def pem(state_folder: Path) -> Certificates:
    return certificates.make(state_folder / "tls" / "certificates")


@pytest.fixture(scope="module")
def secured(state_folder: Path, pem: Certificates) -> Iterator[System]:
    """The system on nodes that are reached over TLS only, with simulated elements."""
    folder = state_folder / "tls"
    nodes = Nodes(folder, durable=False, use_environment=False, tls=pem)
    packages.ensure(rabbit.SERVER)
    try:
        nodes.start()
        system = System(folder, nodes=nodes, overrides=FAST | {"ELEMENTS_DRIVER": "sim"})
        try:
            system.up()
            yield system
        finally:
            system.down()
    finally:
        nodes.remove()


def test_an_order_goes_all_its_way_over_tls(secured: System) -> None:
    client = Client(secured.url, staff_password=secured.env["STAFF_PASSWORD"])
    order_id = client.place(an_order(items=[internet()]))["order_id"]
    client.schedule(order_id)
    client.complete(order_id)
    assert client.wait_for_events(order_id, "order_completed")["status"] == "completed"


def broker_connections(secured: System, pem: Certificates) -> list[dict[str, Any]]:
    # Not by `requests`: pytest has imported it before eventlet patched `ssl`, and then it knows no TLS.
    management = urlsplit(secured.nodes.broker.management_uri)
    http = HTTPSConnection("127.0.0.1", management.port or 0, timeout=30,
                           context=ssl.create_default_context(cafile=str(pem.authority)))  # fmt: skip
    password = b64encode(f"{management.username}:{management.password}".encode()).decode()
    http.request("GET", "/api/connections", headers={"Authorization": f"Basic {password}"})
    found: list[dict[str, Any]] = json.loads(http.getresponse().read())
    return found


def test_nothing_of_it_goes_unencrypted(secured: System, pem: Certificates) -> None:
    found: list[dict[str, Any]] = []

    def all_seen() -> bool:
        # The management interface tells of a connection some seconds after it was made, first without its particulars.
        found[:] = broker_connections(secured, pem)
        return {f"oss_{service}" for service in SERVICES} <= users() and all("ssl" in each for each in found)

    def users() -> set[str]:
        return {connection["user"] for connection in found if "ssl" in connection}

    wait_until(all_seen, lambda: f"the broker tells of each service's connections; it does of {sorted(users())}")
    assert all(connection["ssl"] for connection in found)
    for service in SERVICES:
        query = ("select count(*) filter (where not ssl) as plain, count(*) filter (where ssl) as secured"
                 " from pg_stat_ssl join pg_stat_activity using (pid) where client_port is not null")  # fmt: skip
        [row] = secured.db(service, query)
        assert row["plain"] == 0 and row["secured"]


def test_overviews_and_shells_use_it_as_well(secured: System) -> None:
    wanted = {"order.events": {"messages": 0, "consumers": 1}}
    wait_until(lambda: queue_depths(secured.env, list(wanted)) == wanted, "all it was sent is handled")
    with ClusterRpcProxy(broker.client_config(environment_of(OPERATOR, secured.env)), timeout=30) as cluster:
        assert cluster.order.overview()["checks"]["relay"] == "ok"


def wrong_authority(state_folder: Path) -> str:
    return str(certificates.make(state_folder / "tls" / "strangers").authority)


def complaint(uri: str, ca_file: str, caplog: pytest.LogCaptureFixture) -> str:
    """What a link says of a broker to which it does not connect."""
    caplog.clear()
    link = Link(uri, "test", ca_file=ca_file)
    link.start(eventlet.spawn)
    try:
        wait_until(lambda: [one for one in caplog.records if one.name == "chassis.amqp"], "the link has said something")
        assert not link.connected
    finally:
        link.stop()
    return " ".join(one.getMessage() for one in caplog.records if one.name == "chassis.amqp")


def test_a_broker_signed_by_a_stranger_is_refused_and_the_log_says_why(
    secured: System, state_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = complaint(secured.amqp_uri, wrong_authority(state_folder), caplog)
    assert "the broker's certificate is not accepted: self-signed certificate in certificate chain" in said
    assert "AMQP_CA_FILE" in said
    assert str(urlsplit(secured.amqp_uri).password) not in said


def test_a_broker_with_a_certificate_for_another_host_is_refused(
    secured: System, pem: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    said = complaint(secured.amqp_uri.replace("127.0.0.1", "localhost"), str(pem.authority), caplog)
    assert "the broker's certificate is not accepted: Hostname mismatch" in said


def test_without_an_authority_of_its_own_only_those_of_the_system_count(
    secured: System, caplog: pytest.LogCaptureFixture
) -> None:
    assert "the broker's certificate is not accepted" in complaint(secured.amqp_uri, "", caplog)


def test_a_file_that_is_not_there_is_named(secured: System, caplog: pytest.LogCaptureFixture) -> None:
    said = complaint(secured.amqp_uri, "no-such-file.pem", caplog)
    assert "AMQP_CA_FILE" in said and "no-such-file.pem" in said


def test_a_plain_connection_gets_no_answer(secured: System, caplog: pytest.LogCaptureFixture) -> None:
    assert "connection lost or refused" in complaint(secured.amqp_uri.replace("amqps://", "amqp://"), "", caplog)


def test_a_database_signed_by_a_stranger_is_refused(secured: System, state_folder: Path) -> None:
    url = sa.make_url(secured.env["ORDER_DB_URI"]).update_query_dict({"sslrootcert": wrong_authority(state_folder)})
    with pytest.raises(sa.exc.OperationalError, match="certificate verify failed") as refused:
        sa.create_engine(url, poolclass=sa.NullPool).connect()
    assert str(url.password) not in str(refused.value)


def test_broker_users_are_made_over_tls_or_not_at_all(secured: System, state_folder: Path) -> None:
    def apply(ca_file: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tools.broker_users", "apply"], cwd=ROOT, capture_output=True, text=True, timeout=60,
            env=secured.env | {"AMQP_CA_FILE": ca_file, "PATH": ""},
        )  # fmt: skip

    refused = apply(wrong_authority(state_folder))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.strip() == "broker, users/oss_order: SSLError"
    assert apply(secured.env["AMQP_CA_FILE"]).returncode == 0
