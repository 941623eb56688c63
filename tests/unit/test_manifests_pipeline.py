"""The pipeline runs what developers run, with no more rights than it needs, and pins what it uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.manifests import PlainLoader
from tools.manifests_check import WORKFLOWS
from tools.paths import ROOT

FILES = sorted(WORKFLOWS.glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def loaded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=PlainLoader)
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in loaded(path)["jobs"].values():
        yield from job.get("steps", ())


def commands(path: Path) -> str:
    return "\n".join(step.get("run", "") for step in steps(path))


def test_check_test_image_and_sbom_are_the_make_targets() -> None:
    called = {target for path in FILES for target in re.findall(r"\bmake ([a-z-]+)", commands(path))}
    assert {"check", "test", "audit-deps", "image", "image-smoke", "sbom"} <= called <= TARGETS
    for path in FILES:
        assert not re.search(r"\bpytest\b|\bruff\b|\bmypy\b|\bpip install\b", commands(path)), path.name


def test_nothing_is_released_that_has_not_passed() -> None:
    jobs = loaded(WORKFLOWS / "release.yml")["jobs"]
    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert all("ci" in job.get("needs", ()) for name, job in jobs.items() if name != "ci")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_actions_are_pinned_and_rights_are_few(path: Path) -> None:
    for step in steps(path):
        if "uses" in step:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@(v?\d+\.\d+\.\d+|[0-9a-f]{40})", step["uses"]), step["uses"]
    assert loaded(path)["permissions"] == {"contents": "read"}
    for name, job in loaded(path)["jobs"].items():
        assert "timeout-minutes" in job or "uses" in job, f"{name} may run for ever"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_text_of_strangers_becomes_a_command(path: Path) -> None:
    assert "pull_request_target" not in path.read_text(encoding="utf-8")
    assert "${{" not in commands(path), "expressions reach a shell through its environment only"
