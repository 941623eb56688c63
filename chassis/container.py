"""Nameko's container with an end that can be relied on. Every config names it as SERVICE_CONTAINER_CLS.

A container stops once, however often it is told to. One that dies of an error takes its process along, so that a
supervisor starts a new one. A timeout that escapes from a service method is that method's failure, nothing worse.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import eventlet
from eventlet.event import Event
from nameko.containers import ServiceContainer

log = logging.getLogger(__name__)

DEATH_TAKES_AT_MOST_S = 10.0
YOUNG_OBJECTS = 5000
"""So many new objects that may be part of a cycle are looked through at a time (Python's own figure is 700)."""
EXIT_CODE = 70
"""EX_SOFTWARE in sysexits.h"""


class WorkerDied(Exception):
    """The worker ended without a result, because a timeout escaped from it."""


def _spare_what_stays() -> None:
    """Once a process: the collector need not look again and again at what is there for the whole of its life.

    Modules, classes and compiled statements are some hundred thousand objects; a request leaves few cycles or none.
    """
    if gc.get_freeze_count() == 0:
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


class Container(ServiceContainer):
    """What `nameko run` starts; see the module's docstring."""

    def __init__(self, service_cls: type, config: dict[str, Any]) -> None:
        super().__init__(service_cls, config)
        self._start_over: Event | None = None
        self._stop_over: Event | None = None

    def start(self) -> None:
        """Start all extensions."""
        self._start_over = Event()
        try:
            super().start()
            _spare_what_stays()
        finally:
            self._start_over.send(None)

    def stop(self) -> None:
        """Stop gracefully. A second call, or one that comes while starting, waits for the first, or for the start."""
        if self._stop_over is not None:
            self._stop_over.wait()
            return
        self._stop_over = Event()
        try:
            if self._start_over is not None:
                self._start_over.wait()
            super().stop()
        finally:
            self._stop_over.send(None)

    def kill(self, exc_info: Any = None) -> None:
        """End at once; after an error within `DEATH_TAKES_AT_MOST_S`, whatever an extension waits for."""
        if exc_info is None or self._being_killed:
            super().kill(exc_info)
            return
        last_resort = eventlet.spawn_after(DEATH_TAKES_AT_MOST_S, self._end_process)
        try:
            super().kill(exc_info)
        finally:
            last_resort.cancel()

    def _end_process(self) -> None:
        log.critical("%s does not die in time: ending the process", self.service_name)
        os._exit(EXIT_CODE)

    def _run_worker(self, worker_ctx: Any, handle_result: Callable[..., Any] | None) -> None:
        answered = False

        def answer(ctx: Any, result: Any, exc_info: Any) -> Any:
            nonlocal answered
            answered = True
            return (result, exc_info) if handle_result is None else handle_result(ctx, result, exc_info)

        try:
            self._work(worker_ctx, answer)
        except eventlet.Timeout as escaped:
            # It is no Exception: Nameko would neither answer nor log it, and whoever waits would wait for ever.
            log.exception("a timeout escaped from %s", worker_ctx.entrypoint.method_name)
            if not answered:
                died = WorkerDied(f"{worker_ctx.entrypoint.method_name}: {escaped!r}")
                answer(worker_ctx, None, (WorkerDied, died, escaped.__traceback__))

    def _work(self, worker_ctx: Any, answer: Callable[..., Any]) -> None:
        """What Nameko's `_run_worker` does, without the texts for debugging that it composes for every worker."""
        self._inject_dependencies(worker_ctx)
        self._worker_setup(worker_ctx)
        result = exc_info = None
        try:
            method = getattr(worker_ctx.service, worker_ctx.entrypoint.method_name)
            result = method(*worker_ctx.args, **worker_ctx.kwargs)
        except Exception as error:
            exc_info = sys.exc_info()
            if not isinstance(error, worker_ctx.entrypoint.expected_exceptions):
                log.exception("error handling worker %s: %s", worker_ctx, error)
        result, exc_info = answer(worker_ctx, result, exc_info)
        self._worker_result(worker_ctx, result, exc_info)
        del exc_info  # It holds this frame, which holds it: without the cycle all of it is freed now.
        self._worker_teardown(worker_ctx)

    def _handle_managed_thread_exited(self, gt: Any, extension: Any) -> None:
        try:
            super()._handle_managed_thread_exited(gt, extension)
        except eventlet.Timeout:
            log.critical("%s: thread %r ended with a timeout", self.service_name, extension, exc_info=True)
            self.kill(sys.exc_info())
