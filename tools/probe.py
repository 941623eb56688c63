"""Ask a process in this container or on this machine whether it is ready: `python -m tools.probe PORT`. Exit 0 or 1."""

from __future__ import annotations

import http.client
import sys


def is_ready(port: int, timeout_s: float = 4.0) -> bool:
    """True where `/readyz` on 127.0.0.1 answers 200 in time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not is_ready(int(sys.argv[1])))
