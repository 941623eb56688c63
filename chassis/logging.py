"""Logs: one JSON object a line on stdout, for our own loggers and everybody else's.

Each line carries the service and, where known, order_id, message_id, request_id and trace_id. Phone numbers,
e-mail addresses, credentials and the values that pydantic refused are masked in the finished line, so no code path
can forget it.
Context lives in a contextvar, which greenlet keeps apart for each green thread.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TextIO

import structlog
from nameko.extensions import DependencyProvider

from chassis.settings import lookup, merged

_QUIET = {"amqp": logging.WARNING, "kombu": logging.WARNING, "urllib3": logging.WARNING, "opentelemetry": logging.ERROR}
_SECRET_KEYS = re.compile(r"password|passwd|secret|token|authorization|cookie|api_?key", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+%-]+@(?:[\w-]+\.)+[^\W\d_]{2,}")
_BEARER = re.compile(r"(?i)\bbearer\s+[\w.~+/=-]+")
# Each begins with plain text and looks back only then: a line that lacks that text is passed over quickly.
_URI_PASSWORD = re.compile(r"://([^\s:/@\"\\]*):[^\s/@\"\\]+@")
_PHONES = (
    # +82 10 1234 5678 and its like; then Korean mobile and landline numbers, with or without separators.
    re.compile(r"\+(?<!\w\+)\d{1,3}[-. ]?\(?\d(?:[-. ()]{0,2}\d){6,12}(?!\w)"),
    re.compile(r"01(?<!\w01)[016-9][-. ]?\d{3,4}[-. ]?\d{4}(?!\w)"),
    re.compile(r"0(?<!\w0)(?<!\d-0)(?:2|[3-7]\d)[-. )]{1,2}\d{3,4}[-. ]?\d{4}(?!\w)"),
)
# What pydantic says of a value it refuses holds the value itself: of its repr the first and the last 25 characters.
_REFUSED = re.compile(r"input_value=.{0,400}?, input_type=(?=\w+\])", re.DOTALL)
_VALUES = "chassis_values"
"""The attribute of a record that holds the keywords given to our own loggers."""

_service = ""
_context: ContextVar[Mapping[str, str]] = ContextVar("log_context", default=MappingProxyType({}))
_to_json = json.JSONEncoder(ensure_ascii=False, default=str).encode


def mask(text: str) -> str:
    """Return `text` with phone numbers, e-mail addresses, URI passwords, bearer tokens and refused values replaced."""
    if "input_value=" in text:
        text = _REFUSED.sub("input_value=[hidden], input_type=", text)
    text = _URI_PASSWORD.sub(r"://\1:[secret]@", text)
    if "bearer" in text.lower():
        text = _BEARER.sub("Bearer [secret]", text)
    if "@" in text:
        text = _EMAIL.sub("[e-mail]", text)
    for phone in _PHONES:
        text = phone.sub("[phone]", text)
    return text


@functools.lru_cache(maxsize=1000)
def _is_secret(key: str) -> bool:
    return _SECRET_KEYS.search(key) is not None


def service_name() -> str:
    """Return the service this green thread works for, or the one the process was configured for."""
    return bound("service") or _service or "unknown"


def _hand_over(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    """What structlog gives to the standard library: the event is the message, the keywords travel beside it."""
    about = {name: event.pop(name) for name in ("exc_info", "stack_info") if name in event}
    return (event.pop("event"),), {"extra": {_VALUES: event}, **about}


structlog.configure(
    processors=[structlog.stdlib.filter_by_level, structlog.stdlib.PositionalArgumentsFormatter(), _hand_over],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)


def get_logger(name: str) -> Any:
    """Return a structlog logger: `log.info("visit_held", order_id=...)`, keywords become JSON members."""
    return structlog.stdlib.get_logger(name)


class _JsonLines(logging.Formatter):
    """A record, ours or anybody's, as one masked line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The finished line, without its end."""
        line: dict[str, Any] = {"service": _service, **_context.get(), **record.__dict__.get(_VALUES, {})}
        for key in line:
            if _is_secret(key):
                line[key] = "[secret]"
        line["event"] = record.getMessage()
        line["logger"] = record.name
        line["level"] = record.levelname.lower()
        line["timestamp"] = f"{datetime.fromtimestamp(record.created, UTC).isoformat(timespec='microseconds')[:-6]}Z"
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return mask(_to_json(line))


def json_formatter() -> logging.Formatter:
    """Return the formatter; a LOGGING dictionary can name it: `{"()": "chassis.logging.json_formatter"}`."""
    return _JsonLines()


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
    # What no line shows need not be found out for each: the thread, the process, the place in the code ("Optimization"
    # in the standard library's documentation of logging).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # type: ignore[attr-defined]
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
    before = _context.set(_with(values))
    try:
        yield
    finally:
        _context.reset(before)


def bind_worker(**values: Any) -> None:
    """Like `bind`, for the rest of this green thread: a Nameko worker has one of its own."""
    _context.set(_with(values))


def bound(name: str) -> str | None:
    """Return what this green thread's log context holds under `name`."""
    return _context.get().get(name)


def _with(values: dict[str, Any]) -> Mapping[str, str]:
    return {**_context.get(), **{key: str(value) for key, value in values.items() if value is not None}}


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
        self._logger = get_logger(self.container.service_name)

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
        return self._logger
