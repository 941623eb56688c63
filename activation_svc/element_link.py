"""Connections to elements: JSON lines over TCP, many requests at once, a timeout on each answer, one retry a step."""

from __future__ import annotations

import json
import random
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from activation_svc.driver import ElementError, ElementRefused, ElementUnreachable

Request = dict[str, Any]
Answer = dict[str, Any]

AT_ONCE = 64
"""Requests on their way together; few enough that answers cannot fill the socket before the requests are sent."""
PAUSE_S = (0.02, 0.1)
"""Before the second try."""


class ElementTimeout(ElementUnreachable):
    """No answer in time: whether the request took effect is unknown."""


class Connection:
    """One connection; broken after its first error."""

    def __init__(self, address: tuple[str, int], timeout_s: float) -> None:
        self._socket = socket.create_connection(address, timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines: BinaryIO = self._socket.makefile("rb")

    def send(self, requests: Sequence[Request]) -> None:
        """Send requests; the numbers in them come back with their answers."""
        lines = [json.dumps(request | {"id": at}, ensure_ascii=False) for at, request in enumerate(requests)]
        self._socket.sendall("\n".join([*lines, ""]).encode())

    def receive(self, number: int, timeout_s: float) -> Answer:
        """Return the answer to request `number`; raises OSError where it does not come, or is another's."""
        self._socket.settimeout(timeout_s)
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the element closed the connection")
        try:
            answer = json.loads(line)
        except ValueError as exc:
            raise ConnectionError("the answer is not JSON") from exc
        if not isinstance(answer, dict) or answer.get("id") != number:
            raise ConnectionError("the answer is not to what was asked")
        return answer

    def close(self) -> None:
        """Close it."""
        self._lines.close()
        self._socket.close()


class Links:
    """Pools of connections to one address, a pool an element, so that a hanging element holds up only itself."""

    def __init__(
        self, host: str, port: int, answer_timeout_s: float = 2.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = (host, port)
        self._answer_timeout_s = answer_timeout_s
        self._clock = clock
        self._idle: dict[str, list[Connection]] = defaultdict(list)

    def exchange(self, element: str, requests: Sequence[Request], deadline: float) -> list[Answer | ElementError]:
        """Ask `element` and return, for each request, its answer or why there is none.

        No request is sent after `deadline` (of the monotonic clock). What gets no answer is asked once more.
        """
        results: list[Answer | ElementError | None] = [None] * len(requests)
        try:
            self._exchange(element, requests, results, deadline)
        except ElementUnreachable:
            time.sleep(random.uniform(*PAUSE_S))
            try:
                self._exchange(element, requests, results, deadline)
            except ElementUnreachable as why:
                return [why if result is None else result for result in results]
        return [result for result in results if result is not None]

    def close(self) -> None:
        """Close every connection that nobody uses just now."""
        for element in list(self._idle):
            self._forget(element)

    def _exchange(
        self, element: str, requests: Sequence[Request], results: list[Answer | ElementError | None], deadline: float
    ) -> None:
        """Fill in the results that are still None; raises ElementUnreachable, keeping those that came."""
        while waiting := [at for at, result in enumerate(results) if result is None][:AT_ONCE]:
            connection = self._connect(element, deadline)
            try:
                connection.send([requests[at] for at in waiting])
                for number, at in enumerate(waiting):
                    answer = connection.receive(number, self._timeout_s(element, deadline))
                    results[at] = answer if answer["ok"] else ElementRefused(element, str(answer["words"]))
            except ElementUnreachable:
                connection.close()
                raise
            except (OSError, KeyError) as exc:
                connection.close()
                self._forget(element)
                raise _unreachable(element, exc, self._answer_timeout_s) from exc
            self._idle[element].append(connection)

    def _connect(self, element: str, deadline: float) -> Connection:
        timeout_s = self._timeout_s(element, deadline)
        if self._idle[element]:
            return self._idle[element].pop()
        try:
            return Connection(self._address, timeout_s)
        except OSError as exc:
            raise _unreachable(element, exc, timeout_s) from exc

    def _timeout_s(self, element: str, deadline: float) -> float:
        left_s = deadline - self._clock()
        if left_s <= 0:
            raise ElementTimeout(element, "the time for this step is over")
        return min(self._answer_timeout_s, left_s)

    def _forget(self, element: str) -> None:
        """After one broken connection the idle ones are not trusted: the element may have restarted."""
        idle, self._idle[element] = self._idle[element], []
        for connection in idle:
            connection.close()


def _unreachable(element: str, exc: Exception, timeout_s: float) -> ElementUnreachable:
    if isinstance(exc, TimeoutError):
        return ElementTimeout(element, f"no answer within {timeout_s:g} s")
    return ElementUnreachable(element, f"cannot be reached ({exc})")
