"""Free TCP ports on 127.0.0.1. PORTS (`20000-25999`) keeps processes that start systems side by side apart."""

from __future__ import annotations

import os
import secrets
import socket

# Below the range from which systems take the ports of outgoing connections (Linux: 32768). A port from inside it
# can be lost to a client while its server restarts, and a client can even connect to itself.
RANGE = (20000, 31999)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True where nobody listens. Asked without SO_REUSEPORT, which would let two systems share a port unseen."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


_given: set[int] = set()


def port_range() -> tuple[int, int]:
    """The lowest and the highest port to give out. Raises ValueError for a PORTS that is no range."""
    named = os.environ.get("PORTS", "")
    if not named:
        return RANGE
    lowest, _, highest = named.partition("-")
    if not (lowest.isdecimal() and highest.isdecimal() and 0 < int(lowest) <= int(highest) <= 65535):
        raise ValueError(f"PORTS is {named!r}; a range such as 20000-25999 is meant")
    return int(lowest), int(highest)


def free_port() -> int:
    """A port that nobody listens on and that this process has not given out before."""
    lowest, highest = port_range()
    for _ in range(1000):
        port = lowest + secrets.randbelow(highest - lowest + 1)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no free TCP port between {lowest} and {highest}")
