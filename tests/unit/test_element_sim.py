"""Promises of the element simulator: it keeps what it was given, and misbehaves exactly as told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from element_sim.client import Refused, SimClient
from element_sim.faults import Faults
from element_sim.inventory import load
from tests.harness.elements import SimProcess, simulator
from tools.paths import ROOT
from tools.waiting import wait_until

PORT, ACCOUNT = ("olt-1", "service-port/1/2/3"), ("bng-1", "account/x-1")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimProcess]:
    with simulator(tmp_path_factory.mktemp("elements")) as running:
        yield running


@pytest.fixture
def sim(process: SimProcess) -> Iterator[SimClient]:
    yield process.client
    process.client.heal()
    for element, entries in process.client.entries().items():
        for key in entries:
            process.client.delete(element, key)


def an_impatient_client(sim: SimProcess) -> SimClient:
    return SimClient(sim.port, timeout_s=0.3)


def test_writing_and_deleting_twice_is_the_same_as_once(sim: SimClient) -> None:
    sim.write(*PORT, {"admin": "up", "name": "김하늘"})
    sim.write(*PORT, {"admin": "up", "name": "김하늘"})
    assert sim.entries() == {"olt-1": {"service-port/1/2/3": {"admin": "up", "name": "김하늘"}}}
    sim.delete(*PORT)
    sim.delete(*PORT)
    assert sim.read(*PORT) is None
    assert sim.entries() == {}


@pytest.mark.parametrize(("element", "key", "words"), [
    ("olt-1", "service-port/9/1/1", "olt-1: no such port 9/1/1"),
    ("olt-1", "service-port/1/1", "olt-1: no such port 1/1"),
    ("olt-1", "account/x", "olt-1: unknown object class 'account'"),
    ("bng-1", "account/", "bng-1: account without a name"),
    ("olt-7", "service-port/1/1/1", "no element 'olt-7'"),
])
def test_an_element_refuses_what_it_does_not_have(sim: SimClient, element: str, key: str, words: str) -> None:
    with pytest.raises(Refused, match=f"^{words}$"):
        sim.write(element, key, {})


def test_nonsense_is_answered_and_the_connection_goes_on(sim: SimClient) -> None:
    unknown_verb = {"verb": "fly", "element": "olt-1", "key": "service-port/1/1/1"}
    for request in (unknown_verb, {"verb": "read"}, {"verb": "hang", "element": "x"}):
        with pytest.raises(Refused):
            sim.call(**request)
    assert sim.read(*PORT) is None


def test_an_edit_takes_effect_wholly_or_not_at_all(sim: SimClient) -> None:
    sim.write(*PORT, {"n": 1})
    good, bad = {"key": "service-port/1/2/4", "entry": {"n": 2}}, {"key": "service-port/99/1/1", "entry": {"n": 3}}
    gone = {"key": PORT[1], "entry": None}
    with pytest.raises(Refused, match="no such port 99/1/1"):
        sim.call("edit", element="olt-1", changes=[gone, good, bad])
    assert sim.call("entries", element="olt-1")["entries"] == {PORT[1]: {"n": 1}}
    sim.refuse("olt-1", PORT[1], verbs=["delete"], words="busy")
    with pytest.raises(Refused, match="busy"):
        sim.call("edit", element="olt-1", changes=[good, gone])
    sim.heal()
    sim.call("edit", element="olt-1", changes=[good, gone])
    assert sim.entries() == {"olt-1": {"service-port/1/2/4": {"n": 2}}}


def test_refuses_in_the_words_it_was_told_and_only_what_it_was_told(sim: SimClient) -> None:
    sim.refuse("olt-1", "service-port/1/2/3", words="port is administratively locked", verbs=["write"])
    with pytest.raises(Refused, match="port is administratively locked"):
        sim.write(*PORT, {})
    assert sim.read(*PORT) is None
    sim.write("olt-1", "service-port/1/2/4", {})
    sim.heal("olt-1")
    sim.write(*PORT, {})


def test_hanging_with_effect_does_what_it_was_asked_and_never_answers(process: SimProcess, sim: SimClient) -> None:
    sim.hang("bng-1", verbs=["write"], effect=True, times=1)
    with pytest.raises(TimeoutError):
        an_impatient_client(process).write(*ACCOUNT, {"a": 1})
    wait_until(lambda: sim.read(*ACCOUNT) == {"a": 1}, "the effect")


def test_hanging_without_effect_changes_nothing(process: SimProcess, sim: SimClient) -> None:
    sim.hang("bng-1")
    with pytest.raises(TimeoutError):
        an_impatient_client(process).write(*ACCOUNT, {"a": 1})
    sim.heal()
    assert sim.read(*ACCOUNT) is None


def test_a_late_answer_comes_after_the_effect(process: SimProcess, sim: SimClient) -> None:
    sim.delay(30, "bng-1", verbs=["write"], times=1)
    with pytest.raises(TimeoutError):
        an_impatient_client(process).write(*ACCOUNT, {"a": 1})
    wait_until(lambda: sim.read(*ACCOUNT) == {"a": 1}, "the effect")


def test_a_dead_element_drops_connections_until_it_is_healed(process: SimProcess, sim: SimClient) -> None:
    sim.die("tv-1")
    for _ in range(2):
        with pytest.raises(ConnectionError):
            SimClient(process.port).read("tv-1", "entitlement/x-1")
    assert sim.read(*PORT) is None, "other elements live on"
    sim.heal("tv-1")
    assert sim.read("tv-1", "entitlement/x-1") is None


def test_state_survives_kill_9_and_the_end_it_brings_on_itself(tmp_path: Path) -> None:
    with simulator(tmp_path / "elements") as process:
        process.client.write(*PORT, {"n": 1})
        process.kill()
        process.start()
        assert process.client.read(*PORT) == {"n": 1}
        with pytest.raises(ConnectionError):
            process.client.call("die")
        process.client.close()
        process.start()
        assert process.client.entries() == {"olt-1": {"service-port/1/2/3": {"n": 1}}}
        assert process.stop() == 0


def test_a_fault_with_times_ends_by_itself() -> None:
    faults = Faults()
    faults.add({"verb": "refuse", "element": "olt-1", "times": 1})
    assert faults.meet("read", "bng-1", "account/x") is None
    assert faults.meet("read", "olt-1", "service-port/1/1/1") is not None
    assert faults.meet("read", "olt-1", "service-port/1/1/1") is None


def test_the_shipped_elements_are_enough_to_provision_on() -> None:
    elements = load(ROOT / "config" / "elements.yaml")
    assert {element.kind for element in elements.values()} == {"olt", "bng", "tv"}
    assert sum(element.slots * element.pons * element.onus for element in elements.values()) >= 10_000


def test_an_unknown_kind_of_element_is_named(tmp_path: Path) -> None:
    path = tmp_path / "elements.yaml"
    path.write_text("elements: {x-1: {kind: toaster}}", encoding="utf-8")
    with pytest.raises(ValueError, match="x-1: kind must be one of olt, bng, tv, not 'toaster'"):
        load(path)
