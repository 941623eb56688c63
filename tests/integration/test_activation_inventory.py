"""Promises of the inventory's own statements: nothing is given out twice, and what is given out is spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from activation_svc import inventory
from activation_svc.element_config import ElementConfig, resources_of
from activation_svc.plan import PORT
from contracts.ids import new_id
from tests.harness.activation import TWO_OLTS
from tests.harness.containers import engine

KINDS = {"olt-1": "olt", "olt-2": "olt", "bng-1": "bng"}


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
