"""The inventory of what elements have to give: service ports, VLANs, IP addresses. Held until the network is put back.

One row a resource and one holder a row: the primary key (pool, name) is what keeps a resource from being given twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from activation_svc.choice import FILLED, LEAST_FILLED, TOGETHER, Choice, pools_of
from activation_svc.models import resources as table
from activation_svc.plan import PORT, Holding, Needs, Resource
from chassis import dialect
from chassis.connection import prepared

MAX_WORDS = 300


@dataclass(frozen=True, slots=True)
class Given:
    """What was given out, by order; and for each order that got nothing, the pools that were too empty for it."""

    holdings: dict[UUID, Holding]
    exhausted: dict[UUID, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What LOOK has told this transaction: how full pools are; `[pool, name]` of free resources that it has locked, of
    each pool the first first.
    """

    filled: Mapping[str, int] | None = None
    free: Sequence[Sequence[str]] = ()


NOTHING_SEEN = Seen()


def look_for(need: Needs, elements: Mapping[str, str], avoided: Collection[str]) -> tuple[Any, ...]:
    """The values for LOOK. `need`: of one order, {} where nothing is to be locked; the rest as `allocate` takes it."""
    counts = Counter(kind for kinds in need.values() for kind in kinds)
    wanted = [(kinds[0], kind, counts[kind]) for kinds in TOGETHER.values() for kind in kinds if counts[kind]]
    shunned = pools_of({name: kind for name, kind in elements.items() if name in avoided})
    return (pools_of(elements), shunned, *([each[column] for each in wanted] for column in range(3)))


def held(conn: sa.Connection, order_ids: Collection[UUID]) -> dict[UUID, Holding]:
    """What each of these orders holds and may use; what is blocked is left out."""
    found: dict[UUID, dict[int, dict[str, Resource]]] = defaultdict(lambda: defaultdict(dict))
    for order_id, line, pool, name in conn.exec_driver_sql(_HELD, (dialect.array(order_ids),)):
        kind, _, element = pool.partition(":")
        found[order_id][line][kind] = Resource(kind, element, name)
    return {order_id: dict(lines) for order_id, lines in found.items()}


def lacking(needs: Needs, holding: Holding) -> dict[int, tuple[str, ...]]:
    """What of its needs an order does not hold."""
    left = {
        line: tuple(kind for kind in kinds if kind not in holding.get(line, {})) for line, kinds in needs.items()
    }
    return {line: kinds for line, kinds in left.items() if kinds}


def together(one: Holding, other: Holding) -> Holding:
    """Both holdings as one."""
    return {line: {**one.get(line, {}), **other.get(line, {})} for line in {*one, *other}}


def allocate(
    conn: sa.Connection,
    needs: Mapping[UUID, Needs],
    elements: Mapping[str, str],
    avoided: Collection[str] = (),
    seen: Seen = NOTHING_SEEN,
) -> Given:
    """Give each order all it needs, or nothing. What another transaction is just giving out is passed over.

    `elements`: kind by name. Each order gets everything of one kind from the element whose pool is filled the least,
    those in `avoided` last. `seen`: what the caller has looked at already, under SHARED where it has locked some.
    """
    if not seen.free:
        dialect.later(conn, SHARED)
    return _allocate(conn, needs, elements, avoided, seen)


def allocate_exactly(
    conn: sa.Connection, needs: Mapping[UUID, Needs], elements: Mapping[str, str], avoided: Collection[str] = ()
) -> Given:
    """The same, but wait until nobody else is giving out: only then is a pool that seems empty surely so."""
    dialect.later(conn, _ALONE)
    return _allocate(conn, needs, elements, avoided)


