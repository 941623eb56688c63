"""Promises of the tests' TCP proxy: what it loses, it loses only there, and healed it carries everything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import eventlet
import pytest
from eventlet.green import socket

from tests.harness.tcp_proxy import TcpProxy


class EchoServer:
    """Answers every line with `did <line>`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._listener = eventlet.listen(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._serving = eventlet.spawn(self._serve)

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            eventlet.spawn(self._answer, client)

    def _answer(self, client: Any) -> None:
        with client, client.makefile("rb") as lines:
            for line in lines:
                self.asked.append(line.strip())
                client.sendall(b"did " + line)

    def close(self) -> None:
        self._serving.kill()
        self._listener.close()


@pytest.fixture
def server() -> Iterator[EchoServer]:
    running = EchoServer()
    yield running
    running.close()


@pytest.fixture
def proxy(server: EchoServer) -> Iterator[TcpProxy]:
    with TcpProxy(server.port) as running:
        yield running


class Talker:
    """A client that says lines and hears their answers; TimeoutError where none comes."""

    def __init__(self, port: int, timeout_s: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.socket.settimeout(timeout_s)

    def say(self, line: bytes) -> bytes:
        self.socket.sendall(line + b"\n")
        heard = b""
        while not heard.endswith(b"\n"):
            chunk = self.socket.recv(100)
            if not chunk:
                raise ConnectionError(f"ended after {heard!r}")
            heard += chunk
        return heard.strip()


def test_carries_both_ways_until_either_side_ends(server: EchoServer, proxy: TcpProxy) -> None:
    talker = Talker(proxy.port)
    assert talker.say(b"one") == b"did one"
    talker.socket.shutdown(socket.SHUT_WR)
    assert talker.socket.recv(10) == b"", "the server's goodbye comes through"
    assert proxy.connections == 0


def test_an_answer_can_be_lost_while_its_effect_happens(server: EchoServer, proxy: TcpProxy) -> None:
    talker = Talker(proxy.port)
    talker.say(b"write x")
    proxy.drop_answer_to(b"write x")
    assert talker.say(b"read y") == b"did read y", "only that answer, and only the next one"
    talker.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        talker.say(b"write x")
    proxy.wait_until_lost()
    assert server.asked == [b"write x", b"read y", b"write x"]
    assert Talker(proxy.port).say(b"write x") == b"did write x", "other connections are not concerned"
    proxy.heal()
    with pytest.raises(ConnectionError):
        talker.say(b"more")


def test_the_client_can_be_cut_off_instead_of_answered(server: EchoServer, proxy: TcpProxy) -> None:
    proxy.drop_answer_to(b"write", then="cut")
    with pytest.raises(ConnectionError):
        Talker(proxy.port).say(b"write x")
    assert server.asked == [b"write x"]
    assert Talker(proxy.port).say(b"write x") == b"did write x"


def test_answers_can_be_lost_after_some_bytes(server: EchoServer, proxy: TcpProxy) -> None:
    proxy.drop_answers(after_bytes=len(b"did 1\ndi"), then="cut")
    talker = Talker(proxy.port)
    assert talker.say(b"1") == b"did 1"
    with pytest.raises(ConnectionError):
        talker.say(b"2")
    assert server.asked == [b"1", b"2"]
    proxy.heal()
    assert Talker(proxy.port).say(b"3") == b"did 3"


def test_frozen_it_carries_nothing_and_healed_it_carries_what_waited(server: EchoServer, proxy: TcpProxy) -> None:
    talker = Talker(proxy.port)
    talker.say(b"one")
    proxy.freeze()
    answer = eventlet.spawn(talker.say, b"two")
    newcomer = Talker(proxy.port, timeout_s=0.1)
    with pytest.raises(TimeoutError):
        newcomer.say(b"new")
    assert server.asked == [b"one"]
    proxy.heal()
    assert answer.wait() == b"did two"


def test_cut_resets_and_refuses_until_it_is_healed(server: EchoServer, proxy: TcpProxy) -> None:
    talker = Talker(proxy.port)
    talker.say(b"one")
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        talker.say(b"two")
    with pytest.raises(ConnectionRefusedError):
        Talker(proxy.port)
    proxy.heal()
    assert Talker(proxy.port).say(b"three") == b"did three"


def test_delays_are_each_way_and_do_not_add_up(server: EchoServer, proxy: TcpProxy) -> None:
    proxy.to_server_s, proxy.to_client_s = 0.1, 0.05
    talkers = [Talker(proxy.port) for _ in range(5)]
    begun = time.monotonic()
    answers = [eventlet.spawn(talker.say, b"late") for talker in talkers]
    assert [answer.wait() for answer in answers] == [b"did late"] * 5
    assert time.monotonic() - begun >= 0.15


def test_a_server_that_is_not_there_resets_the_client(server: EchoServer, proxy: TcpProxy) -> None:
    server.close()
    with pytest.raises(ConnectionError):
        Talker(proxy.port).say(b"anybody?")
