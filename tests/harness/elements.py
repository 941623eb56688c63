"""The element simulator as a process of a test's own, with a client to look at the truth and to make it misbehave."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from element_sim.client import SimClient
from tools.paths import ROOT


class SimProcess:
    """One simulator; `client` speaks to it. After `kill` it can be started again on the same port and state."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self.port = 0
        self.start()
        self.client = SimClient(self.port)

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [sys.executable, "-m", "element_sim", "--config", str(ROOT / "config" / "elements.yaml")]
        arguments = ["--port", str(self.port), "--state", str(self._state)]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            command + arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert "listening on port" in line, f"the simulator did not start: {line!r}"
        self.port = int(line.rsplit(" ", 1)[1])

    def kill(self) -> None:
        """kill -9."""
        self.client.close()
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self.client.close()
        self._process.terminate()
        return self._process.wait()


@contextmanager
def simulator(state: Path) -> Iterator[SimProcess]:
    """A simulator with its state in the folder `state`; ended with the test."""
    process = SimProcess(state)
    try:
        yield process
    finally:
        process.kill()
