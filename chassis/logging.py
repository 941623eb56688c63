"""Logs: one JSON object a line on stdout, for our own loggers and everybody else's.

Each line carries the service and, where known, order_id, message_id, request_id and trace_id. Phone numbers,
e-mail addresses and credentials are masked in the finished line, so no code path can forget it.
Context lives in contextvars, which greenlet keeps apart for each green thread.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, TextIO

import structlog
from nameko.extensions import DependencyProvider
from structlog.contextvars import bind_contextvars, bound_contextvars, get_contextvars, merge_contextvars
from structlog.stdlib import ProcessorFormatter

from chassis.settings import lookup, merged

_QUIET = {"amqp": logging.WARNING, "kombu": logging.WARNING, "urllib3": logging.WARNING, "opentelemetry": logging.ERROR}
_SECRET_KEYS = re.compile(r"password|passwd|secret|token|authorization|cookie|api_?key", re.IGNORECASE)
_MASKS = (
    (re.compile(r"://([^\s:/@\"\\]*):[^\s/@\"\\]+@"), r"://\1:[secret]@"),
    (re.compile(r"(?i)\bbearer\s+[\w.~+/=-]+"), "Bearer [secret]"),
    (re.compile(r"[\w.+%-]+@(?:[\w-]+\.)+[^\W\d_]{2,}"), "[e-mail]"),
    # +82 10 1234 5678 and its like; then Korean mobile and landline numbers, with or without separators.
    (re.compile(r"(?<!\w)\+\d{1,3}[-. ]?\(?\d(?:[-. ()]{0,2}\d){6,12}(?!\w)"), "[phone]"),
    (re.compile(r"(?<!\w)01[016-9][-. ]?\d{3,4}[-. ]?\d{4}(?!\w)"), "[phone]"),
    (re.compile(r"(?<!\w)(?<!\d-)0(?:2|[3-7]\d)[-. )]{1,2}\d{3,4}[-. ]?\d{4}(?!\w)"), "[phone]"),
)

_service = ""


def mask(text: str) -> str:
    """Return `text` with phone numbers, e-mail addresses, URI passwords and bearer tokens replaced."""
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return text


def _add_service(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.setdefault("service", _service)
    return event


def _hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in event:
        if _SECRET_KEYS.search(key):
            event[key] = "[secret]"
    return event


def _mask_line(_logger: Any, _method: str, line: Any) -> str:
    return mask(line if isinstance(line, str) else str(line))


_SHARED: list[Any] = [
    merge_contextvars,
    _add_service,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
]

structlog.configure(
    processors=[structlog.stdlib.filter_by_level, structlog.stdlib.PositionalArgumentsFormatter(), *_SHARED,
                ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)


def service_name() -> str:
    """Return the service this green thread works for, or the one the process was configured for."""
    return bound("service") or _service or "unknown"


def get_logger(name: str) -> Any:
    """Return a structlog logger: `log.info("visit_held", order_id=...)`, keywords become JSON members."""
    return structlog.stdlib.get_logger(name)


def json_formatter() -> logging.Formatter:
    """Return the formatter; a LOGGING dictionary can name it: `{"()": "chassis.logging.json_formatter"}`."""
    render = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    return ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[ProcessorFormatter.remove_processors_meta, _hide_secrets, render, _mask_line],
    )


class _Stdout(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to whatever sys.stdout is at that moment, as logging's last-resort handler does."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stdout


class _ExpectedErrors(logging.Filter):
    """Nameko reports an error that is an answer (a 404, a conflict) as a warning with a traceback: drop that."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("(expected) error handling worker")


_expected_errors = _ExpectedErrors()


def configure(service_name: str, level: str | int = "INFO") -> None:
    """Send every logger's records to stdout as JSON. May be called again; never disables an existing logger.

    Replaces the root's console handlers, because `nameko run` installs a plain one before it imports us;
    handlers that write elsewhere stay. Raises ValueError for an unknown `level`.
    """
    global _service
    _service = service_name
    root = logging.getLogger()
    root.setLevel(level.upper() if isinstance(level, str) else level)
    for handler in list(root.handlers):
        if type(handler) in (logging.StreamHandler, _Stdout):
            root.removeHandler(handler)
    handler = _Stdout()
    handler.setFormatter(json_formatter())
    root.addHandler(handler)
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(quiet)
    logging.getLogger("nameko.containers").addFilter(_expected_errors)  # adding it twice is one filter


@contextmanager
def bind(**values: Any) -> Iterator[None]:
    """Put `values` (order_id=..., message_id=...) on every log line of this green thread inside the block."""
    with bound_contextvars(**{key: str(value) for key, value in values.items() if value is not None}):
        yield


def bind_worker(**values: Any) -> None:
    """Like `bind`, for the rest of this green thread: a Nameko worker has one of its own."""
    bind_contextvars(**{key: str(value) for key, value in values.items() if value is not None})


def bound(name: str) -> str | None:
    """Return what this green thread's log context holds under `name`."""
    value = get_contextvars().get(name)
    return None if value is None else str(value)


def _about(worker_ctx: Any) -> dict[str, Any]:
    """The order a call names, or the one message of a batch: a worker has its own context, not its caller's."""
    first = worker_ctx.args[0] if worker_ctx.args else None
    message = first[0] if isinstance(first, list | tuple) and len(first) == 1 else None
    return {
        "order_id": worker_ctx.kwargs.get("order_id") or getattr(message, "order_id", None),
        "message_id": getattr(message, "message_id", None),
    }


class Logging(DependencyProvider):
    """Configures logging at start and gives each worker's lines their service, handler and ids."""

    def setup(self) -> None:
        """Configure from the setting LOG_LEVEL (default INFO)."""
        configure(self.container.service_name, lookup(merged(self.container.config), "LOG_LEVEL", "INFO"))

    def worker_setup(self, worker_ctx: Any) -> None:
        """Bind what this worker is about: its service, its handler, and the order its call names."""
        bind_worker(
            service=worker_ctx.service_name,
            handler=worker_ctx.entrypoint.method_name,
            request_id=worker_ctx.data.get("request_id"),
            **_about(worker_ctx),
        )

    def get_dependency(self, worker_ctx: Any) -> Any:
        """Return this service's logger: `self.logging.info("event", key=value)`."""
        return get_logger(worker_ctx.service_name)
