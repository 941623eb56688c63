"""Tracing: OpenTelemetry spans that follow one order through HTTP, RPC and events.

The carrier is a W3C `traceparent` string (https://www.w3.org/TR/trace-context/): it stands in HTTP headers, in
RPC context data (key "traceparent") and in every event. Without OTEL_EXPORTER_OTLP_ENDPOINT spans are made,
so that logs have trace ids, and exported nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from nameko.extensions import DependencyProvider
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from chassis import logging as chassis_logging
from chassis.settings import setting

ENDPOINT_ENV = "OTEL_EXPORTER_OTLP_ENDPOINT"
KINDS = {kind.name.lower(): kind for kind in SpanKind}
_MAX_LINKS = 128  # the SDK's own limit on links of a span
_FLUSH_MS = 2_000

_propagator = TraceContextTextMapPropagator()
_providers: dict[str, TracerProvider] = {}
_test_processors: list[SpanProcessor] = []


def provider_for(service_name: str, endpoint: str | None = None) -> TracerProvider:
    """Return the service's tracer provider, made once.

    It exports over OTLP/HTTP to `endpoint` (default: the environment's OTEL_EXPORTER_OTLP_ENDPOINT), if any.
    """
    if service_name not in _providers:
        provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
        endpoint = endpoint or os.environ.get(ENDPOINT_ENV)
        if endpoint:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            # Its worker is a green thread under eventlet and its HTTP is cooperative: an integration test holds this.
            exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
            provider.add_span_processor(BatchSpanProcessor(exporter))
        for processor in _test_processors:
            provider.add_span_processor(processor)
        _providers[service_name] = provider
    return _providers[service_name]


@contextmanager
def exporting_to(exporter: SpanExporter) -> Iterator[None]:
    """For tests: every provider of this process also exports, at once, to `exporter` inside the block."""
    processor = SimpleSpanProcessor(exporter)
    _test_processors.append(processor)
    for provider in _providers.values():
        provider.add_span_processor(processor)
    try:
        yield
    finally:
        _test_processors.remove(processor)
        processor.shutdown()


def parse(traceparent: str | None) -> Context | None:
    """Return the OpenTelemetry context of a `traceparent`; None where it is missing or malformed."""
    if not traceparent or not isinstance(traceparent, str):
        return None
    context = _propagator.extract({"traceparent": traceparent}, context=Context())
    return context if trace.get_current_span(context).get_span_context().is_valid else None


def current_traceparent() -> str | None:
    """Return the running span's W3C `traceparent`; None outside every span."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent")


def current_trace_id() -> str | None:
    """Return the running trace's id, 32 hex digits; None outside every span."""
    found = trace.get_current_span().get_span_context()
    return format(found.trace_id, "032x") if found.is_valid else None


@contextmanager
def span(
    name: str,
    kind: str = "internal",
    traceparent: str | None = None,
    links: Iterable[str] = (),
    service: str = "",
    **attributes: Any,
) -> Iterator[Span]:
    """Run the block in a span, with its trace id on every log line of the block.

    kind: "internal", "server", "client", "producer" or "consumer". The parent is `traceparent`, else the running
    span. `links`: traceparents of further causes. An exception is recorded on the span and raised on.
    """
    tracer = provider_for(service or chassis_logging.service_name()).get_tracer("chassis")
    started = tracer.start_as_current_span(
        name, context=parse(traceparent), kind=KINDS[kind], links=_links(links), attributes=_plain(attributes)
    )
    with started as running, chassis_logging.bind(trace_id=current_trace_id()):
        yield running


def carried_on(traceparent: str | None, name: str, service: str = "") -> str | None:
    """Return the traceparent of a point span that continues `traceparent` and links to the running span.

    A batch holds messages of many orders: the events it causes for one order carry on that order's own trace.
    Without a valid `traceparent`, the running span's.
    """
    parent = parse(traceparent)
    if parent is None:
        return current_traceparent()
    here = trace.get_current_span().get_span_context()
    tracer = provider_for(service or chassis_logging.service_name()).get_tracer("chassis")
    point = tracer.start_span(name, context=parent, links=[Link(here)] if here.is_valid else [])
    point.end()
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, context=trace.set_span_in_context(point))
    return carrier.get("traceparent")


