"""The real network elements of a running system: what they hold, seen past activation, and how they are disturbed.

    truth(system)                                # {"olt-1": {"service-port/1/1/1": {...}}, "bng-1": ..., "tv-1": ...}
    assert_no_drift(system)                      # the audit, by RPC, finds no difference
    with without_profile(system, "internet-100", "bng-1"): ...
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from functools import cache
from typing import Any

from nameko.standalone.rpc import ClusterRpcProxy

from activation_svc.driver import Content, ElementError
from activation_svc.netconf_session import Address
from activation_svc.olt import NetconfOlt
from tests.harness.bng import sql
from tests.harness.olt import in_s
from tests.harness.tv import TvClient
from tools.bng import Bng
from tools.network import Element
from tools.olt import Olt
from tools.system import System
from tools.tv import Tv
from tools.waiting import wait_until

Entries = dict[str, Content]

_LINE = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-\d+")


def elements_of(system: System) -> dict[str, Element]:
    """The system's real elements by name."""
    assert system.network is not None, "this system's elements are simulated"
    return system.network.elements


def truth(system: System) -> dict[str, Entries]:
    """What every element holds. Waits for those that are just starting."""
    return {name: held(element) for name, element in elements_of(system).items()}


def held(element: Element) -> Entries:
    """What one element holds, by key."""
    return wait_until(
        lambda: {"": _held(element)}, f"{element.name} says what it holds", answered=(OSError, ElementError)
    )[""]


def orders_on(system: System) -> set[str]:
    """The orders that have an entry on any element."""
    names = [
        str(content.get("subscriber") if key.startswith("service-port/") else key.partition("/")[2])
        for entries in truth(system).values() for key, content in entries.items()
    ]
    return {line[1] for name in names if (line := _LINE.fullmatch(name))}


def olt_of(system: System, name: str) -> Olt:
    """One access node."""
    node = elements_of(system)[name]
    assert isinstance(node, Olt)
    return node


def bng_of(system: System) -> Bng:
    """The BNG."""
    bng = elements_of(system)["bng-1"]
    assert isinstance(bng, Bng)
    return bng


def tv_of(system: System) -> Tv:
    """The TV middleware."""
    tv = elements_of(system)["tv-1"]
    assert isinstance(tv, Tv)
    return tv


def ask_activation(system: System, method: str, **arguments: Any) -> Any:
    """One RPC call of activation, as an operator makes it in the shell."""
    with ClusterRpcProxy({"AMQP_URI": system.amqp_uri}, timeout=60) as cluster:
        return getattr(cluster.activation, method)(**arguments)


def assert_no_drift(system: System) -> None:
    """The audit finds nothing missing, extra or different, once every element answers and nothing is under way."""
    found: dict[str, Any] = {}

    def clean() -> bool:
        found.clear()
        found.update(ask_activation(system, "audit"))
        elements = found["elements"].values()
        return found["left_out"] == 0 and not any(
            element.get(kind) for element in elements for kind in ("unreachable", "missing", "extra", "different")
        )

    wait_until(clean, lambda: f"an audit without a difference; it says {json.dumps(found)[:4000]}", interval_s=0.2)


@contextmanager
def without_profile(system: System, product: str) -> Iterator[None]:
    """The BNG does not know this service profile: it refuses whoever is to have it."""
    rename = "update radgroupreply set groupname = :new where groupname = :old"
    sql(bng_of(system).uri, rename, old=product, new=f"{product}-withdrawn")
    try:
        yield
    finally:
        sql(bng_of(system).uri, rename, old=f"{product}-withdrawn", new=product)


def _held(element: Element) -> Entries:
    if isinstance(element, Olt):
        return _driver(element.name, Address(*astuple(element.address))).entries(in_s(10))
    return _accounts(element.uri) if isinstance(element, Bng) else _entitlements(element)


@cache
def _driver(name: str, address: Address) -> NetconfOlt:
    """One session with each node for the whole run."""
    return NetconfOlt(name, address, sessions=1)


def _accounts(uri: str) -> Entries:
    found: Entries = {}
    for table, field, columns in (
        ("radcheck", "check", "attribute, op, value"), ("radreply", "reply", "attribute, op, value"),
        ("radusergroup", "groups", "groupname, priority"),
    ):
        for name, *row in sql(uri, f"select username, {columns} from {table} order by id"):
            account = found.setdefault(f"account/{name}", {"check": [], "reply": [], "groups": []})
            account[field].append(row)
    return found


def _entitlements(element: Element) -> Entries:
    assert isinstance(element, Tv)
    client = TvClient(element)
    try:
        return {f"entitlement/{subscriber}": content for subscriber, content in client.entitlements().items()}
    finally:
        client.close()
