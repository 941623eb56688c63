"""The bytes of one broker connection. What is written in one turn of the event loop is sent together, and what has
arrived is read together.

py-amqp sends each frame by itself and asks the system three times for each one that it reads. Each of these costs us a
system call, and the broker a packet and a turn of two of its processes.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

import eventlet
from amqp.exceptions import UnexpectedFrame
from amqp.method_framing import frame_writer
from eventlet import hubs
from eventlet.event import Event
from eventlet.greenio import GreenSocket

from chassis.waiting import nobody_else_can_run

FULL_BYTES = 1_000_000
"""Whoever publishes waits while more than this has not been sent."""
PIECE_BYTES = 65_536
"""Sent and read at a time. Over TLS no more of a large piece would be known than that it is not all sent."""

_HEAD = struct.Struct(">BHI")
_END = 0xCE


class Wire:
    """Stands between py-amqp and the socket of an open connection: all it writes goes through here from then on.

    `on_broken(error)` is called where sending fails.
    """

    def __init__(self, connection: Any, on_broken: Callable[[Exception], None]) -> None:
        self._sock = connection.transport.sock
        self._on_frame = connection.on_inbound_frame
        self._on_broken = on_broken
        # The socket under eventlet's, which does not block; over TLS there is none to be used beside it.
        self._plain = self._sock.fd if isinstance(self._sock, GreenSocket) else None
        self._is_empty = False
        self._turn: Any = None
        self._unread = b""
        self._unsent = bytearray()
        self._at_work: memoryview | None = None
        self._progress_at = 0.0
        self._room: Event | None = None
        connection.frame_writer = frame_writer(connection, self)

    def write(self, frame: Any) -> None:
        """Note what is to be sent; it goes out as soon as whoever runs lets others run. Does not wait."""
        self._unsent += frame
        if self._at_work is None:
            self._at_work, self._progress_at = memoryview(b""), time.monotonic()
            self._turn = hubs.get_hub().schedule_call_global(0, self._turn_is_over)

    def flush(self) -> None:
        """Send what is noted now, where nobody else would add to it in this turn: for whoever writes no more."""
        if self._turn is not None:
            self._turn.cancel()
            if nobody_else_can_run():
                self._turn_is_over()
            else:
                self._turn = hubs.get_hub().schedule_call_global(0, self._turn_is_over)

    @property
    def busy(self) -> bool:
        """Whether something has not been sent."""
        return self._at_work is not None

    @property
    def is_full(self) -> bool:
        """Whether very much has not been sent."""
        return len(self._unsent) > FULL_BYTES

    def stuck_s(self) -> float:
        """For how many seconds the other side has taken nothing of what waits; 0 where nothing does."""
        return 0.0 if self._at_work is None else time.monotonic() - self._progress_at

    def wait_for_room(self) -> None:
        """Where it is full, wait until some has been sent, or will never be."""
        if self.is_full:
            if self._room is None:
                self._room = Event()
            self._room.wait()

    def read(self, timeout_s: float) -> None:
        """Wait for what comes and give it to py-amqp, frame by frame. Raises TimeoutError where nothing does.

        What py-amqp waits for itself, while queues are declared, it reads itself.
        """
        if self._is_empty:
            hubs.trampoline(self._sock, read=True, timeout=timeout_s, timeout_exc=TimeoutError)
        self._sock.settimeout(timeout_s)
        data = self._sock.recv(PIECE_BYTES)
        self._is_empty = self._plain is not None and len(data) < PIECE_BYTES
        if not data:
            raise ConnectionResetError("the broker has ended the connection")
        data = self._unread + data
        start, known = 0, len(data)
        while start + _HEAD.size < known:
            kind, channel, size = _HEAD.unpack_from(data, start)
            end = start + _HEAD.size + size
            if end >= known:
                break
            if data[end] != _END:
                raise UnexpectedFrame(f"a frame ends with {data[end]:#x}")
            self._on_frame((kind, channel, data[start + _HEAD.size : end]))
            start = end + 1
        self._unread = data[start:]

    def _turn_is_over(self) -> None:
        self._turn = None
        if not self._is_taken_at_once():
            eventlet.spawn_n(self._send)

    def _is_taken_at_once(self) -> bool:
        """Send without waiting. False where something is left, or went wrong, for `_send` to see to."""
        if self._plain is None or len(self._unsent) > PIECE_BYTES:
            return False
        try:
            sent = self._plain.send(self._unsent)
        except OSError:
            return False
        del self._unsent[:sent]
        if self._unsent:
            return False
        self._at_work = None
        self._there_is_room()
        return True

    def _send(self) -> None:
        try:
            while self._unsent:
                self._at_work, self._unsent = memoryview(self._unsent), bytearray()
                while self._at_work:
                    self._send_piece(self._at_work)
                self._there_is_room()
        except Exception as error:
            self._unsent.clear()
            self._on_broken(error)
        finally:
            self._at_work = None
            self._there_is_room()

    def _send_piece(self, view: memoryview) -> None:
        try:
            sent = self._sock.send(view[:PIECE_BYTES])
        except TimeoutError:
            return  # tried again with the same bytes; `stuck_s` tells for how long
        self._at_work, self._progress_at = view[sent:], time.monotonic()

    def _there_is_room(self) -> None:
        if self._room is not None:
            self._room.send(None)
            self._room = None
