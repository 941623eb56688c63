"""A database that hangs, or cannot be reached any more, holds nobody up for ever: neither a worker nor a lock."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import eventlet
import pytest
import sqlalchemy as sa

from chassis import dialect
from chassis.db import is_passing
from chassis.patience import IDLE_IN_TRANSACTION_S
from tests.harness.tcp_proxy import TcpProxy

DEADLINE_S = 10
ANSWER_S = 0.5

MakeDatabase = Callable[[str], str]
ONE = sa.text("select 1")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers: a frozen database, or a black hole on the way to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def uri(database: MakeDatabase) -> str:
    return database("order")


@pytest.fixture
def proxy(uri: str) -> Iterator[TcpProxy]:
    """On the way to that database."""
    with TcpProxy(sa.make_url(uri).port or 0) as found:
        yield found


@pytest.fixture
def engine(uri: str, proxy: TcpProxy) -> sa.Engine:
    """An engine of one connection, over the proxy."""
    return engine_of(sa.make_url(uri).set(port=proxy.port).render_as_string(hide_password=False))


def engine_of(uri: str) -> sa.Engine:
    return dialect.make_engine(uri, "order", 1, ANSWER_S)


def failure(action: Callable[[], Any]) -> tuple[BaseException | None, float]:
    """What it raises, and after how many seconds."""
    began = time.monotonic()
    with eventlet.Timeout(DEADLINE_S):
        try:
            action()
        except sa.exc.SQLAlchemyError as error:
            return error, time.monotonic() - began
    return None, time.monotonic() - began


def ask(engine: sa.Engine) -> int:
    with engine.connect() as conn:
        return int(conn.execute(ONE).scalar_one())


def test_a_database_that_takes_a_connection_and_says_nothing_is_given_up(silent_port: int) -> None:
    engine = engine_of(f"postgresql+psycopg2://oss@127.0.0.1:{silent_port}/oss")

    error, took_s = failure(lambda: ask(engine))

    assert is_passing(error), error
    assert took_s < ANSWER_S * 4


def test_a_statement_that_gets_no_answer_is_given_up_and_others_work_meanwhile(
    engine: sa.Engine, proxy: TcpProxy
) -> None:
    ticks = 0
    with engine.connect() as conn:
        conn.execute(ONE)
        proxy.freeze()
        asking = eventlet.spawn(failure, lambda: conn.execute(ONE))
        while not asking.dead:
            eventlet.sleep(0.01)
            ticks += 1

    error, took_s = asking.wait()

    assert is_passing(error) and took_s < ANSWER_S * 4, error
    assert ticks > 5, "the hub stood still"
    proxy.heal()
    assert ask(engine) == 1, "with a new connection, from a pool of one"


def test_a_pooled_connection_that_fell_into_a_black_hole_costs_no_more_than_two_waits(
    engine: sa.Engine, proxy: TcpProxy
) -> None:
    assert ask(engine) == 1
    proxy.freeze()

    error, took_s = failure(lambda: ask(engine))

    assert is_passing(error), error
    assert took_s < ANSWER_S * 2 + 1


def test_whoever_is_not_answered_when_committing_hears_of_it(engine: sa.Engine, proxy: TcpProxy) -> None:

    def commit() -> None:
        with engine.begin() as conn:
            conn.execute(sa.text("create table kept (a int)"))
            proxy.freeze()

    error, took_s = failure(commit)

    assert is_passing(error) and took_s < ANSWER_S * 4, error


def test_a_slow_answer_that_comes_is_waited_for(engine: sa.Engine, proxy: TcpProxy) -> None:
    assert ask(engine) == 1
    proxy.to_client_s = ANSWER_S / 3

    assert ask(engine) == 1


def test_the_server_gives_up_a_transaction_whose_client_is_not_heard_of_any_more(uri: str) -> None:
    with engine_of(uri).connect() as conn:
        shown = [conn.execute(sa.text(f"show {name}")).scalar_one()
                 for name in ("idle_in_transaction_session_timeout", "tcp_keepalives_idle")]  # fmt: skip
    assert shown == [f"{IDLE_IN_TRANSACTION_S}s", "10"]


def test_its_locks_are_free_then_and_the_work_may_be_done_again(uri: str) -> None:
    lost = engine_of(uri).connect()
    lost.execute(sa.text("set idle_in_transaction_session_timeout = '500ms'"))
    lost.commit()
    dialect.lock(lost, [7])
    lost.execute(ONE)

    with dialect.make_engine(uri, "order", 1).begin() as conn:
        dialect.lock(conn, [7])
        conn.execute(ONE)
    error, _ = failure(lambda: lost.execute(ONE))

    assert is_passing(error), error
    lost.close()
