"""Servers that come from the system's packages: found, or installed where this is root on a Debian-like system."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

WITHOUT = "Or set ELEMENTS_DRIVER=sim, which plays the network elements without them."
_START_POLICY = Path("/usr/sbin/policy-rc.d")
_LOCK = Path("/run/oss-packages.lock")


class PackagesMissing(Exception):
    """A server is not on this machine and could not be installed; the text says what to do."""


@dataclass(frozen=True)
class Server:
    """A server and the Debian packages that bring it. `hint`: what else helps where apt-get cannot be used."""

    name: str
    packages: tuple[str, ...]
    present: Callable[[], bool]
    hint: str


def ensure(*servers: Server) -> None:
    """Install what is missing, all of it at once. Raises PackagesMissing where something is missing still."""
    missing = [server for server in servers if not server.present()]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        with _one_at_a_time():
            # Somebody else may have brought it while we waited.
            if missing := [server for server in missing if not server.present()]:
                names = " and ".join(server.name for server in missing)
                print(f"{names}: missing, being installed with apt-get", flush=True)
                _install([package for server in missing for package in server.packages])
    if missing := [server for server in missing if not server.present()]:
        packages = " ".join(package for server in missing for package in server.packages)
        raise PackagesMissing(
            f"not on this machine: {', '.join(server.name for server in missing)}. "
            f"Install it (Debian, Ubuntu: sudo apt-get install {packages}). "
            + " ".join(dict.fromkeys(server.hint for server in missing))
        )


def _install(packages: list[str]) -> None:
    """Raises PackagesMissing where apt-get fails."""
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        with _nothing_starts():
            for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
                subprocess.run(["apt-get", "-q", *command], check=True, env=env, stdout=sys.stderr)
    except subprocess.CalledProcessError as error:
        raise PackagesMissing(f"{' '.join(error.cmd)} failed, see above") from error


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """apt-get and dpkg refuse to run twice at once; the kernel takes the lock back from a process that ends."""
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _nothing_starts() -> Iterator[None]:
    """Packages installed meanwhile do not start their services (Debian's policy-rc.d): we run private ones only."""
    if os.path.lexists(_START_POLICY):
        yield
        return
    _START_POLICY.write_text("#!/bin/sh\nexit 101\n")
    _START_POLICY.chmod(0o755)
    try:
        yield
    finally:
        _START_POLICY.unlink()
