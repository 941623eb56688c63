"""The real network elements of a running system: what they hold, seen past activation, and how they are disturbed.

    truth(system)                                # {"olt-1": {"service-port/1/1/1": {...}}, "bng-1": ..., "tv-1": ...}
    assert_no_drift(system)                      # the audit, by RPC, finds no difference
    with without_profile(system, "internet-100", "bng-1"): ...
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple
from functools import cache
from typing import Any

import sqlalchemy as sa
from nameko.standalone.rpc import ClusterRpcProxy

from activation_svc.driver import Content, ElementError
from activation_svc.netconf_ports import NAMESPACE
from activation_svc.netconf_session import Address
from activation_svc.olt import NetconfOlt
from contracts.catalogue import PRODUCTS
from element_sim.client import SimClient
from tests.harness.bng import login, sql, start_session
from tests.harness.olt import in_s, stranger_on
from tests.harness.tcp_proxy import TcpProxy
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
    """What every element holds, real or simulated. Waits for those that are just starting."""
    if system.network is None:
        return SimClient(system.element_port).entries()
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


def port_of(system: System, order_id: str) -> tuple[str, str]:
    """The access node and the port that the order was given; waits until it has been."""
    query = (
        "select element, name from resources"
        " where order_id = :id and blocked is null and pool like 'service-port:%' order by line"
    )
    [row, *_] = wait_until(lambda: system.db("activation", query, id=order_id), f"{order_id} has a port")
    return row["element"], row["name"]


def next_node(system: System) -> str:
    """The access node that the next order gets: the one that has given out the least."""
    pools = ask_activation(system, "inventory")["pools"]
    ports = [(pool["held"], pool["pool"]) for pool in pools if pool["pool"].startswith("service-port:")]
    return str(min(ports)[1].partition(":")[2])


def next_free(system: System, pool: str) -> str:
    """What the next order gets from this pool, such as `vlan:olt-1`."""
    query = (
        "select name from resources where pool = :pool and order_id is null and blocked is null"
        " order by position limit 1"
    )
    return str(system.db("activation", query, pool=pool)[0]["name"])


def log_in(system: System, line: str) -> tuple[str, dict[str, list[str]]]:
    """What the BNG answers the line's router: `Access-Accept` or `Access-Reject`, and the attributes."""
    check = _accounts(bng_of(system).uri).get(f"account/{line}", {}).get("check", [])
    passwords = [value for attribute, _, value in check if attribute == "Cleartext-Password"]
    return login(bng_of(system), line, *passwords or ["none"])


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


@contextmanager
def without_line_profile(system: System, product: str) -> Iterator[None]:
    """The access nodes do not have this line profile, until the block ends. No port may use it."""
    nodes = [node for node in elements_of(system).values() if isinstance(node, Olt)]
    speeds = PRODUCTS[product]
    for node in nodes:
        _edit(node, f'<line-profile nc:operation="delete"><name>{product}</name></line-profile>')
    try:
        yield
    finally:
        for node in nodes:
            _edit(node, f"<line-profile><name>{product}</name><down-mbps>{speeds.down_mbps}</down-mbps>"
                        f"<up-mbps>{speeds.up_mbps}</up-mbps></line-profile>")  # fmt: skip


@contextmanager
def stray_port(system: System, node: str, key: str, content: Content) -> Iterator[None]:
    """An entry on an access node that is none of activation's, until the block ends."""
    with stranger_on(olt_of(system, node)) as stranger:
        stranger.put({key: content})
    try:
        yield
    finally:
        with stranger_on(olt_of(system, node)) as stranger:
            stranger.put({key: None})


@contextmanager
def earlier_subscriber(system: System, ports: dict[str, str]) -> Iterator[None]:
    """Mrs Song, who was there before us: on these ports (by node), with an account, a session and an entitlement."""
    entry = {"subscriber": "mrs-song", "admin_state": "locked", "ont_serial": "SONG0000CAFE", "vlan": 4001}
    bng, client = bng_of(system), TvClient(tv_of(system))
    sql(bng.uri, "insert into radcheck (username, attribute, op, value)"
                 " values ('mrs-song', 'Cleartext-Password', ':=', 'magnolia')")  # fmt: skip
    sql(bng.uri, "insert into radreply (username, attribute, op, value)"
                 " values ('mrs-song', 'Framed-IP-Address', ':=', '198.51.100.7'),"
                 " ('mrs-song', 'Reply-Message', '=', 'since 2019')")  # fmt: skip
    client.put("mrs-song", {"package": "tv-premium", "since": 2019})
    start_session(bng, "mrs-song", "since-spring")
    try:
        with ExitStack() as strays:
            for name, key in ports.items():
                strays.enter_context(stray_port(system, name, key, entry))
            yield
    finally:
        for table in ("radcheck", "radreply", "radacct"):
            sql(bng.uri, f"delete from {table} where username = 'mrs-song'")
        client.ask("DELETE", "/entitlements/mrs-song")
        client.close()


@contextmanager
def accounts_locked(system: System) -> Iterator[None]:
    """Nobody can change an account on the BNG until the block ends."""
    engine = sa.create_engine(bng_of(system).uri, poolclass=sa.NullPool)
    with engine.begin() as conn:
        conn.execute(sa.text("lock table radcheck in exclusive mode"))
        yield


@contextmanager
def behind_proxies(system: System, **settings: str) -> Iterator[dict[str, TcpProxy]]:
    """Activation reaches access nodes and TV middleware through a proxy each, with these settings; until the block
    ends. It is stopped and started for it, twice.
    """
    activation = system.processes["activation"]
    before = dict(activation.env)
    proxies = {name: TcpProxy(olt_of(system, name).port) for name in ("olt-1", "olt-2")}
    proxies["tv-1"] = TcpProxy(tv_of(system).port)
    try:
        system.stop("activation")
        activation.env |= settings | {f"OLT_{at}_PORT": str(proxies[f"olt-{at}"].port) for at in (1, 2)}
        activation.env["TV_1_URL"] = f"http://127.0.0.1:{proxies['tv-1'].port}"
        system.start("activation")
        yield proxies
    finally:
        system.stop("activation")
        activation.env = before
        system.start("activation")
        for proxy in proxies.values():
            proxy.close()


def _edit(node: Olt, content: str) -> None:
    with stranger_on(node) as stranger:
        stranger.rpc.edit_config(
            f'<config xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0"><access-node xmlns="{NAMESPACE}">{content}'
            "</access-node></config>",
            target="candidate",
        )
        stranger.rpc.commit()


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
