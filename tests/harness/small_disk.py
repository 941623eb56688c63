"""A disk that can be filled and emptied for one process, without touching anybody else's.

A tmpfs in a mount namespace of its own where the machine lets us have one (as root, or in a user namespace), so that
writes meet ENOSPC and nothing has to be unmounted. Elsewhere a limit on the size of the process's files (EFBIG).
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tools.process import Child
from tools.waiting import NotInTime, wait_until

SIZE = "16m"
"""More than SQLite's write-ahead log takes before it is used again from the start (1,000 pages of 4 KB)."""
_MOUNT = 'mount -t tmpfs -o size=$1,mode=700 oss "$0" && touch "$0/mounted" && exec sleep infinity'
_GO_ON = 'cd "$0" && exec "$@"'


class SmallDisk(Protocol):
    """`folder` is the disk, as its process sees it; `how` says in a word what it is made of."""

    folder: Path
    how: str

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command of a process that is to have the disk."""

    def fill(self) -> None:
        """No more room."""

    def free(self) -> None:
        """Room again."""

    def copy_to(self, folder: Path) -> None:
        """Copy what is on the disk to a folder that everybody sees."""


class Tmpfs:
    """16 MB of memory, held by a process that does nothing else; they go with it."""

    how = "tmpfs"

    def __init__(self, folder: Path, cwd: Path, log: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._cwd = folder, cwd
        self._as_user = os.geteuid() != 0
        user = ["--user", "--map-root-user"] if self._as_user else []
        command = ["unshare", "--mount", *user, "sh", "-c", _MOUNT, str(folder), SIZE]
        self._holder = Child("small disk", command, env={"PATH": os.environ["PATH"]}, log=log, cwd=cwd)

    def mount(self) -> None:
        """Raises NotInTime where the machine does not let us."""
        self._holder.start()

        def mounted() -> bool:
            if not self._holder.alive:
                raise NotInTime(f"no tmpfs: {self._holder.tail(3)}")
            return self._inside("test", "-e", str(self.folder / "mounted")) == 0

        wait_until(mounted, "the small disk is there", timeout_s=10)

    def unmount(self) -> None:
        self._holder.kill()

    def command(self, argv: Sequence[str]) -> list[str]:
        user = ["--user", "--preserve-credentials"] if self._as_user else []
        enter = ["nsenter", "--mount", *user, "--target", str(self._holder.pid), "--"]
        return [*enter, "sh", "-c", _GO_ON, str(self._cwd), *argv]

    def fill(self) -> None:
        assert self._inside("dd", "if=/dev/zero", f"of={self.folder / 'ballast'}", "bs=4k") != 0, "it was to run full"

    def free(self) -> None:
        assert self._inside("rm", "-f", str(self.folder / "ballast")) == 0

    def copy_to(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        assert self._inside("cp", "-r", f"{self.folder}/.", str(folder)) == 0

    def _inside(self, *argv: str) -> int:
        return subprocess.run(self.command(argv), capture_output=True, timeout=60, check=False).returncode


class LimitedFiles:
    """No file of the process may grow beyond a byte: also its log, so a line of that may be missing meanwhile."""

    how = "RLIMIT_FSIZE"

    def __init__(self, folder: Path, child: Callable[[], Child]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._child = folder, child

    def command(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def fill(self) -> None:
        self._limit(1)

    def free(self) -> None:
        self._limit(resource.RLIM_INFINITY)

    def copy_to(self, folder: Path) -> None:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)

    def _limit(self, size: int) -> None:
        pid = self._child().pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size if size > 0 else hard, hard))


@contextmanager
def small_disk(folder: Path, cwd: Path, log: Path, child: Callable[[], Child]) -> Iterator[SmallDisk]:
    """The best small disk that this machine lets us have, until the block ends. `child`: the process that has it."""
    tmpfs = Tmpfs(folder, cwd, log)
    try:
        tmpfs.mount()
    except (NotInTime, OSError):
        tmpfs.unmount()
        yield LimitedFiles(folder, child)
        return
    try:
        yield tmpfs
    finally:
        tmpfs.unmount()
