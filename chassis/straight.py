"""Messages that go from their commit straight to this process's relay, which need not read them from the outbox.

They are in the outbox all the same, and whatever goes wrong on this way, the relay finds them there. Order per order
holds, because only those come this way before which no message of their order waits (`outbox.saying`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

MARK_LATER_S = 0.05
"""So much later it is noted that a message was sent: right behind it, what it causes needs the processors."""
FEW = 8
"""More of one commit are read from the outbox: to read them costs little then."""
WAITING_MAX = 100
"""With more than these they are read as well: the relay is behind."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the outbox, as its row has it."""

    id: int
    message_id: uuid.UUID
    order_id: uuid.UUID
    exchange: str
    routing_key: str
    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)


class Straight:
    """What commits have left for the relay of this process. In memory only."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._puts = 0

    def put(self, messages: Sequence[Message]) -> None:
        """Leave these, which are committed; whoever does so wakes the relay once.

        Where too many wait these are not kept: the relay, called once more than `take` says, reads the outbox then.
        """
        if len(self._messages) + len(messages) <= WAITING_MAX:
            self._messages.extend(messages)
            self._puts += 1

    @property
    def waits(self) -> bool:
        """Whether the relay has not taken yet what was left here."""
        return self._puts > 0

    def take(self) -> tuple[int, list[Message]]:
        """How often something was left here since the last time, and what."""
        taken = self._puts, self._messages
        self._puts, self._messages = 0, []
        return taken


class Unmarked:
    """Messages that the broker has confirmed while the outbox does not say so yet. Lost with the process, they are sent
    once more, and their consumers skip them."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._due = inf

    def add(self, ids: Iterable[int]) -> None:
        """Note these."""
        if not self.ids:
            self._due = time.monotonic() + MARK_LATER_S
        self.ids.extend(ids)

    def wait_s(self) -> float:
        """Seconds until they should be marked."""
        return max(0.0, self._due - time.monotonic())

    def tried(self) -> None:
        """They are being marked. Where that goes wrong, it is done with the next look into the outbox."""
        self._due = inf

    def marked(self, count: int) -> None:
        """The first so many are marked."""
        del self.ids[:count]
        if not self.ids:
            self._due = inf


def straight_of(container: Any) -> Straight:
    """The container's, which its store and its relay share."""
    found: Straight | None = getattr(container, "chassis_straight", None)
    if found is None:
        found = container.chassis_straight = Straight()
    return found
