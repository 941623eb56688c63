"""Builds activation's elements from their configuration: the one place that knows which drivers there are.

Protocol libraries are loaded only where an element needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from activation_svc.breaker import ElementBreaker
from activation_svc.driver import Driver
from activation_svc.element_config import ElementConfig, load
from activation_svc.element_link import Links
from activation_svc.elements import Elements
from activation_svc.plan import Site
from activation_svc.sim import SimElement
from activation_svc.worker_settings import WorkerSettings

SIM = "sim"


class Misconfigured(Exception):
    """The configuration of the elements lacks something; the text says what, and holds no secret."""


def build(described: Mapping[str, ElementConfig], settings: WorkerSettings) -> Elements:
    """Elements with a driver and a breaker each. Raises Misconfigured; opens no connection yet."""
    links = Links(settings.element_sim_host, settings.element_sim_port, settings.element_answer_timeout_s)
    drivers: dict[str, Driver] = {}
    for name, element in described.items():
        if SIM in (settings.elements_driver, element.driver):
            drivers[name] = SimElement(name, links)
            continue
        try:
            drivers[name] = BUILDERS[element.driver](name, element.address, settings)
        except KeyError as exc:
            raise Misconfigured(f"{name}: its address lacks {exc}") from exc
    breakers = {
        name: ElementBreaker(name, settings.element_breaker_failures, settings.element_breaker_reset_s)
        for name in drivers
    }
    return Elements(drivers, breakers=breakers, call_timeout_s=settings.element_call_timeout_s)


def site(described: Mapping[str, ElementConfig], settings: WorkerSettings) -> Site:
    """What plans need besides an order and its resources. Raises Misconfigured without a key for lines' secrets."""
    if not settings.bng_line_key and settings.elements_driver != SIM:
        raise Misconfigured("BNG_LINE_KEY is not set: lines' passwords are made with it")
    first: dict[str, str] = {}
    for name, element in described.items():
        first.setdefault(element.kind, name)
    return Site(first, settings.bng_line_key.encode())


def described_in(settings: WorkerSettings) -> dict[str, ElementConfig]:
    """The elements of the file that the settings name."""
    return load(Path(settings.elements_config))


def _netconf(name: str, address: Mapping[str, str], settings: WorkerSettings) -> Driver:
    from activation_svc.netconf_session import Address
    from activation_svc.olt import NetconfOlt

    where = Address(
        address["host"], int(address["port"]), address["username"], _given(name, address, "key_file"),
        _given(name, address, "host_key"),
    )
    return NetconfOlt(name, where, int(address.get("sessions", 2)))


def _radius(name: str, address: Mapping[str, str], settings: WorkerSettings) -> Driver:
    from activation_svc.bng import RadiusBng

    server = address["disconnect_host"], int(address["disconnect_port"])
    uri, secret = _given(name, address, "uri"), _given(name, address, "secret")
    return RadiusBng(name, uri, server, secret, sessions=int(address.get("sessions", 4)))


def _http(name: str, address: Mapping[str, str], settings: WorkerSettings) -> Driver:
    from activation_svc.tv import TvMiddleware

    return TvMiddleware(
        name, _given(name, address, "url"), _given(name, address, "key"), sessions=int(address.get("sessions", 8)),
        answer_timeout_s=settings.element_answer_timeout_s,
    )


def _given(name: str, address: Mapping[str, str], what: str) -> str:
    if not address[what]:
        variable = f"{name.upper().replace('-', '_')}_..."
        raise Misconfigured(f"{name}: {what} is empty (config/elements.yaml, {variable} in the environment)")
    return address[what]


BUILDERS: dict[str, Callable[[str, Mapping[str, str], WorkerSettings], Driver]] = {
    "netconf": _netconf,
    "radius": _radius,
    "http": _http,
}
