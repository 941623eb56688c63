"""What a pod does before it is told to stop (preStop): be forgotten by those who send requests, empty the journal.

    python -m tools.leave --settle 5 [--journal-port 8000 --journal-wait 25]

It always exits 0: a pod that leaves does so in the end, and what waits in a journal lies on a volume that stays. It
says nothing, because a hook's output is dropped: what its journal holds the gateway logs at its end (`journal_left`).
"""

from __future__ import annotations

import argparse
import http.client
import re
import sys
import time
from collections.abc import Callable, Sequence

PENDING = "gateway_journal_pending"
_VALUE = re.compile(rf"^{PENDING}\s+(\S+)", re.MULTILINE)


def journal_pending(port: int, timeout_s: float = 4.0) -> int | None:
    """How many requests wait in the journal of the gateway on 127.0.0.1, or None where it does not say."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", "/metrics")
        found = _VALUE.search(connection.getresponse().read().decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return None if found is None else int(float(found[1]))


def leave(
    settle_s: float,
    pending: Callable[[], int | None],
    wait_s: float,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Wait `settle_s`, then at most `wait_s` until nothing is `pending`, or nobody knows."""
    sleep(settle_s)
    ends = now() + wait_s
    while pending() and now() < ends:
        sleep(0.5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Leave as these arguments say."""
    parser = argparse.ArgumentParser(prog="tools.leave", description=__doc__)
    parser.add_argument("--settle", type=float, required=True, help="seconds until nobody sends requests any more")
    parser.add_argument("--journal-port", type=int, help="the gateway's port, where there is a journal")
    parser.add_argument("--journal-wait", type=float, default=0.0, help="seconds for the journal to become empty")
    chosen = parser.parse_args(arguments)
    if chosen.journal_port is None:
        time.sleep(chosen.settle)
        return 0
    leave(chosen.settle, lambda: journal_pending(chosen.journal_port), chosen.journal_wait)
    return 0


if __name__ == "__main__":
    sys.exit(main())
