"""What activation needs of one network element, whatever protocol it speaks.

An element holds entries under keys. A driver reads them, writes several of one order together or not at all, and
lists everything, for the audit. It decides nothing: plans say what to write, `elements.py` in which order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Content = dict[str, Any]


class ElementError(Exception):
    """An element did not do what it was asked; `str()` is in the element's own words where it had any."""

    def __init__(self, element: str, words: str) -> None:
        super().__init__(words)
        self.element = element


class ElementRefused(ElementError):
    """The element said no (a constraint, an unknown profile): trying the same again will not help."""


class ElementUnreachable(ElementError):
    """No answer, or no connection. Whether a write took effect is unknown and is settled by reading."""


class ElementDiffers(ElementError):
    """Reading back showed something else than was written."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to stand under `key`; `content` None means nothing is."""

    key: str
    content: Content | None


class Driver(Protocol):
    """One element. Deadlines are `time.monotonic()` values; no call outlasts its deadline by more than a second.

    Every method may be repeated: repeating a write changes nothing. Calls of several greenlets run side by side,
    as far as the element's bounded number of sessions allows; the others wait, up to their deadlines.
    """

    element: str

    def read(self, keys: Sequence[str], deadline: float) -> dict[str, Content | None]:
        """What stands under these keys, None where nothing does. Raises ElementError."""

    def write(self, works: Sequence[Sequence[Change]], deadline: float) -> list[ElementError | None]:
        """Carry out each work (one order's changes here) wholly or not at all; an error for each that failed.

        Works may share one transaction on the element; one that is refused must not spoil the others.
        ElementUnreachable: unknown, the caller reads back.
        """

    def entries(self, deadline: float) -> dict[str, Content]:
        """Everything that is ours to manage on this element, by key. Raises ElementError."""

    def close(self) -> None:
        """End every session."""
