"""Every text of a page stands in both catalogues, takes the same values in both, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fluent.syntax import FluentParser, ast, visitor
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from gateway_svc.pages.texts import FOLDER, LANGUAGES, language_of, texts

GATEWAY = FOLDER.parent
_HANGUL = re.compile(r"[가-힣]")


class _Values(visitor.Visitor):
    """Collects the names of values that a text takes."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_VariableReference(self, node: ast.VariableReference) -> None:
        self.names.add(node.id.name)


def _catalogue(language: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for file in sorted((FOLDER / language).glob("*.ftl")):
        for entry in FluentParser().parse(file.read_text(encoding="utf-8")).body:
            assert not isinstance(entry, ast.Junk), f"{file.name}: {entry.content}"
            if isinstance(entry, ast.Message):
                assert entry.id.name not in found, f"{language}/{file.name}: {entry.id.name} is there twice"
                values = _Values()
                values.visit(entry)
                found[entry.id.name] = values.names
    return found


def _files(*patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(GATEWAY.glob(pattern))


def test_both_languages_have_the_same_texts_with_the_same_values() -> None:
    korean, english = _catalogue("ko"), _catalogue("en")
    assert set(korean) == set(english)
    assert {key for key in korean if korean[key] != english[key]} == set()


def test_both_languages_have_the_same_files() -> None:
    assert [f.name for f in sorted((FOLDER / "ko").iterdir())] == [f.name for f in sorted((FOLDER / "en").iterdir())]


def test_every_text_that_a_page_names_is_there() -> None:
    known = _catalogue("ko")
    named: dict[str, str] = {}
    for file in _files("templates/**/*.html"):
        for key in re.findall(r"""\bt\(\s*["']([\w-]+)["']\s*[,)]""", file.read_text(encoding="utf-8")):
            named[key] = file.name
    for file in _files("pages/*.py"):
        source = file.read_text(encoding="utf-8")
        named |= dict.fromkeys(re.findall(r"""\bt\(\s*["']([\w-]+)["']\s*[,)]""", source), file.name)
        named |= {f"notice-{code}": file.name for code in re.findall(r"""notice=["']([\w-]+)["']""", source)}
    assert {key: file for key, file in named.items() if key not in known} == {}


def test_templates_scripts_and_styles_hold_no_text_of_their_own() -> None:
    found = [
        f"{file.relative_to(GATEWAY)}:{number}: {line.strip()}"
        for file in _files("templates/**/*.html", "static/**/*.js", "static/**/*.css", "pages/*.py")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if _HANGUL.search(line) and file.name != "formats.py"
    ]
    assert found == []


def test_templates_hold_no_inline_script_style_or_foreign_address() -> None:
    forbidden = re.compile(r"""\sstyle\s*=|\son\w+\s*=\s*["']|<style|<script(?![^>]*\bsrc=)|https?://(?!www\.w3\.org/)""")
    found = [
        f"{file.name}:{number}: {line.strip()}"
        for file in _files("templates/**/*.html")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if forbidden.search(line) and 'type="application/json"' not in line
    ]
    assert found == []


@pytest.mark.parametrize(
    ("query", "cookie", "accept", "language"),
    [
        ("", "", "", "ko"),
        ("", "", "fr, en;q=0.5", "en"),
        ("", "", "en-GB,en;q=0.9,ko;q=0.8", "en"),
        ("", "", "fr, de", "ko"),
        ("", "en", "ko", "en"),
        ("ko", "en", "en", "ko"),
        ("xx", "yy", "en", "en"),
    ],
)
def test_the_language_is_the_one_asked_for_then_the_chosen_one_then_the_browsers(
    query: str, cookie: str, accept: str, language: str
) -> None:
    headers = {"Accept-Language": accept, "Cookie": f"oss_lang={cookie}"}
    request = Request(EnvironBuilder(query_string={"lang": query}, headers=headers).get_environ())
    assert language_of(request) == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_missing_text_is_shown_as_its_key_and_logged(language: str, caplog: pytest.LogCaptureFixture) -> None:
    assert texts(language)("no-such-text") == "no-such-text"  # type: ignore[arg-type]
    assert "text_missing" in caplog.text
