"""A clock that is wrong for one process: Debian's libfaketime, loaded before everything else by the dynamic linker."""

from __future__ import annotations

from pathlib import Path

from tools.packages import Server

_PLACES = ("usr/lib/*/faketime/libfaketime.so.1", "usr/lib*/faketime/libfaketime.so.1", "usr/local/lib/faketime/*.so.1")


def find_library() -> Path | None:
    """The library, or None."""
    return next((path for place in _PLACES for path in sorted(Path("/").glob(place))), None)


SERVER = Server(
    "libfaketime",
    ("libfaketime",),
    lambda: find_library() is not None,
    "libfaketime elsewhere: Fedora: sudo dnf install libfaketime.",
)


def clock_off_by(seconds: float) -> dict[str, str]:
    """What is added to a process's environment so that its wall clock is off by so much (positive: it is ahead).

    The monotonic clock stays: it has no relation to the wall clock on a real machine either. Raises RuntimeError
    where the library is missing (`tools.packages.ensure(SERVER)` first).
    """
    library = find_library()
    if library is None:
        raise RuntimeError("libfaketime is not installed")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{seconds:+g}s",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # Nothing of it stays in /dev/shm after kill -9.
        "FAKETIME_DISABLE_SHM": "1",
    }
