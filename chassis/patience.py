"""How long a greenlet waits for PostgreSQL: to connect, and for the answer to one statement.

Under eventlet psycopg2 waits by a callback, and libpq then leaves `connect_timeout` to it; eventlet's own callback
waits for ever. A server that hangs, or that the network no longer reaches, would so keep every worker for good.
SERVER_OPTIONS is the other way round: what the server does about a client of which it hears no more.
"""

from __future__ import annotations

from typing import Any

import eventlet
import psycopg2
from eventlet.support.psycopg2_patcher import eventlet_wait_callback
from psycopg2 import extensions

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


def connections(answer_timeout_s: float) -> type[PatientConnection]:
    """The `connection_factory` for psycopg2 of connections with this limit, in seconds."""
    if extensions.get_wait_callback() is eventlet_wait_callback:
        extensions.set_wait_callback(_wait)
    return type("PatientConnection", (PatientConnection,), {"answer_timeout_s": answer_timeout_s})


def _wait(connection: Any) -> None:
    """Wait without holding up others. Raises psycopg2.OperationalError, upon which psycopg2 closes the connection."""
    connecting = connection.status not in (extensions.STATUS_READY, extensions.STATUS_BEGIN, extensions.STATUS_PREPARED)
    limit_s = getattr(connection, "answer_timeout_s", None)
    if connecting:
        limit_s = min(CONNECT_TIMEOUT_S, limit_s or CONNECT_TIMEOUT_S)
    doing = "connect" if connecting else "answer"
    with eventlet.Timeout(limit_s, psycopg2.OperationalError(f"the database did not {doing} within {limit_s} s")):
        eventlet_wait_callback(connection)
