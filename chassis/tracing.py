"""Tracing: OpenTelemetry spans that follow one order through HTTP, RPC and events.

The carrier is a W3C `traceparent` string (https://www.w3.org/TR/trace-context/): it stands in HTTP headers, in
RPC context data (key "traceparent") and in every event. Without OTEL_EXPORTER_OTLP_ENDPOINT spans are made of
their ids only, which is what logs and messages carry: a span that nobody will see costs a tenth of a real one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nameko.extensions import DependencyProvider
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, Tracer, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from chassis import logging as chassis_logging
from chassis.settings import setting

ENDPOINT_ENV = "OTEL_EXPORTER_OTLP_ENDPOINT"
KINDS = {kind.name.lower(): kind for kind in SpanKind}
_MAX_LINKS = 128  # the SDK's own limit on links of a span
_FLUSH_MS = 2_000

_TRACEPARENT = re.compile(r"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?[ \t]*")
_MAX_LENGTH = 512
_NEW_TRACE = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)
_KNOWN_FLAGS = int(_NEW_TRACE)
_new_id = RandomIdGenerator()


@dataclass(slots=True)
class _Source:
    """Where a service's spans come from. `exports`: whether anybody gets to see them."""

    provider: TracerProvider
    tracer: Tracer
    exports: bool


_sources: dict[str, _Source] = {}
_test_processors: list[SpanProcessor] = []


def provider_for(service_name: str, endpoint: str | None = None) -> TracerProvider:
    """Return the service's tracer provider, made once.

    It exports over OTLP/HTTP to `endpoint` (default: the environment's OTEL_EXPORTER_OTLP_ENDPOINT), if any.
    """
    return _source(service_name, endpoint).provider


def _source(service_name: str, endpoint: str | None = None) -> _Source:
    found = _sources.get(service_name)
    if found is None:
        provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
        endpoint = endpoint or os.environ.get(ENDPOINT_ENV)
        if endpoint:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            # Its worker is a green thread under eventlet and its HTTP is cooperative: an integration test holds this.
            exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
            provider.add_span_processor(BatchSpanProcessor(exporter))
        for processor in _test_processors:
            provider.add_span_processor(processor)
        # Another sampler (OTEL_TRACES_SAMPLER) is asked for each span, as its decision travels on in the flags.
        exports = bool(endpoint or _test_processors) or provider.sampler is not sampling.DEFAULT_ON
        found = _sources[service_name] = _Source(provider, provider.get_tracer("chassis"), exports)
    return found


@contextmanager
def exporting_to(exporter: SpanExporter) -> Iterator[None]:
    """For tests: every provider of this process also exports, at once, to `exporter` inside the block."""
    processor = SimpleSpanProcessor(exporter)
    _test_processors.append(processor)
    before = {name: source.exports for name, source in _sources.items()}
    for source in _sources.values():
        source.provider.add_span_processor(processor)
        source.exports = True
    try:
        yield
    finally:
        _test_processors.remove(processor)
        processor.shutdown()
        for name, source in _sources.items():
            source.exports = before.get(name, False)


def parse(traceparent: str | None) -> SpanContext | None:
    """Return what a W3C `traceparent` names; None where it is missing or malformed (section 3.2.2)."""
    if not traceparent or not isinstance(traceparent, str) or len(traceparent) > _MAX_LENGTH:
        return None
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    version, trace_id, span_id, flags, further = match.groups()
    if version == "ff" or (version == "00" and further):
        return None
    found = SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))
    return found if found.is_valid else None


def current_traceparent() -> str | None:
    """Return the running span's W3C `traceparent`; None outside every span."""
    found = trace.get_current_span().get_span_context()
    return _traceparent(found) if found.is_valid else None


def current_trace_id() -> str | None:
    """Return the running trace's id, 32 hex digits; None outside every span."""
    found = trace.get_current_span().get_span_context()
    return f"{found.trace_id:032x}" if found.is_valid else None


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
    source = _source(service or chassis_logging.service_name())
    parent = parse(traceparent)
    if source.exports:
        running = source.tracer.start_span(
            name, context=_under(parent), kind=KINDS[kind], links=_links(links), attributes=_plain(attributes)
        )
    else:
        running = _ids_only(parent)
    with trace.use_span(running, end_on_exit=True), chassis_logging.bind(trace_id=current_trace_id()):
        yield running


def carried_on(traceparent: str | None, name: str, service: str = "") -> str | None:
    """Return the traceparent of a point span that continues `traceparent` and links to the running span.

    A batch holds messages of many orders: the events it causes for one order carry on that order's own trace.
    Without a valid `traceparent`, the running span's.
    """
    parent = parse(traceparent)
    if parent is None:
        return current_traceparent()
    source = _source(service or chassis_logging.service_name())
    if not source.exports:
        return _traceparent(_ids_only(parent).get_span_context())
    here = trace.get_current_span().get_span_context()
    point = source.tracer.start_span(name, context=_under(parent), links=[Link(here)] if here.is_valid else [])
    point.end()
    return _traceparent(point.get_span_context())


def _ids_only(parent: SpanContext | None) -> Span:
    """A span that is nothing but its ids, with those and the flags that the SDK would give it."""
    above = parent or trace.get_current_span().get_span_context()
    if above.is_valid:
        trace_id, flags = above.trace_id, TraceFlags(above.trace_flags & _KNOWN_FLAGS)
    else:
        trace_id, flags = _new_id.generate_trace_id(), _NEW_TRACE
    return NonRecordingSpan(SpanContext(trace_id, _new_id.generate_span_id(), False, flags))


def _under(parent: SpanContext | None) -> Context | None:
    return None if parent is None else trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _traceparent(of: SpanContext) -> str:
    return f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}"


def _links(traceparents: Iterable[str | None]) -> list[Link]:
    found: dict[tuple[int, int], SpanContext] = {}
    for traceparent in traceparents:
        linked = parse(traceparent)
        if linked is not None and len(found) < _MAX_LINKS:
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

    def setup(self) -> None:
        """Make the provider at start, not in the first request."""
        self._source = _source(self.container.service_name, setting(self.container, ENDPOINT_ENV, ""))

    def stop(self) -> None:
        """Send what is waiting, for at most two seconds."""
        self._source.provider.force_flush(_FLUSH_MS)

    def worker_setup(self, worker_ctx: Any) -> None:
        """Start the worker's span, bind its trace id to the log, and hand its traceparent on to RPC calls."""
        entrypoint = worker_ctx.entrypoint
        if not getattr(entrypoint, "traced", True):
            return
        parents = [parent for parent in worker_ctx.data.get("traceparents") or () if parent]
        single = worker_ctx.data.get("traceparent") or (parents[0] if len(set(parents)) == 1 else None)
        above = parse(single)
        if self._source.exports:
            started = self._source.tracer.start_span(
                f"{worker_ctx.service_name}.{entrypoint.method_name}",
                context=_under(above),
                kind=_kind(entrypoint, parents),
                links=_links(parents) if single is None else [],
                attributes=_attributes(worker_ctx, parents),
            )
        else:
            started = _ids_only(above)
        token = otel_context.attach(trace.set_span_in_context(started))
        worker_ctx.running_span = started, token
        about = started.get_span_context()
        worker_ctx.data["traceparent"] = _traceparent(about)
        chassis_logging.bind_worker(trace_id=f"{about.trace_id:032x}")

    def worker_result(self, worker_ctx: Any, result: Any = None, exc_info: Any = None) -> None:
        """End the worker's span; an error that is not simply an answer marks it as failed."""
        started, token = getattr(worker_ctx, "running_span", (None, None))
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
        return self._source.tracer


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
