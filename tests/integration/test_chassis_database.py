"""A database that hangs, or that has become one that only reads: nobody waits for ever, and no connection is kept."""

from __future__ import annotations

import time
from collections.abc import Callable

import eventlet
import pytest
import sqlalchemy as sa

from chassis import dialect
from chassis.db import is_passing
from chassis.health import _probe_engine
from tools.nodes import Nodes

ANSWER_TIMEOUT_S = 1.0
DEADLINE_S = 15


def an_engine(uri: str) -> sa.Engine:
    return dialect.make_engine(uri, "patient", 2, ANSWER_TIMEOUT_S)


def select_one(engine: sa.Engine) -> int:
    with engine.connect() as conn:
        return int(conn.execute(sa.text("select 1")).scalar_one())


def test_a_statement_that_a_hanging_database_leaves_unanswered_ends_and_others_go_on(
    database: Callable[[str], str], nodes: Nodes
) -> None:
    engine = an_engine(database("order"))
    assert select_one(engine) == 1
    beats: list[float] = []
    beating = eventlet.spawn(lambda: [beats.append(time.monotonic()) or eventlet.sleep(0.05) for _ in range(1000)])
    assert nodes.postgres is not None
    try:
        with engine.connect() as conn, nodes.postgres.frozen(), eventlet.Timeout(DEADLINE_S):
            begun = len(beats)
            with pytest.raises(sa.exc.OperationalError, match="did not answer within 1") as refused:
                conn.execute(sa.text("select 1"))
            assert len(beats) - begun > 10, "nobody else waits"
    finally:
        beating.kill()
    assert is_passing(refused.value) and refused.value.connection_invalidated
    assert select_one(engine) == 1, "and with the database the service is back"


def test_a_connection_to_a_server_that_only_reads_from_now_on_is_not_used_again(database: Callable[[str], str]) -> None:
    engine = an_engine(database("order"))
    who = sa.text("select pg_backend_pid()")
    with engine.connect() as conn:
        before = conn.execute(who).scalar_one()
        conn.exec_driver_sql("set default_transaction_read_only = on")
        conn.commit()
    with pytest.raises(sa.exc.InternalError, match="read-only transaction") as refused, engine.begin() as conn:
        assert conn.execute(who).scalar_one() == before
        conn.execute(sa.text("delete from outbox"))
    assert is_passing(refused.value)
    with engine.begin() as conn:
        assert conn.execute(who).scalar_one() != before
        conn.execute(sa.text("delete from outbox"))


def test_a_standby_is_not_taken_for_the_database(database: Callable[[str], str]) -> None:
    url = sa.make_url(database("order"))
    owner = dialect.single_engine(url.render_as_string(hide_password=False))
    with owner.begin() as conn:
        conn.exec_driver_sql(f'alter database "{url.database}" set default_transaction_read_only = on')
    engine = an_engine(url.render_as_string(hide_password=False))
    for each in (engine, _probe_engine(engine, "patient")):
        with pytest.raises(sa.exc.OperationalError, match="session is read-only") as refused:
            each.connect()
        assert is_passing(refused.value)


def test_the_options_that_an_address_carries_stay(database: Callable[[str], str]) -> None:
    url = sa.make_url(database("order")).update_query_dict({"options": "-c statement_timeout=12s"})
    with an_engine(url.render_as_string(hide_password=False)).connect() as conn:
        shown = [conn.exec_driver_sql(f"show {name}").scalar_one()
                 for name in ("statement_timeout", "client_connection_check_interval")]  # fmt: skip
    assert shown == ["12s", "10s"]
