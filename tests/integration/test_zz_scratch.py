from __future__ import annotations
import time
import sqlalchemy as sa
import pytest
import eventlet
from tests.integration.test_activation_visits import *  # noqa
from tests.integration.test_activation_visits import process, uris, shared, amqp_uri, activation
from chassis.db import store_of
import cProfile, pstats

def test_zz_statements(activation, amqp_uri):
    store = store_of(activation.container)
    log = []
    with scheduling_far_end(amqp_uri):
        o = activation.place(); activation.wait_for(o, "active")
        eventlet.sleep(1.0)
        @sa.event.listens_for(store.engine, "before_cursor_execute")
        def bce(conn, cursor, statement, parameters, context, executemany):
            log.append((time.monotonic(), id(conn.connection.dbapi_connection) % 9973, statement[:110]))
        @sa.event.listens_for(store.engine, "commit")
        def com(conn): log.append((time.monotonic(), id(conn.connection.dbapi_connection)%9973, "COMMIT"))
        @sa.event.listens_for(store.engine, "rollback")
        def rb(conn): log.append((time.monotonic(), id(conn.connection.dbapi_connection)%9973, "ROLLBACK"))
        activation.tap.send([placed(new_id())])
        eventlet.sleep(0.4)
    t0 = log[0][0]
    for t, c, s in log: print(f"{1000*(t-t0):7.1f} {c:5d} {s}")
    assert 0
