"""The bytes of a broker connection: frames leave together, whole and in order, and nobody waits for a dead broker."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import eventlet
import pytest
from amqp import spec
from amqp.exceptions import UnexpectedFrame

from chassis.amqp_wire import FULL_BYTES, Wire

HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"


class Socket:
    """A socket whose other side takes what the test lets it take: `takes` bytes of each call, an error for others."""

    def __init__(self, *takes: int | Exception, comes: tuple[bytes, ...] = ()) -> None:
        self._takes, self._comes = list(takes), list(comes)
        self.sent: list[bytes] = []

    def settimeout(self, timeout_s: float) -> None:
        pass

    def send(self, data: memoryview) -> int:
        eventlet.sleep(0)
        take = self._takes.pop(0) if self._takes else len(data)
        if isinstance(take, Exception):
            raise take
        self.sent.append(bytes(data[:take]))
        return len(self.sent[-1])

    def recv(self, size: int) -> bytes:
        return self._comes.pop(0)


class Wired:
    """A wire over such a socket: the frames it has read, and the errors it has told."""

    def __init__(self, sock: Any) -> None:
        self.frames: list[tuple[int, int, bytes]] = []
        self.errors: list[Exception] = []
        self.connection = SimpleNamespace(
            transport=SimpleNamespace(sock=sock), frame_max=131_072, bytes_sent=0, on_inbound_frame=self.frames.append
        )
        self.wire = Wire(self.connection, self.errors.append)

    def publish(self, body: bytes) -> None:
        """What py-amqp does for a method with a body."""
        content = SimpleNamespace(body=body, _serialize_properties=lambda: b"\0\0")
        self.connection.frame_writer(1, 1, spec.Basic.Publish, b"", content)


def until_sent(wired: Wired) -> None:
    with eventlet.Timeout(5):
        while wired.wire.busy:
            eventlet.sleep(0)


def test_what_is_written_in_one_turn_is_sent_together() -> None:
    sock = Socket()
    wired = Wired(sock)
    for _ in range(3):
        wired.connection.frame_writer(8, 0, None, b"", None)
    assert sock.sent == [], "nobody waits for the socket where something is written"
    until_sent(wired)
    assert len(sock.sent) == 1


def test_every_frame_leaves_whole_and_in_order_however_little_the_broker_takes_at_a_time() -> None:
    whole = Socket()
    one = Wired(whole)
    slow = Socket(1, 3, TimeoutError("timed out"), 500, TimeoutError("timed out"), 70_000)
    other = Wired(slow)
    for wired in (one, other):
        for number in range(3):
            wired.publish(bytes([number]) * 60_000)
        until_sent(wired)
        wired.publish(b"later" * 100)
        until_sent(wired)
    assert b"".join(slow.sent) == b"".join(whole.sent)
    assert other.errors == []


def test_frames_are_read_whole_however_they_arrive() -> None:
    bodies = (b"ab", b"", b"\xce" * 9)
    stream = b"".join(b"\x01\x00\x07" + len(body).to_bytes(4, "big") + body + b"\xce" for body in bodies)
    bytewise = [bytes([byte]) for byte in stream]
    wired = Wired(Socket(comes=(*bytewise, stream + stream[:5], stream[5:])))
    for _ in range(len(stream) + 2):
        wired.wire.read(1.0)
    assert wired.frames == [(1, 7, b"ab"), (1, 7, b""), (1, 7, b"\xce" * 9)] * 3


def test_a_stream_that_is_no_amqp_or_has_ended_is_said_so() -> None:
    wired = Wired(Socket(comes=(HEARTBEAT[:-1] + b"x", b"")))
    with pytest.raises(UnexpectedFrame):
        wired.wire.read(1.0)
    with pytest.raises(ConnectionError):
        wired.wire.read(1.0)


def test_whoever_waits_for_room_is_let_go_when_the_connection_breaks() -> None:
    wired = Wired(Socket(TimeoutError("timed out"), OSError("broken")))
    wired.publish(b"first")
    eventlet.sleep(0)
    wired.wire.write(b"x" * (FULL_BYTES + 1))
    assert wired.wire.is_full
    with eventlet.Timeout(5):
        wired.wire.wait_for_room()
    assert [str(error) for error in wired.errors] == ["broken"]


def test_it_is_known_for_how_long_the_broker_takes_nothing() -> None:
    near, far = socket.socketpair()
    wired = Wired(near)
    wired.wire.write(b"x" * 10_000_000)
    with eventlet.Timeout(5):
        while wired.wire.stuck_s() < 0.05:
            eventlet.sleep(0.01)
    far.close()
    until_sent(wired)
    assert wired.wire.stuck_s() == 0


def test_who_writes_no_more_may_have_it_sent_at_once_if_nobody_else_would_add_to_it() -> None:
    near, far = socket.socketpair()
    wired = Wired(near)
    eventlet.sleep(0)
    wired.wire.write(b"alone")
    wired.wire.flush()
    assert not wired.wire.busy and far.recv(100) == b"alone"

    eventlet.spawn(wired.wire.write, b" together")
    wired.wire.write(b"sent")
    wired.wire.flush()
    assert wired.wire.busy, "who is ready may have something to add"
    until_sent(wired)
    assert far.recv(100) == b"sent together"
    near.close()
    far.close()


def test_what_the_system_does_not_take_at_once_follows_whole_and_in_order() -> None:
    near, far = socket.socketpair()
    wired, read = Wired(near), bytearray()
    pieces = [bytes([number]) * 50_000 for number in range(40)]
    for piece in pieces:
        wired.wire.write(piece)
        wired.wire.flush()
    with eventlet.Timeout(10):
        while len(read) < 2_000_000:
            read += far.recv(100_000)
    assert read == b"".join(pieces) and not wired.wire.busy and wired.errors == []
    near.close()
    far.close()


def test_a_socket_that_broke_is_told_of_also_by_what_is_sent_at_once() -> None:
    near, far = socket.socketpair()
    wired = Wired(near)
    near.shutdown(socket.SHUT_RDWR)
    wired.wire.write(b"lost")
    wired.wire.flush()
    until_sent(wired)
    assert len(wired.errors) == 1 and isinstance(wired.errors[0], OSError)
    near.close()
    far.close()


def test_a_socket_that_was_read_empty_is_waited_for_and_what_comes_is_read() -> None:
    near, far = socket.socketpair()
    wired = Wired(near)
    for _ in range(2):
        far.send(HEARTBEAT)
        wired.wire.read(1.0)
    with pytest.raises(TimeoutError):
        wired.wire.read(0.01)
    far.send(HEARTBEAT)
    wired.wire.read(1.0)
    assert wired.frames == [(8, 0, b"")] * 3
    near.close()
    far.close()
