"""Every Prometheus metric of the chassis, defined once. Labels in call order; durations in seconds.

Batch handlers:  BATCH_SIZE, BATCH_DURATION (service, handler); BATCH_OUTCOME (service, handler, outcome)
                 outcome: "done" | "split"
                 RETRIES, PARKED (service, handler); PARKED_NOW (service, gauge); INBOX_DUPLICATES (service)
Outbox:          OUTBOX_PUBLISHED (service); OUTBOX_UNSENT, OUTBOX_LAG (service, gauges); RELAY_ERRORS (service)
Pruning:         PRUNED (service, table): rows deleted; PRUNE_LAST (service, gauge): when it was last done, Unix time
                 PRUNE_ERRORS (service)
RPC server:      RPC_SERVER_DURATION (service, method, outcome), outcome: "ok" or the error's name
                 RPC_SERVER_REFUSED (service, reason), reason: "late"
RPC client:      RPC_CLIENT_DURATION (service, target, method, outcome), outcome: "ok" or the failure's name
                 BREAKER_STATE (service, target): 0 closed, 1 half-open, 2 open -> `set_breaker_state`
HTTP:            HTTP_DURATION (service, method, route, status); HTTP_OPEN (service, gauge)
Hints:           HINTS_DROPPED (service): change hints that were not sent
Process:         HUB_LAG (service): how late the event loop's last tick came

Use: `metrics.BATCH_SIZE.labels(service, handler).observe(n)`. `exposition()` renders them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)

BATCH_SIZE = Histogram("oss_batch_size", "Messages handled together", ["service", "handler"], buckets=_SIZES)
BATCH_DURATION = Histogram(
    "oss_batch_duration_seconds", "Time to handle one batch", ["service", "handler"], buckets=_FAST
)
BATCH_OUTCOME = Counter("oss_batch_outcome", "Batches by outcome", ["service", "handler", "outcome"])
RETRIES = Counter("oss_message_retries", "Messages sent to a retry queue", ["service", "handler"])
PARKED = Counter("oss_messages_parked", "Messages whose handler gave up", ["service", "handler"])
PARKED_NOW = Gauge("oss_parked_now", "Messages that wait for an operator", ["service"])
INBOX_DUPLICATES = Counter("oss_inbox_duplicates", "Messages skipped as seen before", ["service"])

OUTBOX_PUBLISHED = Counter("oss_outbox_published", "Events confirmed by the broker", ["service"])
OUTBOX_UNSENT = Gauge("oss_outbox_unsent", "Events waiting in the outbox", ["service"])
OUTBOX_LAG = Gauge("oss_outbox_lag_seconds", "Age of the oldest unsent event", ["service"])
RELAY_ERRORS = Counter("oss_outbox_relay_errors", "Relay rounds that failed", ["service"])

PRUNED = Counter("oss_pruned_rows", "Rows deleted because of their age", ["service", "table"])
PRUNE_LAST = Gauge("oss_prune_last_run_timestamp_seconds", "When this process last pruned", ["service"])
PRUNE_ERRORS = Counter("oss_prune_errors", "Runs of the pruner that failed", ["service"])

RPC_SERVER_DURATION = Histogram(
    "oss_rpc_server_duration_seconds", "Time to answer a call", ["service", "method", "outcome"], buckets=_FAST
)
RPC_SERVER_REFUSED = Counter("oss_rpc_server_refused", "Calls refused unserved", ["service", "reason"])
RPC_CLIENT_DURATION = Histogram(
    "oss_rpc_client_duration_seconds",
    "Time a caller waited",
    ["service", "target", "method", "outcome"],
    buckets=_FAST,
)
BREAKER_STATE = Gauge("oss_breaker_state", "0 closed, 1 half-open, 2 open", ["service", "target"])

HTTP_DURATION = Histogram(
    "oss_http_duration_seconds", "Time to answer a request", ["service", "method", "route", "status"], buckets=_FAST
)
HTTP_OPEN = Gauge("oss_http_connections", "Open HTTP connections", ["service"])

HINTS_DROPPED = Counter("oss_change_hints_dropped", "Change hints that were not sent", ["service"])

HUB_LAG = Gauge("oss_hub_lag_seconds", "How late the event loop's last tick came", ["service"])

_BREAKER_NUMBERS = {"closed": 0, "half-open": 1, "open": 2}


def set_breaker_state(service: str, target: str, state: str) -> None:
    """Record a breaker's state: "closed", "half-open" or "open"; anything else raises KeyError."""
    BREAKER_STATE.labels(service, target).set(_BREAKER_NUMBERS[state])


@contextmanager
def timed(histogram: Histogram) -> Iterator[None]:
    """Observe the seconds the block took, also where it raised."""
    started = perf_counter()
    try:
        yield
    finally:
        histogram.observe(perf_counter() - started)


def exposition() -> tuple[bytes, str]:
    """Return every metric of this process in Prometheus' text format, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