def _allocate(
    conn: sa.Connection, needs: Mapping[UUID, Needs], elements: Mapping[str, str], avoided: Collection[str],
    seen: Seen = NOTHING_SEEN,
) -> Given:  # fmt: skip
    choice = Choice(conn, elements, avoided, seen.filled)
    given: dict[UUID, Holding] = {}
    waiting = dict(needs)
    while waiting:
        sites = {order_id: choice.sites(order_id, need) for order_id, need in waiting.items()}
        asked = {order_id: site for order_id, site in sites.items() if site is not None}
        if not asked:
            break
        wanted: Counter[str] = Counter()
        for order_id, site in asked.items():
            wanted.update(_pools(waiting[order_id], site))
        stock = _free(conn, wanted, seen)
        now: dict[UUID, Holding] = {}
        for order_id, site in asked.items():
            short = [pool for pool, count in _pools(waiting[order_id], site).items() if len(stock[pool]) < count]
            if short:
                choice.too_empty(order_id, short)
            else:
                now[order_id] = _taken(waiting[order_id], site, stock)
        _give(conn, now)
        given |= now
        waiting = {order_id: need for order_id, need in waiting.items() if order_id not in now}
    return Given(given, {order_id: tuple(sorted(choice.exhausted[order_id])) for order_id in waiting})


def _pools(need: Needs, sites: Mapping[str, str]) -> Counter[str]:
    """How many of which pool."""
    return Counter(f"{kind}:{sites[kind]}" for kinds in need.values() for kind in kinds)


def _free(conn: sa.Connection, wanted: Mapping[str, int], seen: Seen) -> dict[str, list[str]]:
    """Lock up to that many free resources of each pool and return their names, the first first.

    Where all of them are among those `seen`, they are locked, and nothing is asked.
    """
    stock = _by_pool(seen.free)
    if all(len(stock[pool]) >= count for pool, count in wanted.items()):
        return stock
    return _by_pool(conn.exec_driver_sql(_FREE, (list(wanted), list(wanted.values()))))


def _by_pool(free: Iterable[Sequence[Any]]) -> dict[str, list[str]]:
    stock: dict[str, list[str]] = defaultdict(list)
    for pool, name in free:
        stock[pool].append(name)
    return stock


def _taken(need: Needs, sites: Mapping[str, str], stock: Mapping[str, list[str]]) -> Holding:
    return {
        line: {kind: Resource(kind, sites[kind], stock[f"{kind}:{sites[kind]}"].pop(0)) for kind in kinds}
        for line, kinds in need.items()
    }


def _give(conn: sa.Connection, holdings: Mapping[UUID, Holding]) -> None:
    rows = [
        (order_id, line, resource.pool, resource.name)
        for order_id, lines in holdings.items() for line, kinds in lines.items() for resource in kinds.values()
    ]
    if rows:
        orders, lines, pools, names = (list(column) for column in zip(*rows, strict=True))
        dialect.later(conn, _GIVE, dialect.array(orders), lines, pools, names)


def release(conn: sa.Connection, order_ids: Iterable[UUID]) -> None:
    """Take back everything of these orders. A blocked port stays blocked, for nobody."""
    conn.execute(_RELEASE, {"orders": _texts(order_ids)})


def release_blocked(conn: sa.Connection, order_ids: Iterable[UUID]) -> None:
    """Take back what these orders hold and may not use any more."""
    conn.execute(sa.text(f"{_RELEASE} and blocked is not null"), {"orders": _texts(order_ids)})


def block(conn: sa.Connection, order_id: UUID, ports: Collection[Resource], why: str) -> None:
    """Give these ports to nobody any more, unless another order has got one since.

    Of what the order holds on their elements nothing is used any more; it keeps it until its entries are put back.
    """
    values = {"order": str(order_id), "why": why[:MAX_WORDS], "pools": [port.pool for port in ports],
              "names": [port.name for port in ports], "elements": [port.element for port in ports]}
    conn.execute(_BLOCK, values)
    conn.execute(_SET_ASIDE, values)


def unblock(conn: sa.Connection, port: Resource) -> bool:
    """Give this port out again; return whether it was blocked and nothing of an order can stand on it."""
    return bool(conn.execute(_UNBLOCK, {"pool": port.pool, "name": port.name}).rowcount)


def pools(conn: sa.Connection) -> list[dict[str, Any]]:
    """Every pool with its size, and how many are held, blocked and free."""
    return [dict(row) for row in conn.execute(_POOLS).mappings()]


