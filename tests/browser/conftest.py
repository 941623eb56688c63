"""Fixtures of the browser tests: `make test-browser`, in a process of its own.

Playwright's sync API and eventlet's monkey-patching, which tests/conftest.py needs, do not go together in one process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from eventlet.patcher import is_monkey_patched
from playwright.sync_api import Browser, Page, expect

from tests.harness import browser_orders
from tests.harness.browser import PATIENCE_MS, Visitors
from tests.harness.browser_axe import check_axe
from tests.harness.client import Client, Json
from tests.harness.folders import session_folder
from tests.harness.settings import FAST
from tools import packages
from tools.browser import CHROMIUM, FONTS, chromium
from tools.nodes import Nodes
from tools.paths import ROOT
from tools.system import System

if is_monkey_patched("socket"):
    raise pytest.UsageError("browser tests run in a process of their own: make test-browser")

_VISITORS = pytest.StashKey[Visitors]()

# Five seconds else: too little for what several services do one after the other on a busy machine.
expect.set_options(timeout=PATIENCE_MS)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """A test whose pages misbehaved fails; of one that failed, pictures and traces stay."""
    try:
        result = yield
        if (visitors := pyfuncitem.stash.get(_VISITORS, None)) is not None:
            visitors.check()
        return result
    except BaseException:
        if (visitors := pyfuncitem.stash.get(_VISITORS, None)) is not None:
            kept = "\n".join(os.path.relpath(path, ROOT) for path in visitors.keep_evidence())
            pyfuncitem.add_report_section("call", "browser", kept)
        raise


@pytest.fixture(scope="session")
def state_folder() -> Path:
    """An empty folder for what the session's processes write, and for pictures and traces of failed tests."""
    return session_folder()


@pytest.fixture(scope="session")
def system(state_folder: Path) -> Iterator[System]:
    """The six services and real network elements, started once."""
    nodes = Nodes(state_folder, durable=False, use_environment=False)
    running = System(state_folder, nodes=nodes, overrides=FAST)
    packages.ensure(CHROMIUM, FONTS, *nodes.servers(), *(running.network.servers() if running.network else ()))
    try:
        nodes.start()
        running.up()
        yield running
    finally:
        running.down()
        nodes.remove()


@pytest.fixture
def client(system: System) -> Client:
    """An HTTP client of the gateway, for what other people do while somebody looks at a page."""
    return Client(system.url, staff_password=system.env["STAFF_PASSWORD"])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, started once."""
    with chromium() as running:
        yield running


@pytest.fixture
def base_url(system: System) -> str:
    """Where the pages are: the gateway."""
    return system.url


@pytest.fixture
def visitors(browser: Browser, base_url: str, state_folder: Path, request: pytest.FixtureRequest) -> Iterator[Visitors]:
    """Everybody who looks at the pages in this test."""
    name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    together = Visitors(browser, base_url, state_folder / "browser" / name)
    request.node.stash[_VISITORS] = together
    yield together
    together.leave()


@pytest.fixture
def new_page(visitors: Visitors) -> Callable[..., Page]:
    """`new_page("en", phone=True)`: a page in a fresh context; see Visitors.new_page."""
    return visitors.new_page


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A Korean page on a wide screen."""
    return new_page()


@pytest.fixture
def sign_in(system: System) -> Callable[[Page, str], None]:
    """`sign_in(page, "dispatcher")`: sign in as staff through the sign-in page."""

    def through_the_page(page: Page, username: str) -> None:
        page.goto("/signin")
        page.locator("[name=username]").fill(username)
        page.locator("[name=password]").fill(system.env["STAFF_PASSWORD"])
        page.locator("form:has([name=password]) [type=submit]").click()
        page.wait_for_url(lambda url: "/signin" not in url)

    return through_the_page


@pytest.fixture
def axe() -> Callable[[Page], None]:
    """`axe(page)`: the page has no accessibility violation that matters, in light and in dark."""
    return check_axe


@pytest.fixture
def an_activated_order() -> Callable[..., Json]:
    """`an_activated_order(client)`: see tests.harness.browser_orders."""
    return browser_orders.an_activated_order


@pytest.fixture
def a_scheduled_order() -> Callable[..., Json]:
    """`a_scheduled_order(client, technician="kim")`: see tests.harness.browser_orders."""
    return browser_orders.a_scheduled_order
