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
from contextvars import Context
from functools import cached_property
from typing import Any

import eventlet
from eventlet.event import Event
from eventlet.greenpool import GreenPool
from nameko.containers import ServiceContainer, WorkerContext
from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import DependencyProvider

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


class WorkerPool(GreenPool):
    """Nameko's bound on the workers of a service, which also counts those that work in the greenlet of who asks."""

    no_coros_running: Event

    def work_here(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function` in this greenlet, once a worker is free, and return what it returns."""
        here = eventlet.getcurrent()
        self.sem.acquire()
        if self.no_coros_running.ready():  # else somebody may wait for the end of who comes after the last one, too
            self.no_coros_running = Event()
        self.coroutines_running.add(here)
        try:
            return function(*args)
        finally:
            self._spawn_done(here)


class Container(ServiceContainer):
    """What `nameko run` starts; see the module's docstring."""

    def __init__(self, service_cls: type, config: dict[str, Any]) -> None:
        super().__init__(service_cls, config)
        self._worker_pool = WorkerPool(size=self.max_workers)
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

    def carry_out(
        self, entrypoint: Any, args: Any, kwargs: Any, context_data: Any = None, handle_result: Any = None
    ) -> tuple[Any, Any]:
        """What `spawn_worker` does, but in this greenlet: return the worker's `(result, exc_info)` when it has ended.

        For whoever would only wait for it: a greenlet more, and being woken by it, cost as much as a small worker. Its
        context variables are its own. Raises ContainerBeingKilled.
        """
        if self._being_killed:
            raise ContainerBeingKilled
        worker_ctx = WorkerContext(self, self.service_cls(), entrypoint, args, kwargs, data=context_data)
        found: tuple[Any, Any] = self._worker_pool.work_here(Context().run, self._here, worker_ctx, handle_result)
        return found

    def _here(self, worker_ctx: Any, handle_result: Any) -> tuple[Any, Any]:
        self._worker_threads[worker_ctx] = eventlet.getcurrent()
        try:
            return self._run_worker(worker_ctx, handle_result)
        except Exception as error:
            # Not of the service's method: an extension is broken. From another greenlet, because it ends this one.
            log.critical("%s: a worker ended with an error", self.service_name, exc_info=True)
            eventlet.spawn_n(self.kill, sys.exc_info())
            raise ContainerBeingKilled from error
        finally:
            del self._worker_threads[worker_ctx]

    def _run_worker(self, worker_ctx: Any, handle_result: Callable[..., Any] | None) -> tuple[Any, Any]:
        """Run it and return its `(result, exc_info)`."""
        answered: tuple[Any, Any] | None = None

        def answer(ctx: Any, result: Any, exc_info: Any) -> Any:
            nonlocal answered
            answered = result, exc_info
            if handle_result is not None:
                answered = handle_result(ctx, result, exc_info)
            return answered

        try:
            self._work(worker_ctx, answer)
        except eventlet.Timeout as escaped:
            # It is no Exception: Nameko would neither answer nor log it, and whoever waits would wait for ever.
            log.exception("a timeout escaped from %s", worker_ctx.entrypoint.method_name)
            if answered is None:
                died = WorkerDied(f"{worker_ctx.entrypoint.method_name}: {escaped!r}")
                answer(worker_ctx, None, (WorkerDied, died, escaped.__traceback__))
        assert answered is not None
        return answered

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

    @cached_property
    def _providers_with(self) -> dict[str, list[Any]]:
        """By the name of what Nameko calls around a worker: the dependency providers that have something to do then."""
        return {
            name: [p for p in self.dependencies if getattr(type(p), name) is not getattr(DependencyProvider, name)]
            for name in ("worker_setup", "worker_result", "worker_teardown")
        }

    def _worker_setup(self, worker_ctx: Any) -> None:
        for provider in self._providers_with["worker_setup"]:
            provider.worker_setup(worker_ctx)

    def _worker_result(self, worker_ctx: Any, result: Any, exc_info: Any) -> None:
        for provider in self._providers_with["worker_result"]:
            provider.worker_result(worker_ctx, result, exc_info)

    def _worker_teardown(self, worker_ctx: Any) -> None:
        for provider in self._providers_with["worker_teardown"]:
            provider.worker_teardown(worker_ctx)

    def _handle_managed_thread_exited(self, gt: Any, extension: Any) -> None:
        try:
            super()._handle_managed_thread_exited(gt, extension)
        except eventlet.Timeout:
            log.critical("%s: thread %r ended with a timeout", self.service_name, extension, exc_info=True)
            self.kill(sys.exc_info())
