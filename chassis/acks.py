"""Acknowledgements that can wait: that of a lone message leaves a moment later, with those that follow.

Right behind a lone message others have the processors: what it causes is on its way. The broker only remembers it for
longer; where its process or its connection ends in that moment, it comes again and the inbox knows it.
"""

from __future__ import annotations

from typing import Any

from eventlet import hubs

from chassis.amqp import Link
from chassis.delivery import Delivery

LATER_S = 0.05


class Acks:
    """Acknowledges over one link what was handled in the order of its delivery."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._last: Delivery | None = None
        self._timer: Any = None

    def settled(self, last: Delivery, *, is_alone: bool) -> None:
        """Everything up to this message has been settled: acknowledge it soon, or now where it was not alone."""
        self._last = last
        if not is_alone:
            self.send()
        elif self._timer is None:
            self._timer = hubs.get_hub().schedule_call_global(LATER_S, self.send)

    def send(self) -> None:
        """Acknowledge now all that waits for it."""
        if self._timer is not None:
            self._timer.cancel()
        last, self._last, self._timer = self._last, None, None
        if last is not None:
            self._link.ack(last.session, last.tag, multiple=True)
