"""A service's connection asks as rarely as it can, and what it promises is the same: BEGIN, order, errors, recovery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import sqlalchemy as sa

from chassis import connection as chassis_connection
from chassis import dialect
from chassis.connection import prepared
from chassis.db import is_passing

NOTE = "insert into noted (said) values (%s)"
FIND = prepared("select said from noted where said = any(%s::text[])")
PREPARED = "select name from pg_prepared_statements where statement like '%%from noted%%'"


@pytest.fixture
def uri(database: Callable[[str], str]) -> str:
    return database("order")


@pytest.fixture
def engine(uri: str) -> Iterator[sa.Engine]:
    made = dialect.make_engine(uri, "order", 2)
    with made.begin() as conn:
        conn.exec_driver_sql("create table noted (said text unique deferrable initially deferred)")
    yield made
    made.dispose()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent to servers, one entry for each wait for an answer."""
    found: list[str] = []

    def record(self: object, doing: str, limit_s: float) -> None:
        found.append(doing)
        wait(self, doing, limit_s)

    wait = chassis_connection.PatientConnection.wait
    monkeypatch.setattr(chassis_connection.PatientConnection, "wait", record)
    return found


def noted(engine: sa.Engine) -> list[str]:
    with engine.connect() as conn:
        return list(conn.exec_driver_sql("select said from noted order by said").scalars())


def backend(conn: sa.Connection) -> int:
    return int(conn.exec_driver_sql("select pg_backend_pid()").scalar_one())


def test_a_transaction_of_three_statements_that_need_no_answer_and_one_that_does_waits_twice(
    engine: sa.Engine, asked: list[str]
) -> None:
    with engine.begin() as conn:
        dialect.lock(conn, [1])  # prepared here
    asked.clear()
    with engine.begin() as conn:
        dialect.lock(conn, [1])
        assert conn.exec_driver_sql("select %s", ("50 %",)).scalar_one() == "50 %"
        dialect.later(conn, NOTE, "a")
        dialect.later(conn, NOTE, "b")
    assert len(asked) == 2
    assert noted(engine) == ["a", "b"]


def test_what_waits_is_there_for_the_next_statement_of_whatever_kind(engine: sa.Engine) -> None:
    table = sa.table("noted", sa.column("said"))
    with engine.begin() as conn:
        dialect.later(conn, NOTE, "a")
        assert list(conn.execute(sa.select(table.c.said)).scalars()) == ["a"]
        dialect.later(conn, NOTE, "b")
        conn.execute(table.update().where(table.c.said == sa.bindparam("old")), [
            {"old": "a", "said": "c"}, {"old": "b", "said": "d"},
        ])  # fmt: skip
    assert noted(engine) == ["c", "d"]


def test_a_lock_is_held_from_the_next_statement_on(engine: sa.Engine) -> None:
    with engine.begin() as conn, engine.connect() as other:
        dialect.lock(conn, [7])
        backend(conn)
        taken = other.exec_driver_sql("select pg_try_advisory_xact_lock(7)").scalar_one()
    assert not taken


@pytest.mark.parametrize("when", ["at once", "with the commit", "at the commit"])
def test_where_a_statement_fails_nothing_of_its_transaction_stays_and_the_connection_is_good(
    engine: sa.Engine, when: str
) -> None:
    with pytest.raises(sa.exc.DBAPIError) as refused, engine.begin() as conn:
        before = backend(conn)
        dialect.later(conn, NOTE, "a")
        dialect.later(conn, NOTE, "a" if when == "at the commit" else "b")
        if when != "at the commit":
            dialect.later(conn, "insert into noted (said, missing) values (%s, %s)", "c", "d")
        if when == "at once":
            backend(conn)
    assert not is_passing(refused.value)
    with engine.begin() as conn:
        assert backend(conn) == before
    assert noted(engine) == []


def test_what_waited_in_a_block_that_raised_is_never_sent(engine: sa.Engine) -> None:
    with pytest.raises(KeyError), engine.begin() as conn:
        dialect.later(conn, NOTE, "a")
        raise KeyError
    with engine.begin() as conn:
        backend(conn)
    assert noted(engine) == []


