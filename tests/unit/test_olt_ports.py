"""Promises about service ports in NETCONF's XML, and about a node's own files; without a node."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree
from ncclient.operations import RPCError

from activation_svc.netconf_ports import config_of, entries_of, filter_of, normal, tag_of, words_of
from contracts.catalogue import PRODUCTS
from tests.harness.olt import a_line, port
from tools import olt as node
from tools.olt import Olt
from tools.packages import PackagesMissing

NOTHING = dict.fromkeys(a_line()) | {"multicast_profiles": []}


def refusal(*fields: tuple[str, str]) -> RPCError:
    text = "".join(f"<{name}>{value}</{name}>" for name, value in fields)
    return RPCError(etree.fromstring(f'<rpc-error xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">{text}</rpc-error>'))


@pytest.mark.parametrize("content", [
    a_line(),
    NOTHING,
    NOTHING | {"ont_serial": "ABCD0123CDEF"},
    a_line(multicast_profiles=["tv-basic", "tv-premium"], subscriber="<김> & \"co\""),
])  # fmt: skip
def test_an_entry_survives_the_way_into_xml_and_back(content: dict) -> None:
    assert entries_of(config_of({port(1): content})) == {port(1): content}


def test_an_entry_is_compared_as_it_reads_back() -> None:
    some = {"vlan": 7, "multicast_profiles": ["b", "a"]}
    assert normal(some) == NOTHING | {"vlan": 7, "multicast_profiles": ["a", "b"]}


def test_an_entry_replaces_or_removes_the_whole_service_port() -> None:
    text = etree.tostring(config_of({port(1): a_line(), port(2): None})).decode()
    assert 'operation="replace"><name>1/1/1</name>' in text
    assert 'operation="remove"><name>1/1/2</name></service-port>' in text


@pytest.mark.parametrize("changes", [{"account/x": None}, {port(1): {"colour": "red"}}])
def test_what_no_access_node_has_never_reaches_one(changes: dict) -> None:
    with pytest.raises(ValueError, match=r"account/x|colour"):
        config_of(changes)


def test_a_filter_names_the_ports_or_all_of_them() -> None:
    kind, some = filter_of([port(1), port(2)])
    assert kind == "subtree"
    assert [name.text for name in some.iter("{*}name")] == ["1/1/1", "1/1/2"]
    assert etree.tostring(filter_of()[1]).decode().endswith("<service-port/></access-node>")


def test_a_refusal_keeps_the_elements_words() -> None:
    one = refusal(("error-tag", "invalid-value"), ("error-app-tag", "not-in-range"), ("error-path", "/an:vlan"),
                  ("error-message", "value not in range"),
                  ("error-info", "<bad-value>4095</bad-value><error-number>288</error-number>"))  # fmt: skip
    other = refusal(("error-tag", "lock-denied"), ("error-severity", "error"))
    assert words_of(one) == "value not in range: bad-value 4095 at /an:vlan (not-in-range)"
    assert words_of(other) == "refused (lock-denied)"
    both = RPCError(None, errs=[one, other])
    assert words_of(both) == f"{words_of(one)}; {words_of(other)}"
    assert tag_of(both) == "invalid-value"


def test_every_product_has_its_profile_on_a_node() -> None:
    names = {profile.findtext("{*}name") for profile in node.profiles()}
    assert names == {*PRODUCTS, "tv-only"}


def test_a_machine_without_the_servers_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(node, "_NETCONFD", str(tmp_path / "netconfd"))
    monkeypatch.setattr(node.os, "geteuid", lambda: 1000)
    with pytest.raises(PackagesMissing, match="apt-get install netconfd openssh-server"):
        Olt("olt-1", tmp_path / "olt-1").start()
