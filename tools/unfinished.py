"""A restore that has begun and not ended: the system must not start on what is half restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.keys import write_private

MARK = "restore.unfinished"


class RestoreUnfinished(Exception):
    """A restore did not come to its end; the text says what to do."""


@contextmanager
def unfinished(folder: Path, services: Sequence[str]) -> Iterator[None]:
    """Leave a mark, with what is being restored, that goes only where the block ends well."""
    write_private(folder / MARK, " ".join(services))
    yield
    (folder / MARK).unlink()


def begun(folder: Path) -> tuple[str, ...]:
    """The services whose restore has begun and not ended."""
    mark = folder / MARK
    return tuple(mark.read_text(encoding="utf-8").split()) if mark.exists() else ()


def check_finished(folder: Path) -> None:
    """Raise RestoreUnfinished where a restore in this state folder has not come to its end."""
    if services := begun(folder):
        names = ", ".join(services)
        raise RestoreUnfinished(f"the restore of {names} in {folder} has not come to its end: run `make restore` again")