def test_each_statement_commits_by_itself_where_that_was_asked_for(engine: sa.Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql(NOTE, ("a",))
        assert noted(engine) == ["a"]
    with pytest.raises(KeyError), engine.begin() as conn:
        conn.exec_driver_sql(NOTE, ("b",))
        raise KeyError
    assert noted(engine) == ["a"], "and not by the next user of the connection"


def test_what_is_asked_often_is_prepared_once_by_each_connection_and_may_hold_any_text(engine: sa.Engine) -> None:
    texts = ["a", "50 %s", "it's; drop table noted", "하늘 \\ \""]
    for text in texts:
        with engine.begin() as conn:
            dialect.later(conn, NOTE, text)
            assert conn.exec_driver_sql(FIND, ([text],)).scalar_one() == text
    with engine.connect() as conn, engine.connect() as other:
        assert len(conn.exec_driver_sql(FIND, (texts,)).all()) == len(texts)
        assert len(other.exec_driver_sql(FIND, (texts,)).all()) == len(texts)
        assert [len(each.exec_driver_sql(PREPARED).all()) for each in (conn, other)] == [1, 1]


def test_a_statement_that_cannot_be_prepared_yet_is_prepared_when_it_can(engine: sa.Engine) -> None:
    early = prepared("select said from noted_later where said = %s::text")
    with pytest.raises(sa.exc.ProgrammingError), engine.begin() as conn:
        conn.exec_driver_sql(early, ("a",))
    with engine.begin() as conn:
        conn.exec_driver_sql("create table noted_later (said text)")
    with engine.connect() as conn:
        assert conn.exec_driver_sql(early, ("a",)).all() == []


def test_a_plan_that_was_made_for_an_empty_table_uses_its_index_when_it_is_full(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        conn.exec_driver_sql(FIND, (["1"],))
        conn.exec_driver_sql("insert into noted select cast(n as text) from generate_series(1, 20000) as n")
        name = conn.exec_driver_sql(PREPARED).scalar_one()
        plan = "".join(conn.exec_driver_sql(f"explain execute {name} (array['1'])").scalars())
    assert "Index" in plan and "Seq Scan" not in plan, plan


def test_connections_that_the_server_has_closed_meanwhile_cost_nobody_a_failure(engine: sa.Engine, uri: str) -> None:
    with engine.connect() as one, engine.connect() as two:
        lost = [backend(one), backend(two)]
    with dialect.single_engine(uri).connect() as operator:
        operator.exec_driver_sql("select pg_terminate_backend(pid, 5000) from unnest(%s) as pid", (lost,))
    with engine.begin() as conn, engine.begin() as other:
        assert {backend(conn), backend(other)}.isdisjoint(lost)


@pytest.mark.parametrize("opened", [chassis_connection.single, dialect.transaction])
def test_a_database_that_is_lost_while_a_statement_is_prepared_is_away_and_its_connection_is_not_used_again(
    engine: sa.Engine, uri: str, opened: Callable[[sa.Engine], AbstractContextManager[sa.Connection]]
) -> None:
    unprepared = prepared(f"select '{opened.__name__}' from noted where said = %s::text")
    with pytest.raises(sa.exc.OperationalError) as lost, opened(engine) as conn:
        gone = backend(conn)
        with dialect.single_engine(uri).connect() as operator:
            operator.exec_driver_sql("select pg_terminate_backend(%s, 5000)", (gone,))
        dialect.later(conn, unprepared, "a")
    assert is_passing(lost.value) and lost.value.connection_invalidated
    with opened(engine) as conn, opened(engine) as other:
        assert gone not in (backend(conn), backend(other))


@pytest.mark.parametrize("opened", [chassis_connection.single, dialect.transaction])
def test_a_statement_that_cannot_be_prepared_is_refused_and_its_connection_is_good(
    engine: sa.Engine, opened: Callable[[sa.Engine], AbstractContextManager[sa.Connection]]
) -> None:
    wrong = prepared(f"select '{opened.__name__}' from noted_nowhere where said = %s::text")
    with pytest.raises(sa.exc.ProgrammingError) as refused, opened(engine) as conn:
        before = backend(conn)
        dialect.later(conn, wrong, "a")
    assert not is_passing(refused.value)
    with opened(engine) as conn:
        assert backend(conn) == before


def test_only_a_connection_that_was_long_idle_is_asked_whether_it_is_still_there(
    engine: sa.Engine, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin():
        pass
    assert asked == []
    monkeypatch.setattr(chassis_connection, "TRUSTED_S", 0.0)
    with engine.begin():
        pass
    assert asked == ["answer"]
