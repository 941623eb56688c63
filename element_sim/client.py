"""A blocking client for people and tests: the truth about the elements, and how to make them misbehave."""

from __future__ import annotations

import json
import socket
from types import TracebackType
from typing import Any

Content = dict[str, Any]


class Refused(Exception):
    """The element, or the simulator itself, said no; the message is in its words."""


class SimClient:
    """One connection to the simulator, made at the first call; not to be shared between threads."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout_s: float = 10.0) -> None:
        self._address = (host, port)
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None

    def call(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Send one request and return its answer; raises Refused, or OSError where the simulator is not there."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, self._timeout_s)
        try:
            self._socket.sendall(json.dumps({"verb": verb, **fields}).encode() + b"\n")
            with self._socket.makefile("rb") as lines:
                line = lines.readline()
        except OSError:
            self.close()
            raise
        if not line:
            self.close()
            raise ConnectionResetError("the simulator closed the connection")
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise Refused(answer["words"])
        return answer

    def entries(self) -> dict[str, dict[str, Content]]:
        """Everything there is, by element and key."""
        return dict(self.call("list")["elements"])

    def read(self, element: str, key: str) -> Content | None:
        """One entry, None where there is none."""
        found: Content | None = self.call("read", element=element, key=key)["entry"]
        return found

    def write(self, element: str, key: str, entry: Content) -> None:
        """Put one entry, as somebody else than activation would."""
        self.call("write", element=element, key=key, entry=entry)

    def delete(self, element: str, key: str) -> None:
        """Remove one entry."""
        self.call("delete", element=element, key=key)

    def refuse(self, element: str = "*", key: str = "*", **more: Any) -> None:
        """From now on refuse; more: `words`, `verbs`, `times`."""
        self.call("refuse", element=element, key=key, **more)

    def hang(self, element: str = "*", key: str = "*", **more: Any) -> None:
        """From now on never answer; more: `effect`, `verbs`, `times`."""
        self.call("hang", element=element, key=key, **more)

    def delay(self, seconds: float, element: str = "*", key: str = "*", **more: Any) -> None:
        """From now on do at once what is asked, and answer `seconds` later; more: `verbs`, `times`."""
        self.call("delay", seconds=seconds, element=element, key=key, **more)

    def die(self, element: str) -> None:
        """From now on drop every connection that asks this element for something."""
        self.call("die", element=element)

    def heal(self, element: str = "*") -> None:
        """Lift the faults of this element, or all of them."""
        self.call("heal", element=element)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> SimClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
