"""Promises of the elements' configuration: the environment counts, what is lacking is named, no secret shows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from activation_svc import registry
from activation_svc.bng import RadiusBng
from activation_svc.element_config import ElementConfig, load, resources_of
from activation_svc.olt import NetconfOlt
from activation_svc.sim import SimElement
from activation_svc.tv import TvMiddleware
from activation_svc.worker_settings import WorkerSettings, worker_settings
from tools.paths import ROOT

SHIPPED = ROOT / "config" / "elements.yaml"
_OLT = {"HOST": "192.0.2.1", "PORT": "8300", "KEY_FILE": "key", "HOST_KEY": "ssh-ed25519 AA"}
ENVIRONMENT = {
    **{f"OLT_{number}_{name}": value for number in (1, 2) for name, value in _OLT.items()},
    "BNG_1_DB_URI": "postgresql+psycopg2://radius@127.0.0.1/radius", "BNG_1_SECRET": "0123",
    "TV_1_URL": "http://192.0.2.3:8020", "TV_1_KEY": "4567",
}  # fmt: skip


def test_the_shipped_elements_get_their_own_drivers_and_what_the_environment_says() -> None:
    described = load(SHIPPED, ENVIRONMENT)
    assert described["olt-1"].address["port"] == "8300"
    assert described["bng-1"].address["secret"] == "0123", "a secret of digits stays as it is"
    elements = registry.build(described, WorkerSettings())
    drivers = {name: type(driver) for name, driver in elements.drivers.items()}
    assert drivers == {"olt-1": NetconfOlt, "olt-2": NetconfOlt, "bng-1": RadiusBng, "tv-1": TvMiddleware}
    assert set(elements.breakers) == set(drivers)
    elements.close()


def test_one_switch_plays_all_elements() -> None:
    elements = registry.build(load(SHIPPED, {}), WorkerSettings(elements_driver="sim"))
    assert {type(driver) for driver in elements.drivers.values()} == {SimElement}


def test_what_an_element_lacks_is_named() -> None:
    with pytest.raises(registry.Misconfigured, match=r"olt-1: key_file is empty .*OLT_1_"):
        registry.build(load(SHIPPED, {}), WorkerSettings())
    bare = {"tv-1": ElementConfig(kind="tv", driver="http")}
    with pytest.raises(registry.Misconfigured, match="tv-1: its address lacks 'url'"):
        registry.build(bare, WorkerSettings())


def test_without_the_key_of_lines_only_the_simulator_will_do() -> None:
    described = load(SHIPPED, ENVIRONMENT)
    with pytest.raises(registry.Misconfigured, match="BNG_LINE_KEY"):
        registry.site(described, WorkerSettings())
    site = registry.site(described, worker_settings({"BNG_LINE_KEY": 123, "ELEMENTS_DRIVER": "real"}, {}))
    assert (site.line_key, site.elements["tv"]) == (b"123", "tv-1")
    assert registry.site(described, WorkerSettings(elements_driver="sim")).line_key == b""


def test_addresses_and_their_secrets_do_not_show() -> None:
    shown = repr(load(SHIPPED, ENVIRONMENT)) + repr(WorkerSettings(bng_line_key="a line key"))
    assert not [secret for secret in ("0123", "4567", "a line key") if secret in shown]


def test_an_element_gives_out_what_it_is_said_to_have() -> None:
    olt = ElementConfig(kind="olt", driver="sim", slots=2, pons=3, onus=4, vlans="100-109")
    bng = ElementConfig.model_validate({"kind": "bng", "driver": "sim", "addresses": "192.0.2.0/29"})
    found = [*resources_of("olt-1", olt), *resources_of("bng-1", bng)]
    assert Counter(each.pool for each in found) == {"service-port:olt-1": 24, "vlan:olt-1": 10, "ip:bng-1": 6}
    assert (found[0].name, found[23].name, found[24].name, found[-1].name) == ("1/1/1", "2/3/4", "100", "192.0.2.6")


@pytest.mark.parametrize("vlans", ["0-10", "10-5", "1-4095", "ten", "10"])
def test_vlans_that_do_not_exist_are_refused(tmp_path: Path, vlans: str) -> None:
    path = tmp_path / "elements.yaml"
    path.write_text(f"elements: {{olt-1: {{kind: olt, driver: netconf, vlans: '{vlans}'}}}}", encoding="utf-8")
    with pytest.raises(ValidationError, match="vlans"):
        load(path)
