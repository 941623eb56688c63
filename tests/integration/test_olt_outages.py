"""Promises about an access node that dies, hangs or does not answer: afterwards it is known what stands there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic

import eventlet
import pytest

from activation_svc.driver import ElementUnreachable
from activation_svc.olt import NetconfOlt
from tests.harness.olt import (
    a_line,
    access_node,
    address_of,
    clear,
    driver_of,
    in_s,
    just_before,
    port,
    put,
    stranger_on,
    truth,
)
from tests.harness.tcp_proxy import TcpProxy
from tools.olt import Olt
from tools.waiting import wait_until

EDIT, COMMIT, CONFIRM, UNLOCK = "<nc:edit-config", "<nc:confirmed/>", "<nc:commit/>", "<nc:unlock"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Olt]:
    with access_node(tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture
def node(shared: Olt) -> Iterator[Olt]:
    yield shared
    if shared.process.alive:
        shared.thaw()
    shared.start()
    with driver_of(shared) as driver:
        clear(driver)


@pytest.fixture
def proxy(node: Olt) -> Iterator[TcpProxy]:
    with TcpProxy(node.port) as between:
        yield between


@pytest.fixture
def driver(node: Olt, proxy: TcpProxy) -> Iterator[NetconfOlt]:
    with driver_of(node, proxy.port) as made:
        yield made


STANDS_STILL_S = 1.0


class Ticker:
    """Other work in this process, due every 5 ms; `worst_s` is the longest it had to wait.

    What waits for a node here waits longer than a second. A busy machine may stand still for some tenths of a second.
    """

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._greenlet = eventlet.spawn(self._tick)

    def _tick(self) -> None:
        while True:
            began = monotonic()
            eventlet.sleep(0.005)
            self.worst_s = max(self.worst_s, monotonic() - began - 0.005)

    def stop(self) -> float:
        self._greenlet.kill()
        return self.worst_s


@pytest.fixture
def ticker() -> Iterator[Ticker]:
    ticking = Ticker()
    yield ticking
    ticking.stop()


def is_unknown(error: object) -> bool:
    return isinstance(error, ElementUnreachable)


@pytest.mark.parametrize("moment", [EDIT, COMMIT, CONFIRM])
def test_a_node_killed_before_the_confirmation_has_nothing_of_it(
    node: Olt, driver: NetconfOlt, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    assert driver.write([put(1, a_line())], in_s(30)) == [None]
    just_before(monkeypatch, moment, node.kill)
    assert is_unknown(driver.write([put(1, a_line(201)), put(2, a_line(202))], in_s(30))[0])
    with pytest.raises(ElementUnreachable):
        driver.read([port(1)], in_s(30))
    node.start()
    assert driver.read([port(1), port(2)], in_s(30)) == {port(1): a_line(), port(2): None}
    assert driver.write([put(2, a_line(202))], in_s(30)) == [None]


@pytest.mark.parametrize(("moment", "stands"), [(EDIT, False), (COMMIT, False), (CONFIRM, True), (UNLOCK, True)])
def test_after_a_lost_answer_the_node_is_read_as_it_will_stay(
    node: Olt, driver: NetconfOlt, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch, moment: str, stands: bool
) -> None:
    just_before(monkeypatch, moment, lambda: proxy.drop_answers(then="cut"))
    (result,) = driver.write([put(1, a_line())], in_s(30))
    assert is_unknown(result) == (moment != UNLOCK)
    proxy.heal()
    assert driver.read([port(1)], in_s(30)) == {port(1): a_line() if stands else None}
    assert (port(1) in truth(node)) == stands


def test_a_write_ends_at_its_deadline_where_no_answer_comes_and_nothing_else_waits(
    driver: NetconfOlt, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch, ticker: Ticker
) -> None:
    driver.read([port(1)], in_s(30))
    just_before(monkeypatch, CONFIRM, proxy.drop_answers)
    began = monotonic()
    (result,) = driver.write([put(1, a_line())], in_s(3))
    assert monotonic() - began < 6
    assert (is_unknown(result), str(result)) == (True, "no answer in time")
    assert ticker.stop() < STANDS_STILL_S
    proxy.heal()
    assert driver.read([port(1)], in_s(30)) == {port(1): a_line()}


def test_a_node_that_hangs_in_a_commit_holds_up_nothing_else_and_takes_the_commit_back(
    node: Olt, driver: NetconfOlt, monkeypatch: pytest.MonkeyPatch, ticker: Ticker
) -> None:
    driver.read([port(1)], in_s(30))
    just_before(monkeypatch, COMMIT, node.freeze)
    began = monotonic()
    also = eventlet.spawn(driver.write, [put(2, a_line(102))], in_s(3.2))
    (result,) = driver.write([put(1, a_line())], in_s(3))
    assert is_unknown(also.wait()[0])
    assert monotonic() - began < 6.2
    assert is_unknown(result)
    assert ticker.stop() < STANDS_STILL_S
    node.thaw()
    assert driver.read([port(1), port(2)], in_s(30)) == {port(1): None, port(2): None}
    assert driver.sessions.open <= 2


def test_other_work_goes_on_while_sessions_open_and_commits_are_slow(
    node: Olt, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch, ticker: Ticker
) -> None:
    def slow() -> None:
        proxy.to_server_s = proxy.to_client_s = 0.6

    just_before(monkeypatch, COMMIT, slow)
    with driver_of(node, proxy.port) as driver:
        began = monotonic()
        assert driver.write([put(1, a_line())], in_s(30)) == [None]
        assert monotonic() - began > 3.6
    assert ticker.stop() < STANDS_STILL_S


def test_a_restarted_node_keeps_what_was_confirmed_and_kept_sessions_are_replaced_unseen(
    node: Olt, driver: NetconfOlt
) -> None:
    for at in range(1, 6):
        assert driver.write([put(at, a_line(100 + at))], in_s(30)) == [None]
    assert driver.sessions.opened == 1
    for stop in (node.kill, node.stop):
        stop()
        node.start()
        assert driver.read([port(1)], in_s(30)) == {port(1): a_line()}
        assert driver.sessions.open == 1
    assert driver.entries(in_s(30)) == {port(at): a_line(100 + at) for at in range(1, 6)}
    assert driver.sessions.opened == 3


def test_a_session_cut_while_it_was_kept_is_replaced_unseen(driver: NetconfOlt, proxy: TcpProxy) -> None:
    assert driver.write([put(1, a_line())], in_s(30)) == [None]
    proxy.cut()
    proxy.heal()
    assert driver.write([put(2, a_line(102))], in_s(30)) == [None]
    assert (driver.sessions.opened, driver.sessions.open) == (2, 1)


def test_a_node_whose_configuration_was_torn_by_power_off_has_what_was_confirmed(
    node: Olt, driver: NetconfOlt
) -> None:
    for vlan in (101, 102):
        assert driver.write([put(1, a_line(vlan))], in_s(30)) == [None]
    node.kill()
    torn = node.folder / "startup.xml"
    torn.write_bytes(torn.read_bytes()[:-40])
    node.start()
    assert driver.read([port(1)], in_s(30)) == {port(1): a_line(102)}


def test_failures_leave_no_session_behind(
    node: Olt, driver: NetconfOlt, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for moment in (EDIT, COMMIT, CONFIRM):
        with monkeypatch.context() as patched:
            just_before(patched, moment, lambda: proxy.drop_answers(then="cut"))
            driver.write([put(1, a_line())], in_s(30))
        proxy.heal()
    driver.close()
    with stranger_on(node) as stranger:

        def sessions() -> str:
            return str(stranger.rpc.get(("xpath", "/netconf-state/sessions")).data_xml)

        wait_until(lambda: sessions().count("<session-id>") == 1, sessions)
    assert driver.sessions.open == 0


def test_another_host_key_or_another_user_key_gets_nowhere(node: Olt, tmp_path: Path) -> None:
    other = node.address.host_key[:-12] + "AAAAAAAAAAAA"
    strange = NetconfOlt("olt-1", replace(address_of(node), host_key=other))
    nobody = NetconfOlt("olt-1", replace(address_of(node), key_file=str(node.folder / "host_key")))
    for driver in (strange, nobody):
        with pytest.raises(ElementUnreachable):
            driver.entries(in_s(30))
        assert driver.sessions.open == 0


def test_a_node_in_a_deep_folder_works_too(tmp_path: Path) -> None:
    with access_node(tmp_path / ("deep" * 30)) as deep, driver_of(deep) as driver:
        assert driver.write([put(1, a_line())], in_s(30)) == [None]
