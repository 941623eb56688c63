"""wrk: a compiled client that keeps some connections busy all the time (closed loop), with a script for requests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.packages import Server
from tools.process import tied_to_us
from tools.waiting import NotInTime

SERVER = Server("wrk", ("wrk",), lambda: shutil.which("wrk") is not None, "It is the benchmark's HTTP client.")
LONGEST_S = 1800
TIMEOUT_S = 30


@dataclass(frozen=True)
class Answers:
    """`created`: answered 201 (of orders) or 200 (of reads); `accepted`: 202; `broken`: connections that failed."""

    answered: int
    created: int
    accepted: int
    broken: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def bad(self) -> int:
        """Requests that were not answered as they should be."""
        return self.answered - self.created - self.accepted + self.broken


def parse(output: str) -> Answers:
    """What the scripts print: one line of JSON, after wrk's own text. Raises ValueError where it is not there."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            return Answers(**json.loads(line))
    raise ValueError(f"wrk printed no result:\n{output}")


class Wrk:
    """One run of a script; `Wrk(...).for_seconds(10)`, or `.until(condition)` for a number of orders."""

    def __init__(self, script: str, url: str, connections: int, **variables: str) -> None:
        self._script = Path(__file__).with_name(script)
        self._url = url
        self._connections = connections
        self._env = os.environ | {"BENCH_RUN": uuid.uuid4().hex} | variables

    def for_seconds(self, seconds: int) -> Answers:
        """Run so long."""
        return self._checked(*self._start(seconds).communicate())

    def until(self, condition: Callable[[], object]) -> Answers:
        """Run until the condition, which waits, has come back. The rate of such a run means nothing."""
        process = self._start(LONGEST_S)
        try:
            condition()
        finally:
            process.send_signal(signal.SIGINT)
            output = process.communicate()
        return self._checked(*output)

    def _start(self, seconds: int) -> subprocess.Popen[str]:
        command = ["wrk", "--threads", "1", "--connections", str(self._connections), "--duration", f"{seconds}s",
                   "--timeout", f"{TIMEOUT_S}s", "--script", str(self._script), self._url]  # fmt: skip
        return subprocess.Popen(
            tied_to_us(command, signal.SIGKILL), env=self._env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def _checked(self, output: str, errors: str) -> Answers:
        try:
            answers = parse(output)
        except ValueError as error:
            raise NotInTime(f"{error}{errors}") from error
        if answers.bad > 0:
            raise NotInTime(f"{answers.bad} requests of {self._script.name} went wrong: {answers}")
        return answers
