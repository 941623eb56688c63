"""Broker users: one for each service, one for operators, one for the autoscaler, with what each needs and no more.

    python -m tools.broker_users            what each may do, as a table
    python -m tools.broker_users apply      make them (tools/prepare.py does)

Permissions are computed from the code: the events that a service's transition table emits and its handler takes, the
services it calls, its change hints. They are made through the broker's management interface, by the user that declares
queues and exchanges; passwords come from `<USER>_BROKER_PASSWORD` and are told to nobody.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from nameko.rpc import get_rpc_exchange

from chassis.hints import Hints
from chassis.rpc_client import RpcClient
from chassis.rpc_server import BoundedRpc
from chassis.settings import load_yaml, merged
from chassis.topology import direct_exchange, service_topologies
from contracts.changes import EXCHANGE as CHANGES
from tools.paths import BROKER_USERS, OPERATOR, ROOT, SCALER, SERVICES

RPC = str(get_rpc_exchange({}).name)
TIMEOUT_S = 30

_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_METHOD = "[a-z_]+"
_GIVEN_NAMES = r"amq\.gen-.*"
"""Names that the broker gives to queues which only their own connection can use."""


class Refused(Exception):
    """The broker did not take a user; the text says which and why, and never a password."""


@dataclass(frozen=True)
class Permissions:
    """Regular expressions of names that a user may configure, write and read, and of routing keys by topic exchange."""

    configure: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    topics: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    """exchange -> (keys to publish with, keys to bind with)"""

    def resources(self) -> dict[str, str]:
        """As the management interface takes them; nothing allowed is an expression that nothing matches."""
        return {name: any_of(getattr(self, name)) for name in ("configure", "write", "read")}


def any_of(patterns: Iterable[str]) -> str:
    """One expression for names that match one of these as a whole."""
    found = sorted(set(patterns))
    return f"^({'|'.join(found)})$" if found else "^$"


def name_of(user: str) -> str:
    """The user's name on the broker, as the service's role has it in the database."""
    return f"oss_{user}"


def emitted(service: str) -> list[str]:
    """The events that the service's transition table emits; MyPage and the gateway have none."""
    if service == "gateway":
        return []
    table = getattr(importlib.import_module(f"{service}_svc.domain"), "TABLE", ())
    return sorted({name.partition("/")[0] for _, _, row in table for name in getattr(row, "emits", ())})


def permissions(user: str, config: Mapping[str, Any] | None = None) -> Permissions:
    """What a user of `BROKER_USERS` may do, with these settings (those of config/base.yaml). Raises KeyError."""
    settings = dict(config or merged(load_yaml(ROOT / "config" / "base.yaml")))
    events = str(settings["EVENTS_EXCHANGE"])
    if user == SCALER:
        # It looks at the length of queues, which asks for no permission but to come in.
        return Permissions(topics={events: ((), ()), RPC: ((), ())})
    if user == OPERATOR:
        replies = r"rpc\.reply-standalone_rpc_proxy.*"
        calls = tuple(rf"{service}\.{_METHOD}" for service in SERVICES if service != "gateway")
        # Nameko's own client declares the exchange whenever it calls.
        return Permissions(
            configure=(replies, RPC), write=(replies, RPC), read=(replies, RPC),
            topics={events: ((), ()), RPC: (calls, (_UUID,))},
        )  # fmt: skip
    if user not in SERVICES:
        raise KeyError(f"no such broker user: {user!r}, there are {', '.join(BROKER_USERS)}")
    return _of_service(user, events, settings)


def _of_service(service: str, events: str, settings: dict[str, Any]) -> Permissions:
    cls = _class(service)
    members = [member for _, member in inspect.getmembers(cls)]
    topologies = service_topologies(cls.__module__, settings)
    answers = any(isinstance(entry, BoundedRpc) for member in members for entry in _entrypoints(member))
    called = sorted({member.target for member in members if isinstance(member, RpcClient)})
    queues, read = [rf"rpc\.reply-{service}-{_UUID}"], [RPC]
    write = [RPC]
    keys, bound = [rf"{target}\.{_METHOD}" for target in called], [_UUID]
    if answers:
        queues.append(f"rpc-{service}")
        keys.append(_UUID)
        bound.append(rf"{service}\.\*")
    if topologies:
        direct = direct_exchange(service).replace(".", r"\.")
        queues.append(rf"{service}\.(events|parked|retry\.[0-9]+ms)")
        write, read = [*write, _literal(events), direct], [*read, _literal(events), direct]
    write += [_literal(member.exchange) for member in members if isinstance(member, Hints)]
    if service == "gateway":
        queues.append(_GIVEN_NAMES)
        read.append(CHANGES)
    taken = tuple(key for topology in topologies for key in topology.routing_keys)
    return Permissions(
        configure=tuple(queues), write=(*queues, *write), read=(*queues, *read),
        topics={events: (tuple(emitted(service)), taken), RPC: (tuple(keys), tuple(bound))},
    )  # fmt: skip


