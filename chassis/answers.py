"""How long a service waits for its database: a connection that hangs is given up, on both sides. PostgreSQL's only.

A cooperative psycopg2 waits in `poll`, where libpq's own limits do not hold: `connect_timeout` is not looked at, and
keepalives only tell that the other machine's kernel is there. A frozen server, or something in the middle that takes
packets and passes none on, would be waited for without end, in a worker that nobody gets back.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import psycopg2
from eventlet.hubs import trampoline
from psycopg2 import extensions

CONNECT_S = 5
IDLE_IN_TRANSACTION_S = 30
"""Longer than any transaction of ours pauses (the relay waits 15 s for confirms). After so long the server itself ends
one whose client is not heard of any more, and with it the locks that would stop orders for hours."""


class WatchedConnection(extensions.connection):
    """A connection on which no answer may take longer than `answer_timeout_s`."""

    def __init__(self, dsn: str, *args: Any, answer_timeout_s: float, **options: Any) -> None:
        # First, because connecting waits as well.
        self.answer_timeout_s = min(answer_timeout_s, CONNECT_S)
        super().__init__(dsn, *args, **options)
        self.answer_timeout_s = answer_timeout_s


def connect_arguments(service: str, answer_timeout_s: float) -> dict[str, Any]:
    """What psycopg2's `connect` takes. Where it is cooperative, waiting is watched from now on in this process."""
    if extensions.get_wait_callback() is not None:
        extensions.set_wait_callback(_wait)
    return {
        "application_name": service,
        "connect_timeout": CONNECT_S,
        # A connection that was cut must be noticed by us, not by TCP an hour later; and by the server as well.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        "options": f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_S}s"
                   " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
        "connection_factory": partial(WatchedConnection, answer_timeout_s=answer_timeout_s),
    }  # fmt: skip


def _wait(connection: extensions.connection) -> None:
    """Lets other greenlets run until the connection has its answer. psycopg2 closes it where this raises."""
    # Connections that were not made here may wait as long as ever.
    timeout_s = getattr(connection, "answer_timeout_s", None)
    silence = psycopg2.OperationalError(f"the database has said nothing for {timeout_s or 0:g} s")
    while (state := connection.poll()) != extensions.POLL_OK:
        if state not in (extensions.POLL_READ, extensions.POLL_WRITE):
            raise psycopg2.OperationalError(f"unexpected state while waiting for the database: {state!r}")
        trampoline(
            connection.fileno(),
            read=state == extensions.POLL_READ,
            write=state == extensions.POLL_WRITE,
            timeout=timeout_s,
            timeout_exc=silence,
        )
