"""What the documents name exists: links, files, make targets, modules, RPC methods, routes, settings, metrics."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from chassis.rpc_server import BoundedRpc
from contracts.orders import OrderRequest, check_internet_quantity
from gateway_svc.service import document as openapi
from tools.paths import SERVICES

ROOT = Path(__file__).resolve().parents[2]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_ROUTE = re.compile(r"(?:GET|POST|PUT|DELETE) /[\w/.{}<>-]+")
_SETTING = re.compile(r"[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+")
_METRIC = re.compile(r"\b(?:oss|gateway_journal|gateway_streams)_[a-z_]+")
_CALL = re.compile(r"(?:(?P<service>[a-z]+)\.)?(?P<method>[a-z_]+)\((?P<arguments>[a-z_, ]*)\)")


@cache
def tracked() -> tuple[str, ...]:
    """Names of the repository's files, or of all files where there is no repository (an unpacked archive)."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, check=False)
    if listed.returncode == 0:
        names = listed.stdout.decode().split("\0")
        return tuple(name for name in names if name and (ROOT / name).is_file())
    return tuple(str(path.relative_to(ROOT)) for path in ROOT.rglob("*")
                 if path.is_file() and not {".venv", ".local", "node_modules"} & set(path.parts))


DOCUMENTS = [ROOT / name for name in tracked() if name.endswith(".md")]


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def document(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def prose(path: Path) -> str:
    """The document without its fenced blocks."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def codes(path: Path) -> list[str]:
    """What stands between backticks in the prose."""
    return _CODE.findall(prose(path))


def anchors(path: Path) -> set[str]:
    """The anchors that headings get on GitHub."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def sources() -> str:
    """All code and configuration but the tests."""
    suffixes = (".py", ".yaml", ".yml", "Makefile", "Dockerfile")
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in tracked()
                     if name.endswith(suffixes) and not name.startswith("tests/"))


@cache
def rpc_methods() -> dict[str, dict[str, Any]]:
    """By service, the functions that answer RPC, by name."""
    found: dict[str, dict[str, Any]] = {}
    for service in SERVICES:
        module = importlib.import_module(f"{service}_svc.service")
        classes = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if getattr(cls, "name", "") == service]
        found[service] = {
            name: method for cls in classes for name, method in inspect.getmembers(cls, inspect.isfunction)
            if any(isinstance(entry, BoundedRpc) for entry in getattr(method, "nameko_entrypoints", ()))
        }
    return found


def test_links_lead_somewhere(document: Path) -> None:
    for target in _LINK.findall(prose(document)):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in anchors(file), f"{target}: there is no such heading, only {sorted(anchors(file))}"


def test_files_that_are_named_exist(document: Path) -> None:
    tops = {name.partition("/")[0] for name in tracked() if "/" in name}
    names = {Path(name).name for name in tracked()}
    for code in codes(document):
        path = code.rstrip("/").partition(":")[0]
        if re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*", path) is None:
            continue
        if path.partition("/")[0] in tops and "/" in path:
            assert list(ROOT.glob(path)), f"there is no {path}"
        elif re.fullmatch(r"\w+\.(py|yaml|md|tour)", path):
            assert path in names, f"there is no file of the name {path}"


def test_make_targets_and_modules_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {match for code in codes(document) for match in re.findall(r"^make ([a-z-]+)", code)}
    named |= set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)) & {"run", "test", "up", "down", "shell", "check"}
    assert named <= targets, f"the Makefile lacks {named - targets}"
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module), f"there is no module {module}"


def test_rpc_methods_and_their_arguments_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for service, method in re.findall(r"n\.rpc\.([a-z]+)\.([a-z_]+)", text):
        assert method in rpc_methods()[service], f"{service} does not answer {method}"
    for code in codes(document):
        match = _CALL.fullmatch(code)
        if match is None or (match["service"] and match["service"] not in SERVICES):
            continue
        known = [methods[match["method"]] for name, methods in rpc_methods().items()
                 if match["method"] in methods and match["service"] in (None, name)]
        assert known or f"def {match['method']}(" in sources(), f"nothing is called {code}"
        for function in known[:1]:
            takes = inspect.signature(function).parameters
            if any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values()):
                continue
            unknown = {name for name in match["arguments"].replace(" ", "").split(",") if name} - takes.keys()
            assert not unknown, f"{match['method']} takes no {unknown}"


def test_routes_exist(document: Path) -> None:
    if document.parent.name == "tv_middleware":
        return  # not the gateway's: tests/unit/test_tv_middleware.py asks each of them

    def shape(path: str) -> str:
        return re.sub(r"[{<][^}>]*[}>]", "*", path)

    served = {f"{method.upper()} {shape(path)}" for path, item in openapi()["paths"].items() for method in item}
    named = {shape(match) for code in codes(document) for match in _ROUTE.findall(code)}
    assert named <= served, f"the gateway does not serve {named - served}"


def test_settings_and_metrics_exist(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        return
    for code in codes(document):
        for name in _SETTING.findall(code):
            known = name in sources() or (name.endswith("_DB_URI") and name[:-7].lower() in SERVICES)
            assert known, f"there is no setting {name}"
        for name in _METRIC.findall(code):
            defined = f'"{name}"' in sources() or f'"{name.removesuffix("_total")}"' in sources()
            assert defined, f"there is no metric {name}"


def test_the_readme_s_order_is_one_that_is_taken() -> None:
    bodies = re.findall(r"-d '(\{.*?\})'", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(bodies) == 1
    check_internet_quantity(OrderRequest.model_validate_json(bodies[0]).items, 1)


@pytest.mark.parametrize("service", [name for name in SERVICES if name not in ("gateway", "mypage")])
def test_each_canvas_names_the_events_and_rpc_methods_of_its_service(service: str) -> None:
    canvas = (ROOT / f"{service}_svc" / "README.md").read_text(encoding="utf-8")
    domain = importlib.import_module(f"{service}_svc.domain")
    emitted = {name.partition("/")[0] for _, _, row in domain.TABLE for name in getattr(row, "emits", ())}
    missing = {name for name in {*domain.CONSUMES, *emitted} if f"`{name}`" not in canvas}
    assert not missing, f"the canvas of {service} leaves out {sorted(missing)}"
    own = rpc_methods()[service].keys() - {"overview", "list_parked", "replay_parked", "drop_parked",
                                           "republish_events", "order_messages", "show_pruning", "start_pruning"}
    assert not {name for name in own if name not in canvas}, f"the canvas of {service} leaves out RPC methods"
