"""A real access node for a test: netconfd behind sshd, with a driver, a stranger on the same node, and moments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest

from activation_svc.driver import Change, Content
from activation_svc.netconf_ports import config_of, entries_of, filter_of
from activation_svc.netconf_session import Address, Session, _SshSession
from activation_svc.olt import NetconfOlt
from tools.olt import Olt


def port(at: int = 1) -> str:
    """The key of a service port."""
    return f"service-port/1/1/{at}"


def a_line(vlan: int | None = 101, **other: Any) -> Content:
    """What an order writes on a service port."""
    return {
        "subscriber": "an-order-1", "admin_state": "unlocked", "ont_registration_id": "12345678", "ont_serial": None,
        "vlan": vlan, "line_profile": "internet-100", "multicast_profiles": ["tv-basic"],
    } | other  # fmt: skip


def put(at: int, content: Content | None) -> list[Change]:
    """One order's work: one service port."""
    return [Change(port(at), content)]


def in_s(seconds: float) -> float:
    """A deadline."""
    return time.monotonic() + seconds


@contextmanager
def access_node(folder: Path, name: str = "olt-1") -> Iterator[Olt]:
    """A running node with its files under `folder`."""
    node = Olt(name, folder / name)
    try:
        node.start()
        yield node
    finally:
        node.kill()  # quicker than to ask it
        node.stop()


def address_of(node: Olt, tcp_port: int | None = None) -> Address:
    """The driver's way in, perhaps through a proxy."""
    address = Address(*astuple(node.address))
    return address if tcp_port is None else replace(address, port=tcp_port)


@contextmanager
def driver_of(node: Olt, tcp_port: int | None = None, sessions: int = 2) -> Iterator[NetconfOlt]:
    """A driver, closed at the end."""
    driver = NetconfOlt(node.name, address_of(node, tcp_port), sessions)
    try:
        yield driver
    finally:
        driver.close()


def clear(driver: NetconfOlt) -> None:
    """Remove every service port."""
    ports = [Change(key, None) for key in driver.entries(in_s(30))]
    assert driver.write([ports], in_s(30)) == [None]


class Stranger:
    """Somebody else on the node, with a session of his own: an operator, or another system."""

    def __init__(self, rpc: Any) -> None:
        self.rpc = rpc

    def put(self, changes: dict[str, Content | None]) -> None:
        """Write at once, as one does who knows nothing of confirmed commits."""
        self.rpc.edit_config(config_of(changes), target="candidate")
        self.rpc.commit()

    def entries(self) -> dict[str, Content]:
        """What really stands on the node."""
        return entries_of(self.rpc.get_config("running", filter=filter_of()).data_ele)


@contextmanager
def stranger_on(node: Olt) -> Iterator[Stranger]:
    """A stranger, for the length of a block."""
    session = Session(address_of(node), in_s(30))
    try:
        with session.until(in_s(60)) as rpc:
            yield Stranger(rpc)
    finally:
        session.close()


def truth(node: Olt) -> dict[str, Content]:
    """What stands on the node, seen by somebody else, once nobody holds its lock any more."""
    deadline = in_s(30)
    with driver_of(node) as other:
        other.read([port()], deadline)
        return other.entries(deadline)


def just_before(monkeypatch: pytest.MonkeyPatch, request: str, do: Callable[[], Any]) -> None:
    """Do something at the moment when a request that contains this text is about to be sent, once."""
    send = _SshSession.send
    left = [do]

    def sending(session: _SshSession, message: str) -> None:
        if request in message and left:
            left.pop()()
        send(session, message)

    monkeypatch.setattr(_SshSession, "send", sending)
