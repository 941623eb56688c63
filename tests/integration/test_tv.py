"""Promises of activation's TV driver, kept against the real middleware process; a proxy plays the network's part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import eventlet
import pytest

from activation_svc.driver import Change, Driver, ElementRefused, ElementUnreachable
from activation_svc.tv import TvMiddleware
from tests.harness.tcp_proxy import TcpProxy
from tests.harness.tv import KEY, TvClient, tv_middleware
from tools.tv import Tv

BASIC = {"package": "tv-basic", "order_id": "0199a"}
PREMIUM = {"package": "tv-premium", "order_id": "0199b"}
FROM_BEFORE = {
    "package": "tv-premium", "note": "김하늘 \ud83d", "devices": [{"id": 1, "4k": True}, None], "since": 1.5e300,
}


@pytest.fixture(scope="module")
def middleware(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tv]:
    with tv_middleware(tmp_path_factory.mktemp("middleware")) as running:
        yield running


@pytest.fixture
def truth(middleware: Tv) -> Iterator[TvClient]:
    middleware.start()
    client = TvClient(middleware)
    yield client
    middleware.start()
    client.clear()
    client.close()


@pytest.fixture
def proxy(middleware: Tv) -> Iterator[TcpProxy]:
    with TcpProxy(middleware.port) as running:
        yield running


@pytest.fixture
def driver(proxy: TcpProxy, truth: TvClient) -> Iterator[Driver]:
    """Patient: what is slow here is the machine."""
    running = TvMiddleware("tv-1", f"http://127.0.0.1:{proxy.port}", KEY, answer_timeout_s=20)
    yield running
    running.close()


def soon(seconds: float = 30.0) -> float:
    return time.monotonic() + seconds


def a_change(subscriber: str, content: dict[str, Any] | None = None) -> Change:
    return Change(f"entitlement/{subscriber}", content)


def test_writing_reading_listing_and_deleting_may_be_repeated(driver: Driver, truth: TvClient) -> None:
    works = [[a_change("x-1", BASIC)], [a_change("y-1", PREMIUM)]]
    for _ in range(2):
        assert driver.write(works, soon()) == [None, None]
        assert truth.entitlements() == {"x-1": BASIC, "y-1": PREMIUM}
    keys = ["entitlement/x-1", "entitlement/nobody", "entitlement/y-1"]
    assert driver.read(keys, soon()) == dict(zip(keys, [BASIC, None, PREMIUM], strict=True))
    assert driver.entries(soon()) == {"entitlement/x-1": BASIC, "entitlement/y-1": PREMIUM}
    for _ in range(2):
        assert driver.write([[a_change("x-1")], [a_change("y-1")]], soon()) == [None, None]
    assert driver.entries(soon()) == {}


def test_a_list_of_several_pages_is_read_to_its_end(
    driver: Driver, truth: TvClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activation_svc.tv.PAGE", 3)
    for at in range(7):
        truth.put(f"s-{at}", BASIC)
    assert driver.entries(soon()) == {f"entitlement/s-{at}": BASIC for at in range(7)}


def test_what_stood_before_is_brought_back_exactly(driver: Driver, truth: TvClient) -> None:
    truth.put("x-1", FROM_BEFORE)
    before = driver.read(["entitlement/x-1", "entitlement/x-2"], soon())
    driver.write([[a_change("x-1", BASIC), a_change("x-2", BASIC)]], soon())
    assert driver.write([[Change(key, content) for key, content in before.items()]], soon()) == [None]
    assert truth.entitlements() == {"x-1": FROM_BEFORE}


def test_a_work_is_done_wholly_or_not_at_all_and_spoils_no_other(driver: Driver, truth: TvClient) -> None:
    truth.put("a-1", FROM_BEFORE)
    truth.put("a-2", PREMIUM)
    refused = [a_change("a-1", BASIC), a_change("a-2"), a_change("a-3", BASIC), a_change("a-4", {"package": "tv-gold"})]
    errors = driver.write([[a_change("b-1", BASIC)], refused, [a_change("c-1", BASIC)]], soon())
    assert (errors[0], errors[2]) == (None, None)
    assert isinstance(errors[1], ElementRefused)
    assert str(errors[1]) == "package 'tv-gold' is not in the catalogue (tv-basic, tv-premium)"
    assert errors[1].element == "tv-1"
    assert truth.entitlements() == {"a-1": FROM_BEFORE, "a-2": PREMIUM, "b-1": BASIC, "c-1": BASIC}


def test_a_work_that_can_neither_be_done_nor_undone_is_unknown(driver: Driver, truth: TvClient) -> None:
    truth.fault("fail", methods=["DELETE"], status=503, words="the licence server is away", retry_after_s=60)
    [error] = driver.write([[a_change("a-1", BASIC), a_change("a-2", {"package": "tv-gold"})]], soon())
    assert isinstance(error, ElementUnreachable)
    assert "tv-gold" in str(error)
    assert str(error).endswith("could not be undone: the licence server is away")


@pytest.mark.parametrize("key", ["entitlement/", "entitlement/a b", "entitlement/..", "entitlement/a/b", "account/x"])
def test_a_key_that_names_no_entitlement_is_refused(driver: Driver, key: str) -> None:
    with pytest.raises(ElementRefused, match="is not the key of an entitlement"):
        driver.read([key], soon())


def test_a_wrong_key_and_a_wrong_address_are_not_taken_for_nothing_there(middleware: Tv, truth: TvClient) -> None:
    for url, key, words in ((middleware.url, "stolen", "the key is missing"), (f"{middleware.url}/v9", KEY, "no /v9/")):
        with pytest.raises(ElementRefused, match=words):
            TvMiddleware("tv-1", url, key).read(["entitlement/x-1"], soon())


def test_a_lost_answer_is_unknown_although_the_write_took_effect(
    driver: Driver, truth: TvClient, proxy: TcpProxy
) -> None:
    proxy.drop_answer_to(b"PUT /entitlements/x-1")
    impatient = TvMiddleware("tv-1", f"http://127.0.0.1:{proxy.port}", KEY, answer_timeout_s=1.0)
    [error] = impatient.write([[a_change("x-1", BASIC)]], soon())
    impatient.close()
    assert isinstance(error, ElementUnreachable)
    assert str(error) == "no answer within 1 s"
    proxy.wait_until_lost()
    assert driver.read(["entitlement/x-1"], soon()) == {"entitlement/x-1": BASIC}, "settled by reading"


def test_a_connection_that_breaks_instead_of_an_answer_is_asked_again(
    driver: Driver, truth: TvClient, proxy: TcpProxy
) -> None:
    proxy.drop_answer_to(b"PUT /entitlements/x-1", then="cut")
    truth.fault("drop", subscriber="y-1", times=2)
    assert driver.write([[a_change("x-1", BASIC)], [a_change("y-1", BASIC)]], soon()) == [None, None]
    assert truth.entitlements() == {"x-1": BASIC, "y-1": BASIC}


@pytest.mark.parametrize(("status", "wait_s"), [(503, None), (500, None), (429, 1)])
def test_a_middleware_that_is_busy_is_asked_again_when_it_says(
    driver: Driver, truth: TvClient, status: int, wait_s: int | None
) -> None:
    truth.fault("fail", subscriber="x-1", status=status, retry_after_s=wait_s, times=1)
    begun = time.monotonic()
    assert driver.write([[a_change("x-1", BASIC)]], soon()) == [None]
    assert time.monotonic() - begun >= (wait_s or 0)


def test_no_try_is_waited_for_that_would_come_too_late(driver: Driver, truth: TvClient) -> None:
    truth.fault("fail", words="maintenance until 04:00", retry_after_s=3600)
    begun = time.monotonic()
    with pytest.raises(ElementUnreachable, match=r"^maintenance until 04:00$"):
        driver.read(["entitlement/x-1"], soon(20))
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("trouble", [TcpProxy.freeze, TcpProxy.cut, TcpProxy.drop_answers])
def test_a_call_ends_with_its_deadline_however_many_wait_for_a_connection(
    driver: Driver, proxy: TcpProxy, trouble: Callable[[TcpProxy], None]
) -> None:
    trouble(proxy)
    begun = time.monotonic()
    works = [[a_change(f"x-{at}", BASIC), a_change(f"y-{at}", BASIC)] for at in range(20)]
    errors = driver.write(works, soon(0.5))
    assert time.monotonic() - begun < 10, "half a second, were the machine idle; one answer alone may take 20"
    assert len(errors) == 20
    assert all(isinstance(error, ElementUnreachable) for error in errors)
    proxy.heal()
    assert driver.read(["entitlement/nobody"], soon()) == {"entitlement/nobody": None}


def test_who_gets_no_connection_in_time_does_not_wait_longer(truth: TvClient, proxy: TcpProxy) -> None:
    one_at_a_time = TvMiddleware("tv-1", f"http://127.0.0.1:{proxy.port}", KEY, sessions=1, answer_timeout_s=60)
    proxy.drop_answers()
    first = eventlet.spawn(one_at_a_time.write, [[a_change("x-1", BASIC)]], soon(60))
    proxy.wait_until_lost()
    with pytest.raises(ElementUnreachable, match="all 1 connections to it are in use"):
        one_at_a_time.read(["entitlement/x-1"], soon(0.2))
    proxy.heal()
    assert first.wait() == [None], "cut off from its answer, it asked again"
    one_at_a_time.close()


def test_an_answer_that_trickles_in_is_cut_off() -> None:
    def trickle(client: Any, _: Any) -> None:
        try:
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                client.sendall(b" ")
                eventlet.sleep(0.05)
        except OSError:
            client.close()

    listener = eventlet.listen(("127.0.0.1", 0))
    serving = eventlet.spawn(eventlet.serve, listener, trickle)
    driver = TvMiddleware("tv-1", f"http://127.0.0.1:{listener.getsockname()[1]}", KEY, answer_timeout_s=0.2)
    with pytest.raises(ElementUnreachable, match=r"no answer within 0\.2 s"):
        driver.entries(soon())
    serving.kill()
    driver.close()


def test_few_connections_are_used_and_used_again(driver: Driver, truth: TvClient, proxy: TcpProxy) -> None:
    for _ in range(3):
        assert driver.write([[a_change(f"x-{at}", BASIC)] for at in range(60)], soon()) == [None] * 60
    assert len(truth.entitlements()) == 60
    assert 1 < proxy.connections <= 8


def test_other_work_goes_on_while_the_middleware_is_slow(driver: Driver, truth: TvClient) -> None:
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        while True:
            eventlet.sleep(0.005)
            ticks += 1

    truth.fault("delay", seconds=1.5, methods=["PUT"])
    ticker = eventlet.spawn(tick)
    assert driver.write([[a_change("x-1", BASIC)], [a_change("y-1", BASIC)]], soon()) == [None, None]
    ticker.kill()
    assert ticks > 30, "a hub that stood still for 1.5 s would have let it tick a few times"


def test_kill_9_and_a_restart_keep_every_entitlement(driver: Driver, middleware: Tv, truth: TvClient) -> None:
    truth.put("a-1", FROM_BEFORE)
    assert driver.write([[a_change("x-1", BASIC)]], soon()) == [None]
    middleware.kill()
    with pytest.raises(ElementUnreachable, match="cannot be reached"):
        driver.read(["entitlement/x-1"], soon())
    middleware.start()
    assert driver.entries(soon()) == {"entitlement/a-1": FROM_BEFORE, "entitlement/x-1": BASIC}


def test_a_stopped_middleware_ends_in_good_order(middleware: Tv, truth: TvClient) -> None:
    truth.put("a-1", BASIC)
    middleware.stop()
    assert middleware.process.exit_code == 0
    middleware.start()
    assert truth.entitlements() == {"a-1": BASIC}
