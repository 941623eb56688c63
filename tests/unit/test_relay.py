"""The relay between two parts: late, narrow, silent or cut as it is told; and who is led through it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import eventlet
import pytest

from tools.packet_loss import PacketLoss, rules
from tools.relayed import Detours, Relay
from tools.waiting import wait_until


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""

    def answer(client: Any) -> None:
        with client:
            while data := client.recv(65536):
                client.sendall(data)

    listener = eventlet.listen(("127.0.0.1", 0))
    serving = eventlet.spawn(eventlet.serve, listener, lambda client, address: answer(client))
    yield int(listener.getsockname()[1])
    serving.kill()
    listener.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    relay = Relay(tmp_path_factory.mktemp("relay"))
    relay.start()
    yield relay
    relay.stop()


class Link:
    """One link of the relay under test."""

    def __init__(self, relay: Relay, name: str, port: int) -> None:
        self.relay, self.name, self._port = relay, name, port

    def disturb(self, **trouble: Any) -> None:
        self.relay.disturb(self.name, **trouble)

    def connected(self, timeout_s: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout_s)


@pytest.fixture
def link(running: Relay, echo: int, request: pytest.FixtureRequest) -> Link:
    name = request.node.name
    return Link(running, name, running.open(name, echo))


def said(client: socket.socket, data: bytes) -> bytes:
    """What comes back; b"" where the other side has ended it."""
    client.sendall(data)
    found = b""
    while len(found) < len(data) and (part := client.recv(65536)):
        found += part
    return found


def test_what_is_not_disturbed_is_carried_and_counted(link: Link) -> None:
    with link.connected() as client:
        assert said(client, b"x" * 300_000) == b"x" * 300_000
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b"", "the end of a stream is carried as well"
    told = wait_until(lambda: (now := link.relay.told(link.name))["connections"] == 0 and now, "it is over")
    assert told["bytes"] == 600_000


def test_bytes_are_late_each_way_and_keep_their_order(link: Link) -> None:
    link.disturb(delay_ms=100, jitter_ms=90)
    with link.connected() as client:
        began = time.monotonic()
        sent = b"".join(bytes([number]) * 10 for number in range(50))
        for at in range(0, len(sent), 10):
            client.sendall(sent[at:at + 10])
            eventlet.sleep(0.002)
        found = b""
        while len(found) < len(sent):
            found += client.recv(4096)
        assert found == sent
        assert time.monotonic() - began >= 0.02, "10 ms each way at the least"


def test_a_delay_is_not_added_up_by_many_bytes(link: Link) -> None:
    link.disturb(delay_ms=100)
    with link.connected() as client:
        began = time.monotonic()
        assert said(client, b"x" * 500_000) == b"x" * 500_000
        assert 0.2 <= time.monotonic() - began < 2


def test_a_narrow_link_takes_its_time(link: Link) -> None:
    link.disturb(bytes_per_s=100_000)
    with link.connected() as client:
        began = time.monotonic()
        said(client, b"x" * 50_000)
        assert time.monotonic() - began >= 0.5


def test_a_black_hole_holds_everything_back_and_healed_it_all_arrives(link: Link) -> None:
    with link.connected(timeout_s=0.3) as old:
        said(old, b"before")
        link.disturb(mode="swallow")
        with link.connected(timeout_s=0.3) as new:
            for client in (old, new):
                client.sendall(b"during")
                with pytest.raises(TimeoutError):
                    client.recv(10)
            link.relay.heal(link.name)
            for client in (old, new):
                client.settimeout(10)
                assert client.recv(10) == b"during"


def test_a_cut_resets_what_there_is_and_refuses_what_comes(link: Link) -> None:
    with link.connected() as client:
        said(client, b"before")
        link.disturb(mode="cut")
        assert client.recv(10) == b"", "which is how eventlet tells of a reset"
    with pytest.raises(ConnectionRefusedError):
        link.connected()
    link.relay.heal(link.name)
    with link.connected() as client:
        assert said(client, b"after") == b"after"


def test_a_target_that_is_gone_looks_gone(link: Link, running: Relay) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = running.open(f"{link.name} gone", nobody.getsockname()[1])
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            assert client.recv(1) == b""
    except ConnectionResetError:
        return  # already while it was made


def test_an_order_that_makes_no_sense_is_refused_and_the_others_go_on(link: Link) -> None:
    for nonsense in ({"mode": "melt"}, {"delay_ms": -1}, {"speed": 3}):
        with pytest.raises(RuntimeError, match="the relay refuses"):
            link.disturb(**nonsense)
    with link.connected() as client:
        assert said(client, b"still") == b"still"


class Opened(Relay):
    """Notes what is opened, and opens nothing."""

    def __init__(self) -> None:
        self.links = {}

    def open(self, name: str, port: int, host: str = "127.0.0.1") -> int:
        self.links[name] = port
        return port + 1


ENV = {
    "AMQP_URI": "amqp://oss_activation@127.0.0.1:5672/oss", "ELEMENTS_DRIVER": "real",
    "ACTIVATION_DB_URI": "postgresql+psycopg2://postgres@127.0.0.1:5432/oss_activation?sslmode=disable",
    "ORDER_DB_URI": "postgresql+psycopg2://postgres@127.0.0.1:5432/oss_order",
    "OLT_1_PORT": "830", "OLT_2_PORT": "831", "BNG_1_DB_URI": "postgresql+psycopg2://radius@127.0.0.1:5432/radius",
    "TV_1_URL": "http://127.0.0.1:8020", "ELEMENT_SIM_PORT": "8010",
}  # fmt: skip


def test_a_process_is_led_over_a_link_of_its_own_to_each_neighbour() -> None:
    detours = Detours(Opened())

    changed = detours("activation", ENV)

    assert {name: changed[name] for name in changed if changed[name] != ENV[name]} == {
        "AMQP_URI": "amqp://oss_activation@127.0.0.1:5673/oss",
        "ACTIVATION_DB_URI": "postgresql+psycopg2://postgres@127.0.0.1:5433/oss_activation?sslmode=disable",
        "OLT_1_PORT": "831", "OLT_2_PORT": "832", "TV_1_URL": "http://127.0.0.1:8021",
        "BNG_1_DB_URI": "postgresql+psycopg2://radius@127.0.0.1:5433/radius",
    }  # fmt: skip
    assert detours.sorts == {
        "activation - broker": "broker", "activation - database": "database", "activation - olt-1": "element",
        "activation - olt-2": "element", "activation - bng-1": "element", "activation - tv-1": "element",
    }  # fmt: skip


def test_nobody_but_activation_is_led_to_elements_and_simulated_ones_are_behind_one_link() -> None:
    detours = Detours(Opened())

    assert "order - olt-1" not in detours.sorts and detours("order-2", ENV)["ELEMENT_SIM_PORT"] == "8010"
    assert detours("activation", ENV | {"ELEMENTS_DRIVER": "sim"})["ELEMENT_SIM_PORT"] == "8011"
    assert detours("elements", ENV) == ENV, "it listens there"
    assert sorted(detours.sorts) == [
        "activation - broker", "activation - database", "activation - elements",
        "order-2 - broker", "order-2 - database",
    ]  # fmt: skip


def test_packets_are_lost_nowhere_but_in_a_private_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.packet_loss.is_private", lambda: False)
    with pytest.raises(RuntimeError, match="private network"):
        PacketLoss()


def test_every_change_of_the_rules_says_all_of_them() -> None:
    assert rules({}) == "flush chain inet drill lossy\n"
    assert rules({21000: 10, 21001: 100}).splitlines() == [
        "flush chain inet drill lossy",
        "add rule inet drill lossy meta l4proto { tcp, udp } th sport 21000 numgen random mod 100 < 10 drop",
        "add rule inet drill lossy meta l4proto { tcp, udp } th dport 21000 numgen random mod 100 < 10 drop",
        "add rule inet drill lossy meta l4proto { tcp, udp } th sport 21001 drop",
        "add rule inet drill lossy meta l4proto { tcp, udp } th dport 21001 drop",
    ]
