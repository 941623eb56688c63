"""Fixtures: one activation, on simulated elements, for all tests of a module. Each test leaves it like new."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from element_sim.client import SimClient
from tests.harness.activation import ActivationUnderTest, activation_under_test, own_nodes
from tests.harness.databases import Databases
from tests.harness.elements import SimProcess, simulator
from tools.nodes import Nodes

__all__ = ["activation", "process", "shared", "sim"]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimProcess]:
    """The simulator of the elements."""
    with simulator(tmp_path_factory.mktemp("elements")) as running:
        yield running


@pytest.fixture
def sim(process: SimProcess) -> SimClient:
    """What a test looks at the elements with, and makes them misbehave."""
    return process.client


@pytest.fixture(scope="module")
def shared(databases: Databases, nodes: Nodes, process: SimProcess) -> Iterator[ActivationUnderTest]:
    """The running service; a module may have another of this name."""
    with own_nodes(databases, nodes) as uris, activation_under_test(*uris, process.client, process.port) as running:
        yield running


@pytest.fixture
def activation(shared: ActivationUnderTest) -> Iterator[ActivationUnderTest]:
    """The running service, like new."""
    yield shared
    shared.forget()
