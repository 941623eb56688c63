"""A thread of the system's for calls that would hold up all greenlets: writing to a disk.

eventlet's pool of such threads does the same over two queues, a socket, a greenlet and an event, which cost as much as
a small transaction.
"""

from __future__ import annotations

from _queue import SimpleQueue  # eventlet replaces queue's by one for greenlets
from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

from eventlet.patcher import original

from chassis.waiting import InPlace

T = TypeVar("T")

_os, _threading = original("os"), original("threading")


class NativeThread:
    """Runs what it is given, one after the other. One greenlet at a time may `call`."""

    def __init__(self, name: str) -> None:
        self._asked: Any = SimpleQueue()
        self._answered: Any = SimpleQueue()
        self._numbers = count()
        self._read_end, self._write_end = _os.pipe()
        self._told = InPlace(self._read_end)
        _threading.Thread(target=self._run, name=name, daemon=True).start()

    def call(self, function: Callable[[], T]) -> T:
        """Return what `function` returns, or raise what it raises; other greenlets go on meanwhile."""
        number = next(self._numbers)
        self._asked.put((number, function))
        while True:
            self._told.wait()
            _os.read(self._read_end, 1)
            answered, result, error = self._answered.get_nowait()
            if answered != number:
                continue  # of one who was killed while waiting
            if error is not None:
                raise error
            found: T = result
            return found

    def close(self) -> None:
        """Let the thread end once it has run what it was given."""
        self._asked.put(None)

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            number, function = asked
            try:
                answer: tuple[int, Any, BaseException | None] = number, function(), None
            except BaseException as error:
                answer = number, None, error
            self._answered.put(answer)
            _os.write(self._write_end, b".")
            del asked, function, answer

    def __del__(self) -> None:
        # Not before: a greenlet may still wait for the last answer.
        _os.close(self._read_end)
        _os.close(self._write_end)
