"""Promises of the elements together, on elements in memory: order, isolation, settling, breakers, exact restore."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from uuid import UUID

import eventlet
from eventlet.event import Event
from hypothesis import given
from hypothesis import strategies as st

from activation_svc.breaker import ElementBreaker
from activation_svc.driver import Change, Content, ElementDiffers, ElementError, ElementRefused, ElementUnreachable
from activation_svc.elements import STEP_TIMEOUT_S, Elements
from activation_svc.leases import LEASE_S
from activation_svc.plan import Entry, Plan

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


class Memory:
    """An element that keeps entries in memory and misbehaves as told."""

    def __init__(self, element: str, log: list[str]) -> None:
        self.element, self.log = element, log
        self.stands: dict[str, Content] = {}
        self.refuses: set[str] = set()
        self.is_dead = False
        self.loses_answers = False
        self.on_write: Callable[[], None] = lambda: None

    def read(self, keys: Sequence[str], deadline: float) -> dict[str, Content | None]:
        if self.is_dead:
            raise ElementUnreachable(self.element, "connection refused")
        return {key: copy.deepcopy(self.stands.get(key)) for key in keys}

    def write(self, works: Sequence[Sequence[Change]], deadline: float) -> list[ElementError | None]:
        self.on_write()
        if self.is_dead:
            raise ElementUnreachable(self.element, "connection refused")
        results: list[ElementError | None] = []
        for work in works:
            if any(change.key in self.refuses for change in work):
                results.append(ElementRefused(self.element, "no such profile"))
                continue
            for change in work:
                self.log.append(f"{self.element} {change.key}")
                if change.content is None:
                    self.stands.pop(change.key, None)
                else:
                    self.stands[change.key] = copy.deepcopy(change.content)
            results.append(ElementUnreachable(self.element, "no answer") if self.loses_answers else None)
        return results

    def entries(self, deadline: float) -> dict[str, Content]:
        return {key: content for key, content in self.read(list(self.stands), deadline).items() if content is not None}

    def close(self) -> None:
        self.log.append(f"{self.element} closed")


class Network:
    def __init__(self, **settings: float) -> None:
        self.log: list[str] = []
        names = ("olt-1", "olt-2", "bng-1", "tv-1")
        self.drivers = {name: Memory(name, self.log) for name in names}
        self.now = 100.0
        breakers = {name: ElementBreaker(name, 2, 5.0, lambda: self.now) for name in names}
        self.elements = Elements(self.drivers, breakers=breakers, **settings)

    def __getitem__(self, name: str) -> Memory:
        return self.drivers[name]

    def stands(self) -> dict[str, dict[str, Content]]:
        return {name: driver.stands for name, driver in self.drivers.items() if driver.stands}


def entry(element: str, key: str, **content: object) -> Entry:
    return Entry(element, key, dict(content) or {"is": key})


def plan(olt: str, name: str) -> Plan:
    return entry(olt, f"port-{name}"), entry("bng-1", f"account-{name}"), entry("tv-1", f"tv-{name}")


def test_an_order_goes_from_element_to_element_and_back_in_the_opposite_order() -> None:
    network = Network()
    plans = {ONE: plan("olt-1", "a")}
    snapshots, failures = network.elements.snapshot(plans)
    assert not failures and not network.elements.apply(plans) and not network.elements.verify(plans)
    assert network.log == ["olt-1 port-a", "bng-1 account-a", "tv-1 tv-a"]
    network.log.clear()
    assert not network.elements.restore(snapshots)
    assert network.log == ["tv-1 tv-a", "bng-1 account-a", "olt-1 port-a"]
    assert network.stands() == {}


def test_an_order_that_failed_at_one_element_is_not_taken_to_the_next_and_spoils_no_other() -> None:
    network = Network()
    network["bng-1"].refuses = {"account-a"}
    failures = network.elements.apply({ONE: plan("olt-1", "a"), TWO: plan("olt-1", "b")})
    assert {order: (str(why), why.element) for order, why in failures.items()} == {ONE: ("no such profile", "bng-1")}
    assert network["tv-1"].stands.keys() == {"tv-b"}


def test_what_takes_effect_without_an_answer_is_settled_by_reading_back() -> None:
    network = Network()
    network["bng-1"].loses_answers = True
    assert network.elements.apply({ONE: plan("olt-1", "a")}) == {}
    assert network["tv-1"].stands.keys() == {"tv-a"}


def test_what_took_no_effect_without_an_answer_stays_a_failure() -> None:
    network = Network()
    network["bng-1"].is_dead = True
    failures = network.elements.apply({ONE: plan("olt-1", "a")})
    assert isinstance(failures[ONE], ElementUnreachable)
    assert network["tv-1"].stands == {}


def test_a_dead_olt_holds_up_no_order_of_another_one() -> None:
    network = Network()
    other_is_through = Event()
    network["olt-2"].is_dead = True
    network["olt-2"].on_write = other_is_through.wait
    network["tv-1"].on_write = other_is_through.send
    with eventlet.Timeout(10):
        failures = network.elements.apply({ONE: plan("olt-2", "a"), TWO: plan("olt-1", "b")})
    assert failures.keys() == {ONE}
    assert network["tv-1"].stands.keys() == {"tv-b"}


def test_each_element_has_a_breaker_of_its_own_and_says_why_it_is_left_alone() -> None:
    network = Network()
    network["olt-2"].is_dead = True
    for _ in range(2):
        network.elements.apply({ONE: plan("olt-2", "a")})
    assert network.elements.avoided() == {"olt-2"}
    network["olt-2"].is_dead = False
    failures = network.elements.apply({ONE: plan("olt-2", "a"), TWO: plan("olt-1", "b")})
    assert {order: str(why) for order, why in failures.items()} == {
        ONE: "left alone while it recovers, because: connection refused"
    }
    network.now += 5.0
    assert network.elements.apply({ONE: plan("olt-2", "a")}) == {}
    assert network.elements.avoided() == frozenset()


def test_a_refusal_shows_that_an_element_is_there() -> None:
    network = Network()
    network["olt-1"].refuses = {"port-a"}
    for _ in range(5):
        network.elements.apply({ONE: plan("olt-1", "a")})
    assert network.elements.avoided() == frozenset()


def test_while_an_element_recovers_one_call_at_a_time_finds_out() -> None:
    network = Network()
    breaker = network.elements.breakers["olt-1"]
    network["olt-1"].is_dead = True
    for _ in range(2):
        network.elements.apply({ONE: plan("olt-1", "a")})
    network.now += 5.0
    asked: list[str] = []

    def probe() -> list[None]:
        asked.append("probe")
        for _ in range(3):
            try:
                breaker.call(lambda: asked.append("another"), lambda result: None)
            except ElementUnreachable:
                continue
        return []

    breaker.call(probe, lambda result: None)
    assert (asked, breaker.state) == (["probe"], "closed")


def test_what_reads_back_otherwise_is_told_from_what_is_refused() -> None:
    network = Network()
    plans = {ONE: plan("olt-1", "a")}
    network.elements.apply(plans)
    network["bng-1"].stands["account-a"]["by"] = "somebody else"
    why = network.elements.verify(plans)[ONE]
    assert isinstance(why, ElementDiffers)
    assert (why.element, str(why)) == ("bng-1", "account-a reads back otherwise")


def test_an_element_that_is_not_configured_fails_only_the_orders_that_need_it() -> None:
    network = Network()
    failures = network.elements.apply({ONE: plan("olt-9", "a"), TWO: plan("olt-1", "b")})
    assert {order: str(why) for order, why in failures.items()} == {
        ONE: "there is no element 'olt-9' in the configuration"
    }


def test_a_step_ends_well_before_a_lease_does() -> None:
    assert STEP_TIMEOUT_S + 5 < LEASE_S
    network = Network()
    deadlines: list[float] = []
    network["olt-1"].read = lambda keys, deadline: deadlines.append(deadline) or dict.fromkeys(keys)  # type: ignore[method-assign]
    network.elements.snapshot({ONE: (entry("olt-1", "a"),)})
    assert deadlines[0] - time.monotonic() <= 6.0


keys = st.sampled_from([("olt-1", "a"), ("olt-1", "b"), ("olt-2", "a"), ("bng-1", "c"), ("tv-1", "d")])
contents = st.one_of(st.none(), st.fixed_dictionaries({"n": st.integers(0, 3)}))


@given(
    st.dictionaries(keys, contents, max_size=5), st.lists(keys, unique=True, min_size=1, max_size=5),
    st.sets(st.sampled_from(["olt-1", "olt-2", "bng-1", "tv-1"])), st.integers(1, 3),
)
def test_whatever_stood_before_and_wherever_it_stops_restore_brings_exactly_that_back(
    before: dict[tuple[str, str], Content | None], places: list[tuple[str, str]], dead: set[str], times: int
) -> None:
    network = Network()
    for (element, key), content in before.items():
        if content is not None:
            network[element].stands[key] = content
    standing = copy.deepcopy(network.stands())
    plans = {THREE: tuple(Entry(element, key, {"ours": key}) for element, key in places)}
    snapshots, failures = network.elements.snapshot(plans)
    assert not failures
    for element in dead:
        network[element].is_dead = True
    network.elements.apply(plans)
    for element in dead:
        network[element].is_dead = False
    network.now += 60.0
    for _ in range(times):
        assert network.elements.restore(snapshots) == {}
    assert network.elements.verify(snapshots) == {}
    assert network.stands() == standing
