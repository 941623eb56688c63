"""Free TCP ports on 127.0.0.1."""

from __future__ import annotations

import secrets
import socket

# Below the range from which systems take the ports of outgoing connections (Linux: 32768). A port from inside it
# can be lost to a client while its server restarts, and a client can even connect to itself.
_LOWEST, _HIGHEST = 20000, 32000


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


def free_port() -> int:
    """A port that nobody listens on and that this process has not given out before."""
    for _ in range(1000):
        port = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no free TCP port between {_LOWEST} and {_HIGHEST}")
