"""Traces: what every span promises, and every traceparent that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chassis import logging as chassis_logging
from chassis import tracing
from chassis.tracing import Tracing

TRACE_A, TRACE_B = "0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319d"
PARENT_A, PARENT_B = f"00-{TRACE_A}-b7ad6b7169203331-01", f"00-{TRACE_B}-b7ad6b7169203332-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    with tracing.exporting_to(exporter):
        yield exporter


def test_span_continues_its_traceparent_and_names_its_trace_in_the_log(spans: InMemorySpanExporter) -> None:
    assert tracing.current_traceparent() is None
    with tracing.span("publish", "producer", PARENT_A, service="order", order_id="o-1", nothing=None):
        traceparent = tracing.current_traceparent()
        assert traceparent is not None and traceparent.startswith(f"00-{TRACE_A}-") and traceparent != PARENT_A
        assert chassis_logging.bound("trace_id") == TRACE_A
    (span,) = spans.get_finished_spans()
    assert span.resource.attributes["service.name"] == "order"
    assert dict(span.attributes or {}) == {"order_id": "o-1"}
    assert chassis_logging.bound("trace_id") is None


@pytest.mark.parametrize(
    "broken",
    [None, "", "00-zz-zz-01", "x" * 5000, f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE_A}-{'0' * 16}-01", 7,
     f"{PARENT_A}-more", f"ff{PARENT_A[2:]}", PARENT_A.upper(), f"{PARENT_A}\n"],
)  # fmt: skip
def test_broken_traceparent_starts_a_new_trace(broken: Any) -> None:
    with tracing.span("s", traceparent=broken):
        assert tracing.current_trace_id() not in (None, TRACE_A)


@pytest.mark.parametrize("exported", [False, True])
@pytest.mark.parametrize("traceparent", [PARENT_A, f"cc{PARENT_A[2:]}-and-more-later", PARENT_A[:-2] + "00", None])
def test_ids_and_flags_are_the_same_whether_spans_are_exported_or_not(exported: bool, traceparent: str | None) -> None:
    """`traceparent` in HTTP headers and messages, as the SDK makes it: sampled unless its parent is not."""
    with ExitStack() as stack:
        if exported:
            stack.enter_context(tracing.exporting_to(InMemorySpanExporter()))
        with tracing.span("outer", traceparent=traceparent, service="flagged") as outer:
            first = tracing.current_traceparent() or ""
            with tracing.span("inner", service="flagged"):
                second = tracing.current_traceparent() or ""
        carried = tracing.carried_on(traceparent, "order_placed", service="flagged")
    assert outer.is_recording() is False  # over, or never recorded
    version, trace_id, span_id, flags = first.split("-")
    expected = {PARENT_A[:-2] + "00": "00", None: "03"}
    assert (version, flags) == ("00", expected.get(traceparent, "01"))
    assert trace_id == TRACE_A if traceparent else trace_id != TRACE_A
    assert second.split("-")[1] == trace_id and second.split("-")[2] != span_id and second[-2:] == flags
    assert carried is None if traceparent is None else (carried or "")[3:35] == TRACE_A and (carried or "") != first


def test_spans_are_real_again_where_somebody_begins_to_look() -> None:
    with tracing.span("unseen", service="looked at") as unseen:
        assert not unseen.is_recording()
    exporter = InMemorySpanExporter()
    with tracing.exporting_to(exporter), tracing.span("seen", service="looked at") as seen:
        assert seen.is_recording()
    with tracing.span("unseen", service="looked at"):
        pass
    assert [span.name for span in exporter.get_finished_spans()] == ["seen"]


def test_event_of_a_batch_carries_on_its_orders_own_trace(spans: InMemorySpanExporter) -> None:
    with tracing.span("batch", service="order"):
        batch_trace = tracing.current_trace_id()
        carried = tracing.carried_on(PARENT_B, "order_placed", service="order")
        without = tracing.carried_on(None, "order_placed")
    assert carried is not None and TRACE_B in carried and carried != PARENT_B
    assert without is not None and str(batch_trace) in without
    point = spans.get_finished_spans()[0]
    assert [format(link.context.trace_id, "032x") for link in point.links] == [batch_trace]


def a_worker(data: dict[str, Any], **entrypoint: Any) -> Any:
    class Context(SimpleNamespace):
        __hash__ = object.__hash__

    return Context(
        service_name="order", entrypoint=SimpleNamespace(method_name="on_events", **entrypoint), data=data, args=(),
        kwargs={}, call_id="c",
    )  # fmt: skip


def run(worker: Any, error: Exception | None = None) -> None:
    provider = Tracing()
    provider.container = SimpleNamespace(service_name="order", config={})
    provider.setup()
    provider.worker_setup(worker)
    provider.worker_result(worker, None, error and (type(error), error, None))


def test_worker_runs_in_a_child_span_and_hands_it_on(spans: InMemorySpanExporter) -> None:
    worker = a_worker({"traceparent": PARENT_A}, rpc_consumer=object())
    run(worker)
    (span,) = spans.get_finished_spans()
    assert (span.name, span.kind.name) == ("order.on_events", "SERVER")
    assert span.parent is not None and format(span.parent.trace_id, "032x") == TRACE_A
    assert span.context is not None and format(span.context.span_id, "016x") in worker.data["traceparent"]
    assert tracing.current_traceparent() is None


def test_worker_of_a_batch_links_to_every_cause(spans: InMemorySpanExporter) -> None:
    run(a_worker({"traceparents": [PARENT_A, PARENT_B, PARENT_A, "broken", None]}))
    (span,) = spans.get_finished_spans()
    assert span.parent is None and span.kind.name == "CONSUMER"
    assert {format(link.context.trace_id, "032x") for link in span.links} == {TRACE_A, TRACE_B}
    assert len(span.links) == 2


def test_worker_of_one_message_is_its_child(spans: InMemorySpanExporter) -> None:
    run(a_worker({"traceparents": [PARENT_B]}))
    (span,) = spans.get_finished_spans()
    assert span.parent is not None and format(span.parent.trace_id, "032x") == TRACE_B


def test_defect_fails_the_span_and_an_answer_does_not(spans: InMemorySpanExporter) -> None:
    class NotFound(Exception):
        http_status = 404

    run(a_worker({}), RuntimeError("defect"))
    run(a_worker({}), NotFound("no such order"))
    assert [span.status.status_code.name for span in spans.get_finished_spans()] == ["ERROR", "UNSET"]


def test_untraced_entrypoint_makes_no_span(spans: InMemorySpanExporter) -> None:
    run(a_worker({}, traced=False))
    assert spans.get_finished_spans() == ()
