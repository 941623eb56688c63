"""Promises of the inventory's own statements: nothing is given out twice, and what is given out is spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import eventlet
import pytest
import sqlalchemy as sa

from activation_svc import inventory
from activation_svc.element_config import ElementConfig, resources_of
from activation_svc.plan import PORT
from contracts.ids import new_id
from tests.harness.activation import TWO_OLTS
from tests.harness.containers import engine
from tools.waiting import wait_until

KINDS = {"olt-1": "olt", "olt-2": "olt", "bng-1": "bng"}
NEED = {1: (PORT, "vlan", "ip"), 2: (PORT, "vlan")}


@pytest.fixture
def db(database: Callable[[str], str]) -> Iterator[sa.Engine]:
    with engine(database("activation")) as made:
        with made.begin() as conn:
            for name, described in TWO_OLTS.items():
                inventory.seed(conn, resources_of(name, ElementConfig.model_validate(described)))
        yield made


def names(given: inventory.Given) -> list[tuple[str, str, str]]:
    return [
        (resource.kind, resource.element, resource.name)
        for lines in given.holdings.values() for kinds in lines.values() for resource in kinds.values()
    ]


def test_what_is_given_out_is_spread_over_the_olts_and_not_over_those_that_are_to_be_avoided(
    db: sa.Engine,
) -> None:
    with db.connect() as conn:
        given = inventory.allocate(conn, {new_id(): {1: (PORT, "vlan", "ip")} for _ in range(20)}, KINDS)
        assert Counter(element for kind, element, _ in names(given) if kind == PORT) == {"olt-1": 10, "olt-2": 10}
        given = inventory.allocate(conn, {new_id(): {1: (PORT,)} for _ in range(20)}, KINDS, avoided={"olt-2"})
        assert Counter(element for _, element, _ in names(given)) == {"olt-1": 20}
        given = inventory.allocate(conn, {new_id(): {1: (PORT,)}}, {"olt-2": "olt"}, avoided={"olt-2"})
        assert len(given.holdings) == 1, "better from one that is to be avoided than not at all"


def test_the_key_of_the_table_is_what_keeps_a_resource_from_being_given_twice(db: sa.Engine) -> None:
    with pytest.raises(sa.exc.IntegrityError, match="resources_pkey"), db.connect() as conn:
        conn.execute(sa.text(
            "insert into resources (pool, name, element, position) values ('vlan:olt-1', '100', 'olt-1', 1)"
        ))


def test_transactions_that_give_out_at_once_never_give_the_same(db: sa.Engine) -> None:
    with db.begin() as conn:
        conn.execute(sa.text(
            "update resources set order_id = gen_random_uuid(), line = 1 where pool like 'service-port:%'"
            " and position > case element when 'olt-1' then 3 else 2 end"
        ))
    need = {1: (PORT, "vlan")}
    with db.connect() as one, db.connect() as other:
        mine = inventory.allocate(one, {new_id(): need for _ in range(4)}, KINDS)
        theirs = inventory.allocate(other, {new_id(): need for _ in range(4)}, KINDS)
        given = names(mine) + names(theirs)
        assert len(mine.holdings) == 4
        assert len(theirs.holdings) <= 1
        assert len(set(given)) == len(given)
        one.rollback()
        assert len(inventory.allocate_exactly(other, {new_id(): need for _ in range(5)}, KINDS).holdings) >= 4


def take(conn: sa.Connection, pool: str, where: str) -> None:
    """What of this pool is `where` is held by an order that nobody here knows."""
    conn.exec_driver_sql(
        f"update resources set order_id = gen_random_uuid(), line = 1 where pool = %s and {where}", (pool,)
    )


def seen(conn: sa.Connection, avoided: tuple[str, ...] = (), need: Any = NEED) -> inventory.Seen:
    """What is told of the pools, as beside a lone order."""
    values = inventory.look_for(need, KINDS, avoided)
    conn.exec_driver_sql(inventory.SHARED)
    return inventory.Seen(**conn.exec_driver_sql(inventory.LOOK, values).scalar_one())


@contextmanager
def asked(conn: sa.Connection) -> Iterator[list[str]]:
    """The statements that are sent by this connection."""
    statements: list[str] = []

    def sent(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    sa.event.listen(conn, "before_cursor_execute", sent)
    yield statements
    sa.event.remove(conn, "before_cursor_execute", sent)


@pytest.mark.parametrize("avoided", [(), ("olt-1",), ("olt-1", "olt-2")])
@pytest.mark.parametrize(
    "filling",
    [
        {},
        {f"{PORT}:olt-1": "position <= 3"},
        {f"{PORT}:olt-1": "position <= 3", f"{PORT}:olt-2": "position <= 3"},
        {f"{PORT}:olt-1": "position in (1, 2, 5)", f"{PORT}:olt-2": "position <= 9"},
    ],
    ids=["empty", "one more", "alike", "with gaps"],
)
def test_what_a_lone_order_gets_is_found_with_the_first_question_and_is_what_it_would_have_got(
    db: sa.Engine, filling: dict[str, str], avoided: tuple[str, ...]
) -> None:
    with db.begin() as conn:
        for pool, where in filling.items():
            take(conn, pool, where)
        conn.exec_driver_sql("update resources set blocked = 'bad' where position = 7 and pool like 'service-port:%%1'")
    order_id = new_id()
    with db.connect() as conn:
        usual = inventory.allocate(conn, {order_id: NEED}, KINDS, avoided)
    with db.connect() as conn:
        looked = seen(conn, avoided)
        with asked(conn) as statements:
            assert inventory.allocate(conn, {order_id: NEED}, KINDS, avoided, looked) == usual
        assert statements == [inventory._GIVE], "nothing had to be asked again"


@pytest.mark.parametrize("pool, where", [(f"{PORT}:olt-1", "position > 1"), ("vlan:olt-1", "true")])
def test_where_the_least_filled_element_lacks_something_a_lone_order_gets_all_from_another(
    db: sa.Engine, pool: str, where: str
) -> None:
    with db.begin() as conn:
        take(conn, pool, where)
        take(conn, f"{PORT}:olt-2", "position <= 9")
    order_id = new_id()
    with db.connect() as conn:
        given = inventory.allocate(conn, {order_id: NEED}, KINDS, seen=seen(conn))
        assert {element for kind, element, _ in names(given) if kind != "ip"} == {"olt-2"}
    with db.begin() as conn:
        take(conn, "ip:bng-1", "true")
    with db.connect() as conn:
        given = inventory.allocate(conn, {order_id: NEED}, KINDS, seen=seen(conn))
        assert not given.holdings and "ip:bng-1" in given.exhausted[order_id]


def test_an_element_that_is_to_be_avoided_since_the_look_is_not_taken(db: sa.Engine) -> None:
    with db.connect() as conn:
        looked = seen(conn)
        given = inventory.allocate(conn, {new_id(): NEED}, KINDS, {"olt-1"}, looked)
        assert {element for kind, element, _ in names(given) if kind != "ip"} == {"olt-2"}


def test_a_look_locks_only_what_the_order_is_given_and_nothing_where_there_is_no_order(db: sa.Engine) -> None:
    left = sa.text("select pool, name from resources where position = 1 order by pool for update skip locked")
    with db.connect() as one, db.connect() as other:
        seen(one, need={})
        assert len(other.execute(left).all()) == 5
    with db.connect() as one, db.connect() as other:
        seen(one)
        assert [pool for pool, _ in other.execute(left)] == [f"{PORT}:olt-2", "vlan:olt-2"]


def test_what_is_given_out_after_a_look_has_begun_is_not_given_again(db: sa.Engine) -> None:
    """What the question sees is older than what is committed by the time it locks; here because it waits in between."""
    wait = "with held as materialized (select pg_advisory_xact_lock(7)) select told from held, lateral ("
    values = inventory.look_for(NEED, KINDS, ())
    with db.connect() as one, db.connect() as other:
        one.exec_driver_sql("select pg_advisory_xact_lock(7)")
        looking = eventlet.spawn(
            lambda: other.exec_driver_sql(f"{wait}select ({inventory.LOOK}) as told) as looked", values).scalar_one()
        )
        waiting = sa.text("select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = 7")
        wait_until(lambda: one.execute(waiting).scalar_one(), "the question to wait")
        given = inventory.allocate(one, {new_id(): NEED}, KINDS)
        one.commit()
        theirs = inventory.allocate(other, {new_id(): NEED}, KINDS, seen=inventory.Seen(**looking.wait()))
        assert len(theirs.holdings) == 1
        assert not set(names(given)) & set(names(theirs))
