"""The ways to run the system agree with each other: Procfile, compose file, settings, lock."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from honcho.environ import parse_procfile

from tools.environment import HTTP
from tools.network import Network
from tools.olt import Olt
from tools.paths import ROOT, SERVICES

COMMANDS = dict(parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes)
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
SETTINGS = sorted(path.name for path in (ROOT / "config").glob("*.yaml") if path.stem in {"base", *SERVICES})


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}".lstrip("."))
    else:
        yield path, value


def test_procfile_runs_every_service_and_the_elements() -> None:
    assert set(COMMANDS) == {*SERVICES, "elements"}


@pytest.mark.parametrize("name", [*SERVICES, "elements"])
def test_compose_runs_the_same_command_as_the_procfile(name: str) -> None:
    assert COMPOSE[name]["command"] == shlex.split(COMMANDS[name])


@pytest.mark.parametrize("name", SERVICES)
def test_compose_asks_each_service_for_its_own_readiness(name: str) -> None:
    assert COMPOSE[name]["healthcheck"]["test"][-1] == str(HTTP[name][1])


@pytest.mark.parametrize("name", SERVICES)
def test_usual_port_is_the_one_in_the_settings(name: str) -> None:
    variable, port = HTTP[name]
    text = (ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8")
    assert f":${{{variable}:{port}}}" in text


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_can_come_from_the_environment(name: str) -> None:
    loaded = yaml.load((ROOT / "config" / name).read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    fixed = [path for path, value in leaves(loaded) if path != "BASE" and "${" not in str(value)]
    assert fixed == [], f"config/{name}: these values cannot be set from the environment"


def test_what_the_private_elements_say_is_what_activation_asks_for(tmp_path: Path) -> None:
    text = (ROOT / "config" / "elements.yaml").read_text(encoding="utf-8")
    elements = yaml.safe_load(text)["elements"]
    network = Network(tmp_path, radius_uri="postgresql+psycopg2://somewhere/radius", environment={})
    assert list(network.elements) == list(elements)
    for name, element in network.elements.items():
        if isinstance(element, Olt):
            element.folder.mkdir()
            (element.folder / "host_key.pub").write_text("ssh-ed25519 AAAA comment\n")
        asked = set(re.findall(r"\$\{(\w+)", str(elements[name])))
        assert asked == element.environment().keys()


def test_elements_that_run_elsewhere_are_not_started(tmp_path: Path) -> None:
    elsewhere = {"OLT_2_HOST": "olt-2.example.net", "BNG_1_DB_URI": "postgresql+psycopg2://bng.example.net/radius"}
    network = Network(tmp_path, radius_uri="", environment=elsewhere)
    assert list(network.elements) == ["olt-1", "tv-1"]
    assert [server.packages[0] for server in network.servers()] == ["netconfd"]


def test_no_secret_has_a_value_in_the_settings() -> None:
    for name in SETTINGS:
        for path, value in leaves(yaml.load((ROOT / "config" / name).read_text(), Loader=yaml.BaseLoader)):
            if re.search("KEY$|PASSWORD|SECRET", path):
                assert re.fullmatch(r"\$\{[A-Z_]+:?\}", str(value)), f"config/{name}: {path} has a default"


def test_every_locked_library_has_a_hash_and_none_a_place() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z0-9])", lock.strip())
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.search(r"--(extra-)?index-url|--find-links|--trusted-host|://|\s@\s", lock) is None


def imported_libraries() -> Iterator[tuple[str, str]]:
    services = (f"{name}_svc" for name in SERVICES)
    folders = ("chassis", "contracts", "tools", "tests", "element_sim", "tv_middleware", *services)
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for top in {name.partition(".")[0] for name in names}:
                if top not in sys.stdlib_module_names and top not in folders:
                    yield top, str(path.relative_to(ROOT))


def test_every_library_that_is_imported_is_asked_for() -> None:
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    asked = {re.split(r"[\[=<>~!; ]", line)[0].lower().replace("_", "-") for line in lines if line[:1].isalnum()}
    brought_by = packages_distributions()
    missing = {
        f"{top} (in {path})"
        for top, path in imported_libraries()
        if not {name.lower().replace("_", "-") for name in brought_by.get(top, ())} & asked
    }
    assert missing == set(), "add these to requirements.in and run `make lock`"
