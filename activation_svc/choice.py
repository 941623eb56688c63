"""Which element an order gets its resources from: the one that is filled the least."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

import sqlalchemy as sa

from activation_svc.plan import PORT, Needs
from chassis.connection import prepared

TOGETHER = {"olt": (PORT, "vlan"), "bng": ("ip",)}
"""Kinds that an order takes all from one element of a kind: its lines are at one address. The first tells how full
it is."""
FULL = 2**31 - 1
"""Where the first free place of a full pool is taken to be."""
FILLED = prepared(
    "select pool, coalesce((select position from resources where pool = asked.pool and order_id is null"
    f"  and blocked is null order by position limit 1), {FULL})"
    " - (select count(*) from resources where pool = asked.pool and blocked is not null and order_id is null)"
    " as filled from unnest(%s::text[]) as asked(pool)"
)
"""How full each of these pools is: `pool, filled`."""
LEAST_FILLED = (
    "select distinct on (kind) split_part(pool, ':', 1) as kind, substr(pool, strpos(pool, ':')) as at"
    " from filled order by kind, pool = any(%s::text[]), filled, pool collate \"C\""
)
"""What Choice chooses first, of `filled` (as FILLED): the `kind` of pool that tells, and `at`, which is `:element`.

Takes the pools of elements that are to be avoided. Names are sorted as Python sorts them.
"""


def pools_of(elements: Mapping[str, str]) -> list[str]:
    """The pools that tell how full these elements are (kind by name)."""
    return [f"{TOGETHER[kind][0]}:{name}" for name, kind in elements.items() if kind in TOGETHER]


class Choice:
    """Which element each order asks next: the one that is filled the least, of those not too empty for it.

    Pools are filled from their first place on, so how far one is filled is where its first free place is, without the
    few that are blocked: a look at the index, whatever the pool holds. What was given back leaves gaps, and an element
    with gaps comes first. `filled`: by pool, where that is known already.
    """

    def __init__(
        self, conn: sa.Connection, elements: Mapping[str, str], avoided: Collection[str],
        filled: Mapping[str, int] | None,
    ) -> None:  # fmt: skip
        self._elements, self._avoided = elements, avoided
        if filled is None:
            filled = {row.pool: row.filled for row in conn.exec_driver_sql(FILLED, (pools_of(elements),))}
        self._filled = Counter(filled)
        self.exhausted: dict[UUID, set[str]] = defaultdict(set)

    def sites(self, order_id: UUID, need: Needs) -> dict[str, str] | None:
        """The element for each kind of resource in `need`, or None where no element is left to ask."""
        counts = Counter(kind for kinds in need.values() for kind in kinds)
        sites: dict[str, str] = {}
        for element_kind, kinds in TOGETHER.items():
            mine = [kind for kind in kinds if counts[kind]]
            candidates = [
                (name in self._avoided, self._filled[f"{kinds[0]}:{name}"], name)
                for name, kind in self._elements.items()
                if kind == element_kind and not {f"{each}:{name}" for each in mine} & self.exhausted[order_id]
            ]
            if mine and not candidates:
                if not self.exhausted[order_id]:
                    self.exhausted[order_id] |= set(mine)  # there is no element with such pools at all
                return None
            if mine:
                name = min(candidates)[2]
                self._filled[f"{kinds[0]}:{name}"] += counts[kinds[0]]
                sites |= dict.fromkeys(mine, name)
        return sites

    def too_empty(self, order_id: UUID, pools: Iterable[str]) -> None:
        """These pools do not have what the order needs."""
        self.exhausted[order_id] |= set(pools)
