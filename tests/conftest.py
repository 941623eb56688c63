"""Fixtures for every test: private nodes, fresh databases and virtual hosts, the whole system as real processes.

Unit and model tests use none of them and need nothing running.
"""

from __future__ import annotations

# First of all: without it Nameko's containers hang under pytest.
import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    import eventlet

    eventlet.monkey_patch()

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from tests.harness.client import Client
from tests.harness.databases import Databases
from tests.harness.folders import session_folder
from tests.harness.room import make_room
from tests.harness.settings import FAST
from tools import bng, olt, packages, rabbit
from tools.nodes import Nodes
from tools.paths import ROOT
from tools.system import System

# How long an example takes says more of the machine than of what is tested.
settings.register_profile(
    "patient", parent=settings(), deadline=None,
    suppress_health_check=[*settings().suppress_health_check, HealthCheck.too_slow],
)  # fmt: skip
settings.load_profile("patient")

# Playwright does not go together with what is done above; tests/browser/conftest.py says so, too.
collect_ignore = ["browser"]


def pytest_report_header() -> str:
    """Where the rest is."""
    return "browser tests: not in this run, which eventlet has patched; make test-browser"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first: unit, model, contract, then those that need nodes, drills last."""
    rank = {"unit": 0, "model": 1, "contract": 2, "integration": 3, "drills": 5}

    def key(item: pytest.Item) -> int:
        folder = Path(str(item.path)).relative_to(ROOT / "tests").parts[0]
        return rank.get(folder, 4)

    items.sort(key=key)


@pytest.fixture(scope="session")
def state_folder() -> Path:
    """An empty folder for everything the test session's processes write; logs and the last elements' state stay."""
    return session_folder()


@pytest.fixture(scope="session")
def nodes(state_folder: Path) -> Iterator[Nodes]:
    """Private PostgreSQL and RabbitMQ: `nodes.postgres`, `nodes.rabbit`, each with `.start/.stop/.process.kill()`."""
    running = Nodes(state_folder, durable=False, use_environment=False)
    packages.ensure(rabbit.SERVER, olt.SERVER, bng.SERVER)
    try:
        running.start()
        yield running
    finally:
        running.remove()


@pytest.fixture(scope="session")
def databases(nodes: Nodes) -> Databases:
    """Makes migrated databases quickly, by copying one migrated template a service."""
    return Databases(nodes)


@pytest.fixture
def database(databases: Databases) -> Iterator[Callable[[str], str]]:
    """`database("order")` -> URI of a fresh, migrated database of that service, dropped after the test."""
    made: list[str] = []

    def make(service: str) -> str:
        uri = databases.fresh(service)
        made.append(uri)
        return uri

    yield make
    for uri in made:
        databases.drop(uri)


@pytest.fixture
def vhost(nodes: Nodes) -> Iterator[str]:
    """The AMQP URI of a fresh virtual host, dropped after the test."""
    name = f"t-{uuid4().hex[:12]}"
    yield nodes.make_vhost(name)
    nodes.drop_vhost(name)


@pytest.fixture(scope="session")
def running_system(nodes: Nodes, state_folder: Path) -> Iterator[System]:
    """The six services and real network elements, started once; tests ask for `system`."""
    system = System(state_folder, nodes=nodes, overrides=FAST)
    try:
        system.up()
        yield system
    finally:
        system.down()


@pytest.fixture
def system(running_system: System) -> Iterator[System]:
    """The running system with everything up before and after the test, whatever the test stopped or froze."""
    running_system.start_all()
    make_room(running_system)
    yield running_system
    running_system.thaw_all()
    running_system.start_all()


@pytest.fixture
def client(system: System) -> Client:
    """An HTTP client of the gateway: `client.place(an_order())`, `client.wait_for_status(order_id, "completed")`."""
    return Client(system.url, staff_password=system.env["STAFF_PASSWORD"])
