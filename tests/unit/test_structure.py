"""The shape of the repository (STYLE.md): who may import whom, the rooms of a service, the size of a file."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("order_svc", "activation_svc", "scheduling_svc", "fieldwork_svc", "mypage_svc", "gateway_svc")
OURS = {*SERVICES, "chassis", "contracts", "element_sim", "tv_middleware", "tools", "tests"}
MAX_LINES = 300

ROOMS = dict.fromkeys(SERVICES, ("README.md", "service.py", "domain.py", "models.py", "migrations"))
# The gateway decides nothing about an order, so it has no state machine.
ROOMS["gateway_svc"] = ("README.md", "service.py", "models.py", "migrations")

# Folders of one machine (a home, a checkout, a scratch folder of a named user) and hosts that only one network knows.
_MACHINE = re.compile(rb"/(?:work|root|tmp|home/[a-z]\w*|Users/\w+)/|[\w-]+\.(?:internal|corp|lan)\b")
_TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".in", ".lock", ".txt", ".json", ".sh", ".cfg", ".ini", ".mako",
         ".tour", ".conf", ".html", ".css", ".js", ""}


def _tracked() -> list[Path]:
    """Every file under version control, or every file where there is no repository (an unpacked archive)."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, check=False)
    if listed.returncode == 0:
        names = listed.stdout.decode().split("\0")
        return [ROOT / name for name in names if name and (ROOT / name).is_file()]
    apart = {".venv", ".local", "node_modules"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not apart & set(path.parts)]


FILES = _tracked()


def _python(*folders: str) -> list[Path]:
    return [path for path in FILES if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the first part of each imported module's name (also of imports inside functions), with its line."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0], node.lineno


def _forbidden(folder: str, allowed: set[str]) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{line} imports {name}"
            for path in _python(folder) for name, line in _imports(path) if name in OURS - allowed]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_only_chassis_contracts_and_itself(service: str) -> None:
    assert _python(service), f"{service} has no code"
    assert _forbidden(service, {"chassis", "contracts", service}) == []


def test_chassis_imports_no_service_and_no_contracts() -> None:
    assert _forbidden("chassis", {"chassis"}) == []


def test_contracts_import_nothing_of_ours() -> None:
    assert _forbidden("contracts", {"contracts"}) == []


@pytest.mark.parametrize("element", ["element_sim", "tv_middleware"])
def test_what_stands_in_for_equipment_stands_alone(element: str) -> None:
    assert _python(element), f"{element} has no code"
    assert _forbidden(element, {element}) == []


@pytest.mark.parametrize("service", ["order_svc", "activation_svc", "scheduling_svc", "fieldwork_svc", "mypage_svc"])
def test_the_domain_knows_no_framework_no_database_and_no_clock(service: str) -> None:
    outside = {"nameko", "kombu", "sqlalchemy", "eventlet", "structlog", "logging", "time", "random", "os", "socket"}
    domain = ROOT / service / "domain.py"
    assert [name for name, _ in _imports(domain) if name in outside] == []
    assert re.findall(r"\b(?:utc_?now|now|today|uuid4|uuid7)\(\)", domain.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_rooms_it_needs(service: str) -> None:
    missing = [room for room in ROOMS[service] if not (ROOT / service / room).exists()]
    assert missing == []


def test_no_python_file_is_longer_than_300_lines() -> None:
    lengths = {path: len(path.read_bytes().splitlines()) for path in FILES if path.suffix == ".py"}
    assert [f"{path.relative_to(ROOT)}: {length}" for path, length in lengths.items() if length > MAX_LINES] == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    found = []
    for path in FILES:
        if path.suffix not in _TEXT or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if _MACHINE.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.decode(errors='replace').strip()[:100]}")
    assert found == []
