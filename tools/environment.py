"""The environment of a running system, built in this one place: addresses, ports, secrets, folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from tools.keys import load_secrets
from tools.network import REAL, SIM, Network
from tools.nodes import Nodes
from tools.paths import BROKER_USERS, ROOT
from tools.ports import free_port, is_free

# The port variable and usual port of each process that listens.
HTTP = {
    "gateway": ("OSS_HTTP_PORT", 8000),
    "order": ("ORDER_HTTP_PORT", 8001),
    "activation": ("ACTIVATION_HTTP_PORT", 8002),
    "scheduling": ("SCHEDULING_HTTP_PORT", 8003),
    "fieldwork": ("FIELDWORK_HTTP_PORT", 8004),
    "mypage": ("MYPAGE_HTTP_PORT", 8005),
    "elements": ("ELEMENT_SIM_PORT", 8010),
}


class PortTaken(Exception):
    """The gateway's port is in use; the text says what to do."""


def http_ports(*, fixed: bool) -> dict[str, int]:
    """A port for each process: the usual ones (`fixed`), or free ones.

    With `fixed`, only the gateway insists on its port (raises PortTaken); the others move to a free one.
    """
    if not fixed:
        return {name: free_port() for name in HTTP}
    ports = {}
    for name, (variable, usual) in HTTP.items():
        port = int(os.environ.get(variable) or usual)
        if is_free(port):
            ports[name] = port
        elif name == "gateway":
            raise PortTaken(f"port {port} of 127.0.0.1 is in use: stop what listens there, or set {variable}")
        else:
            ports[name] = free_port()
    return ports


def system_environment(
    folder: Path, nodes: Nodes, network: Network | None, ports: Mapping[str, int], overrides: Mapping[str, str]
) -> dict[str, str]:
    """What the system adds to the environment of its processes; `overrides` win. Without a network it is simulated."""
    keys = load_secrets(folder)
    env = {HTTP[name][0]: str(port) for name, port in ports.items()}
    env |= nodes.environment()
    env |= {name: keys[name] for name in ("TOKEN_KEY", "STAFF_PASSWORD", "BNG_LINE_KEY")}
    env |= {"ELEMENTS_DRIVER": SIM} if network is None else {"ELEMENTS_DRIVER": REAL, **network.environment()}
    env |= {
        "ELEMENT_SIM_HOST": "127.0.0.1",
        "ELEMENT_SIM_STATE": str(folder / "elements"),
        "JOURNAL_PATH": str(folder / "journal.sqlite3"),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }
    named = overrides.get("AMQP_MANAGEMENT_URI") or os.environ.get("AMQP_MANAGEMENT_URI")
    management = named if nodes.rabbit is None else nodes.rabbit.management_uri
    if management:
        # Through it `tools.prepare` gives each service a user of its own; on a broker without, all share AMQP_URI's.
        env["AMQP_MANAGEMENT_URI"] = management
        # Users are the broker's, not a virtual host's: systems that share a private one must know them by one password.
        users = keys if nodes.rabbit is None else load_secrets(nodes.folder)
        env |= {name: users[name] for name in map(_password_of, BROKER_USERS)}
    return env | dict(overrides)


def environment_of(user: str, env: Mapping[str, str]) -> dict[str, str]:
    """What of the system's environment one process gets: AMQP_URI with its own user, and nobody else's password."""
    own = {name: value for name, value in env.items()
           if name != "AMQP_MANAGEMENT_URI" and not name.endswith("BROKER_PASSWORD")}  # fmt: skip
    password = env.get(_password_of(user))
    if password and "AMQP_MANAGEMENT_URI" in env:
        address = urlsplit(env["AMQP_URI"])
        place = f"oss_{user}:{quote(password, safe='')}@{address.netloc.rpartition('@')[2]}"
        own["AMQP_URI"] = address._replace(netloc=place).geturl()
    return own


def _password_of(user: str) -> str:
    return f"{user.upper()}_BROKER_PASSWORD"


