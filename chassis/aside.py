"""What the outbox relay sets aside: messages that the broker does not take now, and with them their orders."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

PAUSE_S = (0.2, 5.0)


class Aside:
    """Messages that the broker gave back or refused, and their orders. All are tried again after a growing pause."""

    def __init__(self) -> None:
        self._waiting: dict[int, uuid.UUID | None] = {}
        self._on_probation: set[uuid.UUID] = set()
        self._pause_s = PAUSE_S[0]
        self._until = 0.0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def ids(self) -> list[int]:
        """Those that wait and belong to no order."""
        return [outbox_id for outbox_id, order_id in self._waiting.items() if order_id is None]

    @property
    def orders(self) -> list[uuid.UUID]:
        """The orders that wait, so that nothing overtakes in them."""
        return list({order_id for order_id in self._waiting.values() if order_id is not None})

    def one_by_one(self, messages: Sequence[sa.Row[Any]]) -> list[sa.Row[Any]]:
        """These messages; of an order that had to wait only the first, until the broker has taken it."""
        chosen, met = [], set()
        for message in messages:
            if message.order_id not in met:
                chosen.append(message)
            if message.order_id in self._on_probation:
                met.add(message.order_id)
        return chosen

    def add(self, messages: Sequence[sa.Row[Any]]) -> None:
        """Set these aside; the pause runs from the first."""
        if not self._waiting:
            self._until = time.monotonic() + self._pause_s
            self._pause_s = min(self._pause_s * 2, PAUSE_S[1])
        self._waiting |= {message.id: message.order_id for message in messages}
        self._on_probation |= {message.order_id for message in messages if message.order_id is not None}

    def taken(self, messages: Sequence[sa.Row[Any]]) -> None:
        """The broker has taken these: their orders go on as all others."""
        self._on_probation -= {message.order_id for message in messages}

    def wait_s(self) -> float:
        """Seconds until they are tried again; from then on none waits."""
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            self._waiting.clear()
        return max(0.0, left_s)

    def none_is_left(self) -> None:
        """The outbox is empty: the next trouble starts with a short pause."""
        self._on_probation.clear()
        self._pause_s = PAUSE_S[0]