def blocked(conn: sa.Connection) -> list[dict[str, Any]]:
    """Blocked ports: `{"element", "port", "why", "order_id"}`; order_id where its entry may still stand on the port."""
    query = (
        sa.select(table.c.element, table.c.name.label("port"), table.c.blocked.label("why"),
                  sa.cast(table.c.order_id, sa.Text).label("order_id"))
        .where(table.c.blocked.is_not(None), table.c.pool.startswith(f"{PORT}:")).order_by(table.c.pool, table.c.name)
    )
    return [dict(row) for row in conn.execute(query).mappings()]


def seed(conn: sa.Connection, resources: Iterable[Resource]) -> int:
    """Put these resources into the inventory; what is known stays as it is. Return how many were new."""
    places: Counter[str] = Counter()
    rows: list[tuple[str, str, str, int]] = []
    for resource in resources:
        places[resource.pool] += 1
        rows.append((resource.pool, resource.name, resource.element, places[resource.pool]))
    if not rows:
        return 0
    names = ("pools", "names", "elements", "positions")
    columns = (list(column) for column in zip(*rows, strict=True))
    return conn.execute(_SEED, dict(zip(names, columns, strict=True))).rowcount


def _texts(order_ids: Iterable[UUID]) -> list[str]:
    return [str(order_id) for order_id in order_ids]


SHARED = "select pg_advisory_xact_lock_shared(hashtext('activation inventory'))"
_ALONE = "select pg_advisory_xact_lock(hashtext('activation inventory'))"
_HELD = prepared(
    "select order_id, line, pool, name from resources"
    " where order_id = any(%s::uuid[]) and blocked is null order by line"
)
_FIRST_FREE = (
    " cross join lateral (select name, position from resources"
    "  where pool = wanted.pool and order_id is null and blocked is null"
    "  order by position limit wanted.count for update skip locked) as free"
)
_FREE = prepared(
    "select wanted.pool, free.name"
    f" from unnest(%s::text[], %s::int[]) as wanted(pool, count){_FIRST_FREE} order by wanted.pool, free.position"
)
LOOK = (
    f"with filled as ({FILLED}), chosen as ({LEAST_FILLED}), wanted as (select asked.kind || at as pool, count"
    "  from unnest(%s::text[], %s::text[], %s::int[]) as asked(first, kind, count) join chosen on chosen.kind = first)"
    " select jsonb_build_object('filled', (select jsonb_object_agg(pool, filled) from filled), 'free',"
    f"  (select coalesce(jsonb_agg(array[pool, name] order by position), '[]') from wanted{_FIRST_FREE}))"
)
"""How full pools are, and the first free resources where one order will get them, locked under SHARED: Seen as JSON.

The element is chosen here by Choice's rule, so that nothing else is locked. Choice has the last word: what it wants and
is not among these is asked for as ever.
"""
_GIVE = prepared(
    "update resources set order_id = given.order_id, line = given.line"
    " from unnest(%s::uuid[], %s::int[], %s::text[], %s::text[])"
    " as given(order_id, line, pool, name)"
    " where resources.pool = given.pool and resources.name = given.name"
)
_RELEASE = sa.text(
    "update resources set order_id = null, line = null,"
    f" blocked = case when pool like '{PORT}:%' then blocked end where order_id = any(cast(:orders as uuid[]))"
)
_BLOCK = sa.text(
    "update resources set blocked = :why"
    " from unnest(cast(:pools as text[]), cast(:names as text[])) as bad(pool, name)"
    " where resources.pool = bad.pool and resources.name = bad.name"
    " and (order_id is null or order_id = cast(:order as uuid))"
)
_SET_ASIDE = sa.text(
    "update resources set blocked = :why"
    " where order_id = cast(:order as uuid) and element = any(cast(:elements as text[])) and blocked is null"
)
_UNBLOCK = sa.text(
    "update resources set blocked = null"
    " where pool = :pool and name = :name and blocked is not null and order_id is null"
)
_POOLS = sa.text(
    "select pool, count(*) as size, count(order_id) as held,"
    " count(*) filter (where blocked is not null and order_id is null) as blocked,"
    " count(*) filter (where blocked is null and order_id is null) as free from resources group by pool order by pool"
)
_SEED = sa.text(
    "insert into resources (pool, name, element, position)"
    " select * from unnest(cast(:pools as text[]), cast(:names as text[]), cast(:elements as text[]),"
    " cast(:positions as int[])) on conflict (pool, name) do nothing"
)
