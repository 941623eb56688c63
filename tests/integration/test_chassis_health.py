"""Readiness against a database that hangs, and spans that reach a collector from a cooperative process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import eventlet
import pytest
from eventlet import wsgi
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sqlalchemy.orm import DeclarativeBase

from chassis import tracing
from chassis.container import Container
from chassis.db import Store
from chassis.health import HealthEndpoints, health_of
from chassis.service import queue_depths

DEADLINE_S = 30


class Base(DeclarativeBase):
    """No tables of its own."""


class Stored:
    name = "stored"
    store, health = Store(Base), HealthEndpoints()


@pytest.fixture
def unused_tcp_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers, like a frozen database."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_hanging_database_makes_the_service_unready_in_time_and_leaves_it_alive(silent_port: int) -> None:
    config = {
        "WEB_SERVER_ADDRESS": "127.0.0.1:0",
        "DB_URIS": {"stored:Base": f"postgresql+psycopg2://oss@127.0.0.1:{silent_port}/oss"},
        "DB_POOL_SIZE": 2,
        "EVENTS_EXCHANGE": "oss.events",
    }
    container: Any = Container(Stored, config)
    container.start()
    try:
        with eventlet.Timeout(DEADLINE_S):
            assert health_of(container).outcomes("ready")["database"] == "no answer within 2 s"
            assert set(health_of(container).outcomes("live").values()) == {"ok"}
    finally:
        container.stop()


def test_overview_does_without_a_broker_that_hangs_or_is_gone(silent_port: int, unused_tcp_port: int) -> None:
    with eventlet.Timeout(DEADLINE_S):
        for port in (silent_port, unused_tcp_port):
            assert queue_depths({"AMQP_URI": f"amqp://guest:guest@127.0.0.1:{port}//"}, ["order.events"]) is None


def test_spans_reach_the_collector_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    arrived: list[str] = []
    first = eventlet.Event()

    def collector(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert environ["PATH_INFO"] == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(environ["wsgi.input"].read())
        arrived.extend(span.name for part in request.resource_spans for s in part.scope_spans for span in s.spans)
        if not first.ready():
            first.send()
        start_response("200 OK", [("Content-Type", "application/x-protobuf")])
        return [b""]

    listener = eventlet.listen(("127.0.0.1", 0))
    serving = eventlet.spawn(wsgi.server, listener, collector, log_output=False)
    try:
        provider = tracing.provider_for("collected", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with tracing.span("one", service="collected"):
            pass
        with eventlet.Timeout(DEADLINE_S):
            first.wait()  # sent by the batch worker on its own, as a green thread
            with tracing.span("two", service="collected"):
                pass
            assert provider.force_flush(5_000)
            assert arrived == ["one", "two"]
            provider.shutdown()
    finally:
        serving.kill()
