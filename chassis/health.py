"""Health: who is alive, who is ready, and the three paths that say so: /livez, /readyz, /metrics.

Extensions register named checks; nobody else needs to know them. The paths are answered without a worker, so
that a service whose workers are all busy is still seen to be alive.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import eventlet
import sqlalchemy as sa
from eventlet.semaphore import Semaphore
from nameko.extensions import DependencyProvider
from sqlalchemy.pool import NullPool
from werkzeug.routing import Rule
from werkzeug.wrappers import Response

from chassis import metrics, outbox, parking
from chassis.logging import get_logger
from chassis.web import json_response
from chassis.web_server import WebServer

CHECK_TIMEOUT_S = 2.0
REMEMBERED_S = 1.0
BEAT_S = 1.0
DEAD_HUB_S = 30.0

Check = Callable[[], Any]
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    ready: Check | None
    live: Check | None
    info: Check | None


class Health:
    """The checks of one container. `outcomes("ready")` runs those of that kind."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self.queues: list[str] = []

    def register(self, entry: _Entry) -> None:
        """Add a check; one of the same name is replaced."""
        self._entries[entry.name] = entry

    def outcomes(self, kind: str) -> dict[str, str]:
        """Run the checks of `kind` ("ready" or "live"): by name, "ok" or what is wrong."""
        checks = {entry.name: getattr(entry, kind) for entry in self._entries.values()}
        return {name: outcome(name, check) for name, check in checks.items() if check is not None}

    def info(self) -> dict[str, Any]:
        """What the extensions say about themselves, by name."""
        return {entry.name: entry.info() for entry in list(self._entries.values()) if entry.info is not None}


def health_of(container: Any) -> Health:
    """Return the container's health, made at the first use. A weak proxy of the container will do."""
    container = container.interface  # the container itself, also where an extension holds a proxy of it
    if not hasattr(container, "health"):
        container.health = Health()
    found: Health = container.health
    return found


def register_check(
    container: Any, name: str, ready: Check | None = None, live: Check | None = None, info: Check | None = None
) -> None:
    """Register checks under `name` (call it in an extension's `setup`).

    ready, live: return True or None where all is well, else False or text saying what is wrong; raising is
    not well; each has two seconds. `live` means: only a restart helps. info: a value for operators.
    """
    health_of(container).register(_Entry(name, ready, live, info))


def outcome(name: str, check: Check) -> str:
    """Run one check within its time: "ok", or what is wrong. The error itself goes to the log, not to strangers."""
    limit = eventlet.Timeout(CHECK_TIMEOUT_S)
    try:
        said = check()
    except eventlet.Timeout as raised:
        if raised is not limit:
            raise
        return f"no answer within {CHECK_TIMEOUT_S:g} s"
    except Exception as error:
        _log.warning("health_check_failed", check=name, error=str(error))
        return f"failed: {type(error).__name__}"
    finally:
        limit.cancel()
    if said is None or said is True:
        return "ok"
    return said if isinstance(said, str) else "not well"


class _Probe:
    """One path, registered with the web server like an entrypoint, but answered without a worker."""

    def __init__(self, url: str, answer: Callable[[], Response], quiet: bool = True) -> None:
        self.url, self._answer, self._quiet = url, answer, quiet

    def get_url_rule(self) -> Rule:
        return Rule(self.url, methods=["GET"])

    def handle_request(self, request: Any) -> Response:
        request.environ["chassis.quiet"] = self._quiet  # probes come every second: no access line
        return self._answer()


