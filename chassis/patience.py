"""How long a greenlet waits for PostgreSQL: to connect, and for the answer to one statement.

Under eventlet psycopg2 waits by a callback, and libpq then leaves `connect_timeout` to it; eventlet's own callback
waits for ever. A server that hangs, or that the network no longer reaches, would so keep every worker for good.
SERVER_OPTIONS is the other way round: what the server does about a client of which it hears no more.
"""

from __future__ import annotations

from typing import Any

import eventlet
import greenlet
import psycopg2
from eventlet import hubs
from eventlet.support.psycopg2_patcher import eventlet_wait_callback
from psycopg2 import extensions

from chassis.waiting import InPlace

CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 20.0
IDLE_IN_TRANSACTION_S = 30
"""Longer than any transaction of ours pauses (the relay waits 15 s for confirms). After so long the server itself ends
one whose client is not heard of any more, and with it the locks that would stop orders for hours."""
SERVER_OPTIONS = {
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S}s",
    # The server lets go of what waits for a lock on behalf of a client that has given up,
    "client_connection_check_interval": "10s",
    # and notices one whose machine is gone.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class PatientConnection(extensions.connection):
    """A connection that is given up, and closed, where the server does not answer within `answer_timeout_s`.

    What became of the statement is unknown then, as after a lost connection. Nothing is cancelled at the server: a
    COMMIT that waits for a standby, if cancelled, would be called done without one (PostgreSQL, synchronous_commit).
    """

    answer_timeout_s = ANSWER_TIMEOUT_S
    _waiting: Any = None
    _give_up: tuple[float, str] = (0.0, "")
    _look_at: float | None = None
    _in_place: InPlace | None = None

    def wait(self, doing: str, limit_s: float) -> None:
        """Wait for the server without holding up others. Raises OperationalError, upon which psycopg2 closes this."""
        until = hubs.get_hub().clock() + limit_s
        self._give_up = until, f"the database did not {doing} within {limit_s:g} s"
        # One timer goes on from statement to statement: making and cancelling one each time costs as much as waiting.
        if self._look_at is None or until < self._look_at:
            self._look_later(until, limit_s)
        self._waiting = greenlet.getcurrent()
        try:
            if doing == "answer":
                self._wait_for_answer()
            else:
                eventlet_wait_callback(self)
        finally:
            self._waiting = None

    def _wait_for_answer(self) -> None:
        """As eventlet's callback, but that most answers are here before the event loop would have been asked."""
        if self._in_place is None:
            self._in_place = InPlace(self.fileno())
        while (state := self.poll()) != extensions.POLL_OK:
            if state == extensions.POLL_READ:
                self._in_place.wait()
            else:
                hubs.trampoline(self.fileno(), write=True)

    def _look_later(self, at: float, wait_s: float) -> None:
        self._look_at = at
        hubs.get_hub().schedule_call_global(wait_s, self._look, at)

    def _look(self, at: float) -> None:
        if at != self._look_at:
            return  # an earlier look took its place
        self._look_at = None
        until, problem = self._give_up
        left_s = until - hubs.get_hub().clock()
        if self._waiting is not None and left_s > 0:
            self._look_later(until, left_s)
        elif self._waiting is not None:
            self._waiting.throw(psycopg2.OperationalError(problem))


def connections(answer_timeout_s: float, kind: type[PatientConnection] = PatientConnection) -> type[PatientConnection]:
    """The `connection_factory` for psycopg2 of connections of that kind with this limit, in seconds."""
    if extensions.get_wait_callback() is eventlet_wait_callback:
        extensions.set_wait_callback(_wait)
    return type(kind.__name__, (kind,), {"answer_timeout_s": answer_timeout_s})


def _wait(connection: Any) -> None:
    connecting = connection.status not in (extensions.STATUS_READY, extensions.STATUS_BEGIN, extensions.STATUS_PREPARED)
    if isinstance(connection, PatientConnection):
        limit_s = connection.answer_timeout_s
        doing, limit_s = ("connect", min(CONNECT_TIMEOUT_S, limit_s)) if connecting else ("answer", limit_s)
        connection.wait(doing, limit_s)
        return
    # Of others only the connecting is limited.
    error = psycopg2.OperationalError(f"the database did not connect within {CONNECT_TIMEOUT_S} s")
    with eventlet.Timeout(CONNECT_TIMEOUT_S if connecting else None, error):
        eventlet_wait_callback(connection)
