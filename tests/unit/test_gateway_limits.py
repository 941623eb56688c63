"""Limits: how often an address may order, and when somebody who guesses passwords has to wait."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import eventlet
import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from contracts.errors import Overloaded, TooManyRequests
from gateway_svc.auth import Caller
from gateway_svc.extensions import MAX_WAITING, Limits
from gateway_svc.ratelimit import SignInLock, TokenBuckets


def a_request(forwarded: str | None = None, address: str = "192.0.2.1") -> Request:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return Request(EnvironBuilder(headers=headers, environ_base={"REMOTE_ADDR": address}).get_environ())


def some_limits(**settings: Any) -> Limits:
    return Limits(settings)


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    buckets = TokenBuckets(rate_per_s=2.0, burst=3)
    for _ in range(3):
        buckets.take("a", 100.0)
    with pytest.raises(TooManyRequests) as raised:
        buckets.take("a", 100.0)
    assert raised.value.retry_after_s == pytest.approx(0.5)
    buckets.take("b", 100.0)
    buckets.take("a", 100.5)
    with pytest.raises(TooManyRequests):
        buckets.take("a", 100.5)


def test_a_clock_that_steps_back_gives_nothing_and_takes_nothing() -> None:
    buckets = TokenBuckets(rate_per_s=1.0, burst=2)
    buckets.take("a", 100.0)
    buckets.take("a", 50.0)
    with pytest.raises(TooManyRequests):
        buckets.take("a", 50.0)


def test_a_caller_who_keeps_failing_waits_until_the_window_ends() -> None:
    lock = SignInLock(limit=3, window_s=60.0)
    for second in range(3):
        lock.check("kim", float(second))
        lock.failed("kim", float(second))
    with pytest.raises(TooManyRequests) as raised:
        lock.check("kim", 10.0)
    assert raised.value.retry_after_s == pytest.approx(50.0)
    lock.check("lee", 10.0)
    lock.check("kim", 60.0)


def test_a_success_clears_the_failures() -> None:
    lock = SignInLock(limit=2, window_s=60.0)
    lock.failed("kim", 0.0)
    lock.succeeded("kim")
    lock.failed("kim", 1.0)
    lock.check("kim", 2.0)


def test_many_guesses_at_once_count_like_many_in_a_row() -> None:
    limits = some_limits(SIGN_IN_FAILURES=5)
    checked: list[int] = []

    def guess(number: int) -> str:
        try:
            with limits.sign_in("192.0.2.1", "kim") as judged:
                eventlet.sleep(0)
                checked.append(number)
                judged(False)
        except TooManyRequests:
            return "refused"
        return "checked"

    answers = list(eventlet.GreenPool(100).imap(guess, range(100)))
    assert answers.count("checked") == len(checked) <= 5 + 1
    assert MAX_WAITING < 100


def test_orders_that_are_looked_up_slowly_keep_no_staff_waiting() -> None:
    limits, answered = some_limits(), eventlet.Event()

    def look_up(number: int) -> None:
        with limits.look_up("192.0.2.1", f"{number:08x}") as judged:
            answered.wait()
            judged(False)

    for number in range(20):
        eventlet.spawn(look_up, number)
    eventlet.sleep(0)
    with eventlet.Timeout(5), limits.sign_in("192.0.2.2", "kim") as judged:
        judged(True)
    answered.send(None)


def test_guesses_at_one_order_lock_nobody_out_of_another() -> None:
    limits = some_limits(SIGN_IN_FAILURES=2)
    for _ in range(2):
        with limits.look_up("192.0.2.1", "4d2f88a1") as judged:
            judged(False)
    with pytest.raises(TooManyRequests), limits.look_up("192.0.2.1", "4d2f88a1"):
        raise AssertionError("this order has to wait")
    with limits.look_up("192.0.2.1", "4d2f88a2") as judged:
        judged(True)


def test_guessing_through_all_users_is_stopped_for_the_address_only() -> None:
    limits = some_limits(SIGN_IN_ADDRESS_FAILURES=10)
    for number in range(10):
        with limits.sign_in("192.0.2.1", f"user-{number}") as judged:
            judged(False)
    with pytest.raises(TooManyRequests), limits.sign_in("192.0.2.1", "user-x"):
        raise AssertionError("this address has to wait")
    with limits.sign_in("192.0.2.2", "user-x") as judged:
        judged(True)


def test_all_addresses_of_one_ipv6_network_are_one_caller() -> None:
    limits = some_limits(SIGN_IN_FAILURES=5, ORDER_RATE_BURST=6, ORDER_RATE_PER_S=0.001)
    one = [limits.address(a_request(address=f"2001:db8:0:1::{number:x}")) for number in range(1, 8)]
    for address in one[:6]:
        limits.order(address)
    for address in one[:5]:
        with limits.sign_in(address, "kim") as judged:
            judged(False)
    with pytest.raises(TooManyRequests), limits.sign_in(one[5], "kim"):
        raise AssertionError("this network has to wait")
    with pytest.raises(TooManyRequests, match=r"2001:db8:0:1::/64"):
        limits.order(one[6])
    other = limits.address(a_request(address="2001:db8:0:2::1"))
    limits.order(other)
    with limits.sign_in(other, "kim") as judged:
        judged(True)


@pytest.mark.parametrize(("seen", "counted"), [
    ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("::FFFF:C000:207", "192.0.2.7"),
    ("2001:DB8:0:1:AAAA::1", "2001:db8:0:1::/64"), ("fe80::1%eth0", "fe80::/64"), ("::1", "::/64"),
    ("unix:", "unix:"), ("192.0.2.7.8", "192.0.2.7.8"),
])  # fmt: skip
def test_an_address_counts_in_one_form_whether_a_proxy_saw_it_or_we(seen: str, counted: str) -> None:
    assert some_limits().address(a_request(address=seen)) == counted
    assert some_limits(TRUSTED_PROXIES=1).address(a_request(seen)) == counted


def a_caller(name: str) -> Caller:
    return Caller(name, "operator", datetime.max.replace(tzinfo=UTC))


def test_streams_have_an_end() -> None:
    limits = some_limits(SSE_MAX_STREAMS=2)
    limits.stream(a_caller("kim"))
    limits.stream(a_caller("lee"))
    with pytest.raises(Overloaded, match="2 streams are open"):
        limits.stream(a_caller("park"))


def test_one_caller_takes_no_more_than_a_share_of_the_streams() -> None:
    limits = some_limits(SSE_MAX_STREAMS=10, SSE_MAX_STREAMS_OF_ONE=2)
    give_back, _ = limits.stream(a_caller("kim")), limits.stream(a_caller("kim"))
    with pytest.raises(TooManyRequests, match="2 streams") as raised:
        limits.stream(a_caller("kim"))
    assert raised.value.retry_after_s
    limits.stream(a_caller("lee"))
    give_back()
    give_back()
    assert len(limits.streams) == 2
    limits.stream(a_caller("kim"))
    with pytest.raises(TooManyRequests):
        limits.stream(a_caller("kim"))


def test_only_proxies_of_ours_are_believed() -> None:
    assert some_limits().address(a_request("203.0.113.9")) == "192.0.2.1"
    behind_one = some_limits(TRUSTED_PROXIES=1)
    assert behind_one.address(a_request("10.0.0.1, 203.0.113.9")) == "203.0.113.9"
    assert behind_one.address(a_request()) == "192.0.2.1"
    behind_two = some_limits(TRUSTED_PROXIES=2)
    assert behind_two.address(a_request("spoofed, 203.0.113.9, 10.0.0.2")) == "203.0.113.9"
    assert behind_two.address(a_request("203.0.113.9")) == "192.0.2.1"