def _links(traceparents: Iterable[str | None]) -> list[Link]:
    found: dict[tuple[int, int], SpanContext] = {}
    for traceparent in traceparents:
        context = parse(traceparent)
        if context is not None and len(found) < _MAX_LINKS:
            linked = trace.get_current_span(context).get_span_context()
            found[linked.trace_id, linked.span_id] = linked
    return [Link(linked) for linked in found.values()]


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in attributes.items() if value is not None}
    return {key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in kept.items()}


class Tracing(DependencyProvider):
    """Runs every worker in a span. Its parent is context data "traceparent".

    A batch handler puts the list "traceparents" there instead: one is the parent, several become links.
    An entrypoint with the attribute `traced = False` (a loop that is idle most of the time) gets no span.
    """

    def __init__(self) -> None:
        self._running: WeakKeyDictionary[Any, tuple[Span, Any]] = WeakKeyDictionary()

    def setup(self) -> None:
        """Make the provider at start, not in the first request."""
        endpoint = setting(self.container, ENDPOINT_ENV, "")
        self._tracer = provider_for(self.container.service_name, endpoint).get_tracer("chassis")

    def stop(self) -> None:
        """Send what is waiting, for at most two seconds."""
        provider_for(self.container.service_name).force_flush(_FLUSH_MS)

    def worker_setup(self, worker_ctx: Any) -> None:
        """Start the worker's span, bind its trace id to the log, and hand its traceparent on to RPC calls."""
        entrypoint = worker_ctx.entrypoint
        if not getattr(entrypoint, "traced", True):
            return
        parents = [parent for parent in worker_ctx.data.get("traceparents") or () if parent]
        single = worker_ctx.data.get("traceparent") or (parents[0] if len(set(parents)) == 1 else None)
        started = self._tracer.start_span(
            f"{worker_ctx.service_name}.{entrypoint.method_name}",
            context=parse(single),
            kind=_kind(entrypoint, parents),
            links=_links(parents) if single is None else [],
            attributes=_attributes(worker_ctx, parents),
        )
        token = otel_context.attach(trace.set_span_in_context(started))
        self._running[worker_ctx] = (started, token)
        worker_ctx.data["traceparent"] = current_traceparent()
        chassis_logging.bind_worker(trace_id=current_trace_id())

    def worker_result(self, worker_ctx: Any, result: Any = None, exc_info: Any = None) -> None:
        """End the worker's span; an error that is not simply an answer marks it as failed."""
        started, token = self._running.pop(worker_ctx, (None, None))
        if started is None:
            return
        if exc_info is not None:
            started.record_exception(exc_info[1])
            if int(getattr(exc_info[1], "http_status", 500)) >= 500:
                started.set_status(Status(StatusCode.ERROR, type(exc_info[1]).__name__))
        started.end()
        otel_context.detach(token)

    def get_dependency(self, worker_ctx: Any) -> Any:
        """Return the service's tracer."""
        return self._tracer


def _kind(entrypoint: Any, parents: list[str]) -> SpanKind:
    if parents or hasattr(entrypoint, "queue"):
        return SpanKind.CONSUMER
    answers = hasattr(entrypoint, "rpc_consumer") or hasattr(entrypoint, "get_url_rule")
    return SpanKind.SERVER if answers else SpanKind.INTERNAL


def _attributes(worker_ctx: Any, parents: list[str]) -> dict[str, Any]:
    entrypoint = worker_ctx.entrypoint
    return _plain(
        {
            "nameko.entrypoint": type(entrypoint).__name__,
            "nameko.call_id": worker_ctx.call_id,
            "order_id": worker_ctx.kwargs.get("order_id"),
            "messaging.batch.message_count": len(parents) or None,
            "http.request.method": getattr(entrypoint, "method", None) if hasattr(entrypoint, "get_url_rule") else None,
            "http.route": getattr(entrypoint, "url", None) if hasattr(entrypoint, "get_url_rule") else None,
        }
    )
