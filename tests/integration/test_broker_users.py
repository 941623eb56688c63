"""What a service's own broker user may not do; that the whole flow works under these users, every other test shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
import requests
from amqp.exceptions import AccessRefused
from kombu import Connection

from contracts.changes import EXCHANGE as CHANGES
from contracts.events import EVENTS
from tools.broker_users import RPC, emitted, name_of, permissions
from tools.environment import environment_of
from tools.paths import BROKER_USERS, OPERATOR, SERVICES
from tools.system import System
from tools.waiting import wait_until

EVENTS_EXCHANGE = "oss.events"
WITH_QUEUES = tuple(name for name in SERVICES if name != "gateway")
Act = Callable[[Any], object]


@pytest.fixture
def system(running_system: System) -> System:
    """The system as it runs: nothing here stops a part of it or needs room for an order."""
    return running_system


@contextmanager
def channel_of(system: System, user: str) -> Iterator[Any]:
    """A channel of that user's that waits for the broker's answer to what is published."""
    uri = environment_of(user, system.env)["AMQP_URI"]
    assert f"{name_of(user)}:" in uri
    with Connection(uri, transport_options={"confirm_publish": True}) as connection:
        yield connection.channel()


def refused(system: System, user: str, act: Act) -> bool:
    """Whether the broker refuses this to the user."""
    with channel_of(system, user) as channel:
        try:
            act(channel)
        except AccessRefused:
            return True
    return False


def publishing(exchange: str, routing_key: str) -> Act:
    # With nothing in it: where the broker does take it, no more comes of it than a parked message.
    return lambda channel: channel.basic_publish(channel.prepare_message(b"{}"), exchange, routing_key)


def reading(queue: str) -> Act:
    return lambda channel: channel.basic_get(queue)


@pytest.mark.parametrize("user", BROKER_USERS)
def test_nobody_publishes_an_event_that_is_not_theirs(system: System, user: str) -> None:
    own = emitted(user) if user in SERVICES else []
    others = [name for name in EVENTS if name not in own]
    assert [name for name in others if not refused(system, user, publishing(EVENTS_EXCHANGE, name))] == []


@pytest.mark.parametrize("user", BROKER_USERS)
def test_nobody_reaches_a_queue_by_its_name(system: System, user: str) -> None:
    """The default exchange leads to every queue, so no service may use it, not even for its own."""
    for service in WITH_QUEUES:
        assert refused(system, user, publishing("", f"{service}.events"))
        assert refused(system, user, publishing("", f"rpc-{service}"))


@pytest.mark.parametrize("user", BROKER_USERS)
def test_nobody_reads_empties_or_removes_another_s_queue(system: System, user: str) -> None:
    for service in WITH_QUEUES:
        if service == user:
            continue
        for queue in (f"{service}.events", f"{service}.parked", f"rpc-{service}"):
            assert refused(system, user, reading(queue)), queue
            assert refused(system, user, lambda channel, queue=queue: channel.queue_purge(queue)), queue
            assert refused(system, user, lambda channel, queue=queue: channel.queue_delete(queue)), queue


@pytest.mark.parametrize("user", SERVICES)
def test_no_service_makes_or_removes_what_all_share(system: System, user: str) -> None:
    for exchange in (EVENTS_EXCHANGE, RPC, CHANGES):
        assert refused(system, user, lambda channel, name=exchange: channel.exchange_delete(name)), exchange
    assert refused(system, user, lambda channel: channel.queue_declare(f"{user}-of-its-own"))


@pytest.mark.parametrize("user", WITH_QUEUES)
def test_no_service_listens_to_what_it_does_not_act_on(system: System, user: str) -> None:
    queue = f"{user}.events"
    takes = set(permissions(user).topics[EVENTS_EXCHANGE][1])
    for key in ("#", "*", *(set(EVENTS) - takes)):
        assert refused(system, user, lambda channel, key=key: channel.queue_bind(queue, EVENTS_EXCHANGE, key)), key
    # Nor may it have calls of another service come to it.
    other = next(name for name in WITH_QUEUES if name != user)
    for key in ("#", f"{other}.*", f"{other}.overview"):
        assert refused(system, user, lambda channel, key=key: channel.queue_bind(queue, RPC, key)), key


@pytest.mark.parametrize("user", SERVICES)
def test_a_service_calls_those_that_its_code_calls(system: System, user: str) -> None:
    calls = {"gateway": set(WITH_QUEUES), "activation": {"scheduling"}}.get(user, set())
    reached = {name for name in WITH_QUEUES if not refused(system, user, publishing(RPC, f"{name}.overview"))}
    assert reached == calls


def test_operators_call_every_service_and_publish_nothing(system: System) -> None:
    for service in WITH_QUEUES:
        assert not refused(system, OPERATOR, publishing(RPC, f"{service}.overview"))
    assert refused(system, OPERATOR, publishing(CHANGES, ""))


def test_every_connection_of_a_service_is_its_own_user_s(system: System) -> None:
    api = f"{system.nodes.broker.management_uri}/api/vhosts/oss/connections"

    def users() -> dict[str, set[str]]:
        """By service, whose connections its process holds: others, tests among them, may be connected as well."""
        found = requests.get(api, timeout=30).json()
        user_at = {connection["peer_port"]: connection["user"] for connection in found if "user" in connection}
        ports = {service: _ports_of(system.processes[service].pid) for service in SERVICES}
        return {service: {user_at[port] for port in ports[service] & user_at.keys()} for service in SERVICES}

    # The broker's list is some seconds old, and a new connection's particulars come last.
    theirs = {service: {name_of(service)} for service in SERVICES}
    wait_until(lambda: users() == theirs, lambda: f"each is its own user; it is {users()}")


def test_a_process_is_given_its_own_password_and_nobody_else_s(system: System) -> None:
    secrets = {user: system.env[f"{user.upper()}_BROKER_PASSWORD"] for user in BROKER_USERS}
    assert len(set(secrets.values())) == len(BROKER_USERS)
    administrator = system.env["AMQP_MANAGEMENT_URI"].partition("//oss:")[2].partition("@")[0]
    for service in SERVICES:
        given = " ".join(system.processes[service].env.values())
        assert secrets[service] in given
        assert not [user for user, secret in secrets.items() if user != service and secret in given]
        assert administrator and administrator not in given


def test_no_log_holds_a_password(system: System) -> None:
    administrator = system.env["AMQP_MANAGEMENT_URI"].partition("//oss:")[2].partition("@")[0]
    secrets = {administrator, *(system.env[f"{user.upper()}_BROKER_PASSWORD"] for user in BROKER_USERS)}
    for log in sorted((system.folder / "logs").glob("*.log")):
        text = log.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], log.name


def test_an_unknown_user_is_an_error() -> None:
    with pytest.raises(KeyError, match="no such broker user: 'billing'"):
        permissions("billing")


def _ports_of(pid: int) -> set[int]:
    """The local ports of a process's connections."""
    return {connection.laddr.port for connection in psutil.Process(pid).net_connections("tcp")}
