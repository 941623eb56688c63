"""A private TV middleware (`tv_middleware`) on a free port of 127.0.0.1, with its state in one folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import requests

from tools.paths import ROOT
from tools.ports import free_port
from tools.process import Child, prefixed
from tools.waiting import NotInTime, wait_until


class Tv:
    """One middleware. Stopped or killed it can be started again: port, key and state stay.

    `faults`: it also misbehaves on request (tests only).
    """

    def __init__(
        self, folder: Path, *, key: str, port: int | None = None, faults: bool = False, name: str = "tv"
    ) -> None:
        self.name = name
        self.folder = folder
        self.key = key
        self.port = port or free_port()
        self.process = Child(
            name,
            [sys.executable, "-m", "tv_middleware", "--port", str(self.port), "--state", str(folder)],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "PYTHONUNBUFFERED": "1",
                "TV_MIDDLEWARE_KEY": key,
                "TV_MIDDLEWARE_FAULTS": "1" if faults else "0",
            },
            log=folder.parent / "logs" / f"{name}.log",
            cwd=ROOT,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def children(self) -> tuple[Child, ...]:
        """Its process."""
        return (self.process,)

    def environment(self) -> dict[str, str]:
        """How activation reaches it, as config/elements.yaml asks."""
        return prefixed(self.name, {"URL": self.url, "KEY": self.key})

    def start(self) -> None:
        """Start it; returns when it answers (60 s at most)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process.start()
        try:
            wait_until(self._answers, "the TV middleware answers", interval_s=0.02)
        except NotInTime as error:
            raise NotInTime(f"{error}\n{self.process.tail()}") from error

    def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        self.process.stop()

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()

    def freeze(self) -> None:
        """It hangs: connections are taken and stay, nothing answers."""
        self.process.freeze()

    def thaw(self) -> None:
        """It goes on, with what was asked meanwhile."""
        self.process.thaw()

    def _answers(self) -> bool:
        if not self.process.alive:
            raise NotInTime(f"the TV middleware ended with {self.process.exit_code}")
        return requests.get(f"{self.url}/livez", timeout=5).status_code == 200
