"""One child process: started with its output in a file, stopped, killed or frozen by its own id.

A child gets a session of its own, so that Ctrl-C at the terminal reaches only the parent, which then stops its
children in order. Where the parent dies without doing so, the kernel ends the child (Linux).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tools.waiting import NotInTime, wait_until

# util-linux, part of every Debian. Where it is missing, children outlive a parent that is killed.
_SETPRIV = shutil.which("setpriv") if sys.platform == "linux" else None
_IF_PARENT_LIVES = '[ "$PPID" = "$0" ] && exec "$@"'


def tied_to_us(argv: Sequence[str], death_signal: int) -> list[str]:
    """The command such that the kernel sends it the signal when we die, also where we have died before it began.

    Not by a function of ours in the forked child: with one, Python runs all its hooks for a fork there, and one of
    those starts a thread, which under eventlet lets every greenlet run a second time, on the same connections.
    """
    if _SETPRIV is None:
        return list(argv)
    name = signal.Signals(death_signal).name.removeprefix("SIG")
    return [_SETPRIV, "--pdeathsig", name, "/bin/sh", "-c", _IF_PARENT_LIVES, str(os.getpid()), *argv]


def prefixed(name: str, values: Mapping[str, str]) -> dict[str, str]:
    """Variables of one part of the system: `prefixed("olt-1", {"PORT": "830"})` is `{"OLT_1_PORT": "830"}`."""
    start = name.upper().replace("-", "_")
    return {f"{start}_{variable}": value for variable, value in values.items()}


class Part(Protocol):
    """Something that runs as one or several processes and can be started again at any time."""

    name: str

    @property
    def children(self) -> tuple[Child, ...]:
        """Its processes."""

    def start(self) -> None:
        """Start what of it does not run."""


def has_ended(part: Part) -> bool:
    """Whether one of its processes ended by itself."""
    return any(child.wanted and not child.alive for child in part.children)


class Child:
    """A process that can be started again and again under one name."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        cwd: Path,
        user: int | None = None,
        stop_signal: int = signal.SIGTERM,
        death_signal: int = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.env = dict(env)
        self.log = log
        self.cwd = cwd
        self._user = user
        self._stop_signal = stop_signal
        self._death_signal = death_signal
        self._process: subprocess.Popen[bytes] | None = None
        self.wanted = False
        self._asked = False

    @property
    def children(self) -> tuple[Child, ...]:
        """Itself: a part of the system that is one process."""
        return (self,)

    @property
    def pid(self) -> int:
        """The id of the running process; raises RuntimeError where there is none."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the process; output is appended to its log. A running one is left as it is."""
        if self.alive:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                tied_to_us(self.argv, self._death_signal),
                env=self.env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user is not None else None,
            )
        self.wanted = True
        self._asked = False

    def ask_to_stop(self) -> None:
        """Send the stop signal, once, and return at once."""
        self.wanted = False
        if self.alive and not self._asked:
            self._asked = True
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, self._stop_signal)

    def stop(self, timeout_s: float = 30.0) -> bool:
        """Stop it and wait. False where it had to be killed after `timeout_s`."""
        self.ask_to_stop()
        try:
            wait_until(lambda: not self.alive, f"{self.name} stops", timeout_s=timeout_s)
        except NotInTime:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        self.wanted = False
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)
            wait_until(lambda: not self.alive, f"{self.name} is gone after kill -9")

    def freeze(self) -> None:
        """SIGSTOP: the process stays, its connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT after `freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    def tail(self, lines: int = 30) -> str:
        """The last lines of its log, for error messages."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
