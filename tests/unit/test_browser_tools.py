"""How the browser gets here, which pages it is shown, and that `make test` runs both halves of the tests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tools import browser, packages
from tools.page_data import CUSTOMERS, TECHNICIANS
from tools.paths import ROOT
from tools.screenshots import FOLDER, LANGUAGES, SHOWN, index, pictures


def planned(*arguments: str) -> list[str]:
    """What `make test ...` would do, the linters left out."""
    done = subprocess.run(["make", "-n", "--no-print-directory", "test", *arguments], cwd=ROOT, capture_output=True,
                          text=True, check=True)  # fmt: skip
    return [line for line in done.stdout.splitlines() if " -m pytest" in line]


def test_make_test_runs_every_test_once_and_those_with_a_browser_in_a_process_of_their_own() -> None:
    runs = planned()
    [within] = [run for run in runs if "tests/browser" in run]
    assert "tests/browser --confcutdir=tests/browser" in within
    named = [word for run in runs for word in run.split() if word.startswith("tests/")]
    files = [path for name in named for path in ROOT.glob(f"{name}/test_*.py" if (ROOT / name).is_dir() else name)]
    assert sorted(files) == sorted((ROOT / "tests").glob("*/test_*.py"))


def test_make_test_checks_as_well() -> None:
    done = subprocess.run(["make", "-n", "--no-print-directory", "test"], cwd=ROOT, capture_output=True, text=True)
    for tool in ("ruff check", "mypy", "tools.secret_scan", "tools.manifests_check"):
        assert f"-m {tool}" in done.stdout


def test_make_test_with_arguments_runs_those_without_a_browser_only() -> None:
    [run] = planned("PYTEST_ARGS=tests/unit -q")
    assert run.endswith("-m pytest tests/unit -q")


def test_a_browser_of_another_place_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/opt/chromium/chrome")
    assert browser.find_chromium() == Path("/opt/chromium/chrome")
    packages.ensure(browser.CHROMIUM, browser.FONTS)


def test_whoever_may_not_install_a_browser_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    monkeypatch.setattr(browser, "_FONT_PLACES", ())
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    with pytest.raises(packages.PackagesMissing, match=r"Chromium, a Korean font.*install chromium fonts-nanum"):
        packages.ensure(browser.CHROMIUM, browser.FONTS)


def test_every_page_is_shown_under_a_name_of_its_own_to_somebody_who_exists() -> None:
    names = [shown.name for shown in SHOWN]
    assert len(names) == len(set(names))
    staff = set(re.findall(r"username: (\w+)", (ROOT / "config" / "seed.yaml").read_text(encoding="utf-8")))
    for shown in SHOWN:
        assert shown.who is None or shown.who in staff | CUSTOMERS.keys(), shown.name
        assert set(re.findall(r"\{(\w+)\}", shown.path)) <= CUSTOMERS.keys() | {"day"}, shown.name
    assert set(TECHNICIANS) <= CUSTOMERS.keys() and set(TECHNICIANS.values()) <= staff


def test_every_page_has_its_pictures() -> None:
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == index(), "make screenshots"
    wanted = {path for shown in SHOWN for lang in LANGUAGES for path in pictures(shown, lang).values()}
    assert wanted == set(FOLDER.glob("*.png")), "make screenshots"