def _class(service: str) -> type:
    module = importlib.import_module(f"{service}_svc.service")
    found = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if getattr(cls, "name", "") == service]
    return found[0]


def _entrypoints(member: Any) -> Iterable[Any]:
    return getattr(member, "nameko_entrypoints", ()) if inspect.isfunction(member) else ()


def _literal(name: str) -> str:
    return name.replace(".", r"\.")


def passwords(environment: Mapping[str, str]) -> dict[str, str]:
    """By user, the passwords that `environment` holds. Raises Refused where a service has none."""
    found = {user: environment.get(f"{user.upper()}_BROKER_PASSWORD", "") for user in BROKER_USERS}
    missing = [f"{user.upper()}_BROKER_PASSWORD" for user in SERVICES if not found[user]]
    if missing:
        raise Refused(f"set {', '.join(missing)}: each service has a broker user of its own")
    return {user: password for user, password in found.items() if password}


def apply(environment: Mapping[str, str], say: Callable[[str], None] = lambda text: None) -> None:
    """Make every user whose password is there, with its permissions in AMQP_URI's virtual host. Again changes nothing.

    The management interface is AMQP_MANAGEMENT_URI, with the user and password of AMQP_URI where it names none.
    Raises Refused.
    """
    broker, management = urlsplit(environment["AMQP_URI"]), environment["AMQP_MANAGEMENT_URI"].rstrip("/")
    vhost = quote(broker.path.removeprefix("/"), safe="%") or "%2F"
    with requests.Session() as http:
        # Neither another authority nor a proxy that the environment names for other errands
        http.trust_env = False
        http.verify = environment.get("AMQP_CA_FILE") or True
        if not urlsplit(management).username and broker.username:
            http.auth = (broker.username, broker.password or "")
        for user, password in passwords(environment).items():
            allowed = permissions(user)
            _put(http, management, f"users/{name_of(user)}", {"password": password, "tags": ""})
            _put(http, management, f"permissions/{vhost}/{name_of(user)}", allowed.resources())
            for exchange, (write, read) in allowed.topics.items():
                body = {"exchange": exchange, "write": any_of(write), "read": any_of(read)}
                _put(http, management, f"topic-permissions/{vhost}/{name_of(user)}", body)
            say(f"broker user {name_of(user)}")


def _put(http: requests.Session, management: str, path: str, body: dict[str, str]) -> None:
    try:
        answer = http.put(f"{management}/api/{path}", json=body, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        # The error's own text may hold the address, and with it a password.
        raise Refused(f"broker, {path}: {type(error).__name__}") from None
    if not answer.ok:
        raise Refused(f"broker, {path}: {answer.status_code} {answer.text[:300]}")


def table() -> str:
    """What each user may do, as a table in Markdown."""
    lines = ["| user | publishes | takes | calls | queues of its own |", "| --- | --- | --- | --- | --- |"]
    for user in BROKER_USERS:
        allowed = permissions(user)
        events = next(pair for exchange, pair in allowed.topics.items() if exchange != RPC)
        calls = sorted(key.partition("\\")[0] for key in allowed.topics[RPC][0] if key.endswith(_METHOD))
        cells = (events[0], sorted(events[1]), calls, [_shown(pattern) for pattern in allowed.configure])
        lines.append(f"| {name_of(user)} | {' | '.join(', '.join(f'`{it}`' for it in cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _shown(pattern: str) -> str:
    return pattern.replace(_UUID, "*").replace("[0-9]+", "*").replace("\\.", ".").replace(".*", "*").replace("|", ", ")


def main() -> int:
    """Show the table, or make the users; what a person can act on is said without a traceback."""
    parser = argparse.ArgumentParser(prog="tools.broker_users", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["show", "apply"], default="show")
    if parser.parse_args().what == "show":
        print(table(), end="")
        return 0
    try:
        apply(os.environ, print)
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
