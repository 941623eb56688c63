"""What a process remembers of the orders it handled last, so that it need not read their events again.

It is never believed: PostgreSQL compares the ids of these events with those that are stored (`queries.add_lone`). An
event never changes, so where the ids are the same, so is the page. Where another replica, pruning, a read model begun
from nothing or a restore had a hand in them, they are not, and the events are read. A rebuild changes no event.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from nameko.extensions import DependencyProvider

from chassis import dialect
from chassis.db import store_of
from mypage_svc.domain import Fact

ORDERS = 1000
"""So many are remembered: some kilobytes each."""


class Remembered(DependencyProvider):
    """`self.remembered`: the facts of orders, as they were folded; only what has committed."""

    def setup(self) -> None:
        self._facts: OrderedDict[UUID, list[Fact]] = OrderedDict()

    def get_dependency(self, worker_ctx: Any) -> Remembered:
        return self

    def take(self, fact: Fact) -> list[Fact] | None:
        """What is probably stored of this one's order; None where there is no telling. Forgets it (see `keep`).

        The beginning of an order that is not remembered is taken for the first that is heard of it.
        """
        if dialect.is_sqlite(store_of(self.container).engine):
            return None  # it has no transaction of one question, and questions cost it little
        return self._facts.pop(fact.order_id, [] if fact.event_type == "order_placed" else None)

    def forget(self, order_ids: Iterable[UUID]) -> None:
        """Until it has committed, nobody knows what is stored of these."""
        for order_id in order_ids:
            self._facts.pop(order_id, None)

    def keep(self, facts: Mapping[UUID, list[Fact]]) -> None:
        """Remember these orders, of which all facts are given and committed, instead of those handled longest ago."""
        self._facts.update(facts)
        while len(self._facts) > ORDERS:
            self._facts.popitem(last=False)
