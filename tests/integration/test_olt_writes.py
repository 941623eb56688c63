"""Promises about an access node's configuration, against a real NETCONF server: written wholly, exactly, or not."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from time import monotonic

import eventlet
import pytest
from ncclient.operations import EditConfig, Validate

from activation_svc.driver import ElementDiffers, ElementRefused, ElementUnreachable
from activation_svc.olt import NetconfOlt
from tests.harness.olt import Stranger, a_line, access_node, clear, driver_of, in_s, port, put, stranger_on
from tools.olt import Olt


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Olt]:
    with access_node(tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture(scope="module")
def shared(node: Olt) -> Iterator[NetconfOlt]:
    with driver_of(node) as made:
        yield made


@pytest.fixture
def driver(shared: NetconfOlt) -> Iterator[NetconfOlt]:
    yield shared
    clear(shared)
    assert shared.sessions.opened <= 2, "sessions are kept, and no more than two"


@pytest.fixture
def stranger(node: Olt) -> Iterator[Stranger]:
    with stranger_on(node) as somebody:
        yield somebody


def test_what_is_written_reads_back_and_is_listed_until_it_is_deleted(driver: NetconfOlt) -> None:
    assert driver.write([put(1, a_line()), put(2, a_line(102))], in_s(30)) == [None, None]
    both = {port(1): a_line(), port(2): a_line(102)}
    assert driver.read([port(1), port(2), port(3)], in_s(30)) == both | {port(3): None}
    assert driver.entries(in_s(30)) == both
    assert driver.write([put(1, None)], in_s(30)) == [None]
    assert driver.entries(in_s(30)) == {port(2): a_line(102)}


def test_repeating_a_write_or_a_delete_changes_nothing(driver: NetconfOlt) -> None:
    for _ in range(2):
        assert driver.write([put(1, a_line())], in_s(30)) == [None]
        assert driver.entries(in_s(30)) == {port(1): a_line()}
    for _ in range(2):
        assert driver.write([put(1, None)], in_s(30)) == [None]
        assert driver.entries(in_s(30)) == {}


def test_a_subscriber_who_existed_before_is_put_back_exactly(driver: NetconfOlt, stranger: Stranger) -> None:
    nothing = dict.fromkeys(a_line()) | {"multicast_profiles": []}
    somebody = nothing | {"ont_serial": "ABCD0123CDEF", "admin_state": "locked", "vlan": 4094}
    stranger.put({port(1): somebody, port(2): nothing})
    before = driver.read([port(1), port(2)], in_s(30))
    assert before == {port(1): somebody, port(2): nothing}

    assert driver.write([put(1, a_line()), put(2, a_line(102))], in_s(30)) == [None, None]
    assert stranger.entries() == {port(1): a_line(), port(2): a_line(102)}
    assert driver.write([put(1, before[port(1)]), put(2, before[port(2)])], in_s(30)) == [None, None]
    assert stranger.entries() == before


@pytest.mark.parametrize(("wrong", "words"), [
    ({"line_profile": "internet-9000"}, ("required value instance not found", "an:line-profile", "instance-required")),
    ({"multicast_profiles": ["tv-none"]}, ("multicast-profile[.='tv-none']", "instance-required")),
    ({"vlan": 4095}, ("value not in range", "4095", "an:vlan")),
    ({"ont_serial": "none"}, ("pattern match failed", "an:ont-serial")),
    ({"admin_state": "asleep"}, ("asleep", "an:admin-state")),
    ({"vlan": 101}, ("unique-stmt test failed", "an:vlan", "data-not-unique")),
])  # fmt: skip
def test_a_refusal_is_in_the_nodes_words_and_spoils_only_its_own_order(
    driver: NetconfOlt, wrong: dict, words: tuple[str, ...]
) -> None:
    refused = [*put(8, a_line(108)), *put(2, a_line(102) | wrong)]
    first, second, third = driver.write([put(1, a_line(101)), refused, put(3, a_line(103))], in_s(30))
    assert (first, third) == (None, None)
    assert isinstance(second, ElementRefused)
    assert [word for word in words if word not in str(second)] == [], str(second)
    assert driver.entries(in_s(30)) == {port(1): a_line(101), port(3): a_line(103)}


def test_a_key_or_field_that_no_access_node_has_is_refused(driver: NetconfOlt) -> None:
    with pytest.raises(ElementRefused, match="account/x"):
        driver.read(["account/x"], in_s(30))
    one, other = driver.write([put(1, a_line(colour="red")), put(2, a_line())], in_s(30))
    assert isinstance(one, ElementRefused)
    assert "colour" in str(one)
    assert (other, driver.entries(in_s(30))) == (None, {port(2): a_line()})


def test_works_on_one_port_are_carried_out_in_their_order(driver: NetconfOlt) -> None:
    works = [put(1, a_line(101)), put(1, None), put(2, a_line(101)), put(1, a_line(102))]
    assert driver.write([*works, []], in_s(30)) == [None] * 5
    assert driver.entries(in_s(30)) == {port(1): a_line(102), port(2): a_line(101)}


@pytest.mark.parametrize("datastore", ["candidate", "running"])
def test_a_write_waits_for_somebody_elses_lock(node: Olt, stranger: Stranger, datastore: str) -> None:
    # A driver of its own: whose deadline comes in the middle of a request loses its session.
    with driver_of(node) as driver:
        wait_for_the_lock(driver, stranger, datastore)
        clear(driver)


def wait_for_the_lock(driver: NetconfOlt, stranger: Stranger, datastore: str) -> None:
    driver.read([port(1)], in_s(30))
    stranger.rpc.lock(datastore)
    late = driver.write([put(1, a_line())], in_s(1))
    assert isinstance(late[0], ElementUnreachable)
    assert "lock" in str(late[0])
    writing = eventlet.spawn(driver.write, [put(1, a_line())], in_s(30))
    eventlet.sleep(0)
    assert driver.entries(in_s(30)) == {}
    stranger.rpc.unlock(datastore)
    assert writing.wait() == [None]
    assert stranger.entries() == {port(1): a_line()}


def test_an_edit_that_somebody_left_unfinished_neither_blocks_nor_slips_in(
    driver: NetconfOlt, stranger: Stranger
) -> None:
    from activation_svc.netconf_ports import config_of

    stranger.rpc.edit_config(config_of({port(9): a_line(109)}), target="candidate")
    assert driver.write([put(1, a_line())], in_s(30)) == [None]
    assert stranger.entries() == {port(1): a_line()}


def test_a_commit_that_did_nothing_is_found_out_and_not_confirmed(
    driver: NetconfOlt, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = EditConfig.request

    def edit_and_validate(self: EditConfig, *args: object, **kwargs: object) -> object:
        reply = edit(self, *args, **kwargs)
        # After which netconfd's next commit changes nothing, and says <ok/>.
        Validate(self._session, self._device_handler).request("candidate")
        return reply

    assert driver.write([put(1, a_line())], in_s(30)) == [None]
    with monkeypatch.context() as patched:
        patched.setattr(EditConfig, "request", edit_and_validate)
        one, other = driver.write([put(1, a_line(201)), put(2, a_line(202))], in_s(30))
    assert (type(one), type(other)) == (ElementDiffers, ElementDiffers)
    assert driver.entries(in_s(30)) == {port(1): a_line()}
    assert driver.write([put(1, a_line(201))], in_s(30)) == [None]


def test_greenlets_share_few_sessions_and_every_write_arrives(driver: NetconfOlt) -> None:
    writing = [eventlet.spawn(driver.write, [put(at, a_line(100 + at))], in_s(60)) for at in range(1, 13)]
    assert [greenlet.wait() for greenlet in writing] == [[None]] * 12
    assert driver.entries(in_s(30)) == {port(at): a_line(100 + at) for at in range(1, 13)}
    assert driver.sessions.open <= 2


def test_two_hundred_entries_are_quickly_written_and_read(driver: NetconfOlt, record_property) -> None:
    entries = {port(at): a_line(1000 + at) for at in range(1, 201)}
    assert driver.write([put(at, a_line(1000 + at)) for at in range(1, 201)], in_s(30)) == [None] * 200
    began = monotonic()
    assert driver.read(list(entries), in_s(30)) == driver.entries(in_s(30)) == entries
    assert monotonic() - began < 5
    took = []
    for at in range(201, 221):
        began = monotonic()
        assert driver.write([put(at, a_line(1000 + at))], in_s(30)) == [None]
        took.append(monotonic() - began)
    print(f"one write: {median(took) * 1000:.1f} ms at the median")
    assert median(took) < 0.5