class HealthEndpoints(DependencyProvider):
    """Serves /livez, /readyz and /metrics, watches the container, the event loop and the database.

    `ignores` on the service class (`readiness_ignores`) names checks that are shown but do not make it unready:
    the gateway accepts orders without a broker.
    """

    server = WebServer()

    def setup(self) -> None:
        """Register the paths and the checks of the process itself."""
        self._ignored = frozenset(getattr(self.container.service_cls, "readiness_ignores", ()))
        self._remembered: dict[str, tuple[float, dict[str, str]]] = {}
        self._one_at_a_time = Semaphore()
        self._beat_at = time.monotonic()
        self._probes = [
            _Probe("/livez", lambda: self._answer("live")),
            _Probe("/readyz", lambda: self._answer("ready")),
            _Probe("/metrics", self._metrics),
        ]
        for probe in self._probes:
            self.server.register_provider(probe)
        register_check(self.container, "container", live=self._container_lives, ready=self._container_lives)
        register_check(self.container, "event-loop", live=self._hub_turns)
        self._watch_database()

    def start(self) -> None:
        """Start the heartbeat of the event loop; by now every extension knows its queues."""
        health_of(self.container).queues = sorted(_queue_names(self.container.interface))
        self._gt = self.container.spawn_managed_thread(self._beat, identifier="hub heartbeat")

    def stop(self) -> None:
        """Leave the web server; the last to go closes it."""
        self._gt.kill()
        for probe in self._probes:
            self.server.unregister_provider(probe)

    def get_dependency(self, worker_ctx: Any) -> Health:
        """Return the container's health."""
        return health_of(self.container)

    def _answer(self, kind: str) -> Response:
        checks = self._checked(kind)
        ignored = self._ignored if kind == "ready" else frozenset()
        failing = {name: said for name, said in checks.items() if said != "ok" and name not in ignored}
        body = {"status": "failing" if failing else "ok", "service": self.container.service_name, "checks": checks}
        return json_response(body, 503 if failing else 200, {"Cache-Control": "no-store"})

    def _checked(self, kind: str) -> dict[str, str]:
        """The outcomes of the last second are good enough, so that strangers cannot make us work."""
        with self._one_at_a_time:
            at, checks = self._remembered.get(kind, (float("-inf"), {}))
            if time.monotonic() - at > REMEMBERED_S:
                checks = health_of(self.container).outcomes(kind)
                self._remembered[kind] = (time.monotonic(), checks)
            return checks

    def _container_lives(self) -> str | None:
        dying = self.container._being_killed or self.container._died.ready()
        return "the container is being killed" if dying else None

    def _hub_turns(self) -> str | None:
        silent_s = time.monotonic() - self._beat_at
        return f"the event loop's last tick was {silent_s:.0f} s ago" if silent_s > DEAD_HUB_S else None

    def _beat(self) -> None:
        lag = metrics.HUB_LAG.labels(self.container.service_name)
        while True:
            due = time.monotonic() + BEAT_S
            eventlet.sleep(BEAT_S)
            self._beat_at = time.monotonic()
            lag.set(max(0.0, self._beat_at - due))

    def _watch_database(self) -> None:
        self._stores = [found for found in self.container.dependencies if hasattr(found, "declarative_base")]
        self._engine: sa.Engine | None = None
        if self._stores:
            register_check(self.container, "database", ready=self._database_answers)

    def _connect(self) -> sa.Connection:
        """Not through the service's pool: a pool that is all in use is load, not a dead database."""
        if self._engine is None:
            self._engine = _probe_engine(self._stores[0].engine, self.container.service_name)
        return self._engine.connect()

    def _database_answers(self) -> None:
        with self._connect() as connection:
            connection.execute(sa.text("select 1"))

    def _metrics(self) -> Response:
        """All metrics; those that are counted in the database are counted now, at most once a second."""
        with self._one_at_a_time:
            at, _ = self._remembered.get("metrics", (float("-inf"), {}))
            if any(hasattr(store, "tables") for store in self._stores) and time.monotonic() - at > REMEMBERED_S:
                self._remembered["metrics"] = (time.monotonic(), {"count": outcome("metrics", self._count_waiting)})
        body, content_type = metrics.exposition()
        return Response(body, content_type=content_type)

    def _count_waiting(self) -> None:
        service = self.container.service_name
        with self._connect() as connection:
            waiting, parked = outbox.lag(connection), parking.count(connection)
        metrics.OUTBOX_UNSENT.labels(service).set(waiting["unsent"])
        metrics.OUTBOX_LAG.labels(service).set(waiting["oldest_age_s"] or 0)
        metrics.PARKED_NOW.labels(service).set(parked)


def _queue_names(container: Any) -> set[str]:
    """The broker queues of a container: those of RPC, and those of a batch handler's topology."""
    names = set()
    for extension in container.extensions:
        name = getattr(getattr(extension, "queue", None), "name", None)
        if isinstance(name, str):
            names.add(name)
        topology = getattr(extension, "topology", None)
        if topology is not None:
            names |= {topology.work, topology.parked}
            names |= {topology.retry(attempt) for attempt in range(1, len(topology.delays_s) + 1)}
    return names


def _probe_engine(engine: sa.Engine, service: str) -> sa.Engine:
    connect_args: dict[str, Any] = {}
    if engine.dialect.name == "postgresql":
        connect_args = {
            "application_name": f"{service}-health",
            "connect_timeout": int(CHECK_TIMEOUT_S),
            "target_session_attrs": "read-write",
        }
    return sa.create_engine(engine.url, poolclass=NullPool, connect_args=connect_args, hide_parameters=True)
