"""Settings: the base lies under a service's file, the environment over both, and a missing key says its name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from nameko.exceptions import ConfigurationError

from chassis.settings import deep_merge, lookup, merged, setting


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.yaml"
    path.write_text("LOG_LEVEL: INFO\nRPC:\n  order:\n    timeout_s: ${OSS_TEST_TIMEOUT_S:5}\n    breaker: 3\n")
    return path


def test_service_file_wins_over_the_base_key_by_key(base: Path) -> None:
    config = {"BASE": str(base), "RPC": {"order": {"breaker": 9}, "mypage": {"breaker": 1}}}
    assert merged(config)["RPC"] == {"order": {"timeout_s": 5, "breaker": 9}, "mypage": {"breaker": 1}}
    assert merged(config)["LOG_LEVEL"] == "INFO"


def test_environment_sets_a_value_and_keeps_its_yaml_type(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSS_TEST_TIMEOUT_S", "0.25")
    assert lookup(merged({"BASE": str(base)}), "RPC.order.timeout_s") == 0.25


def test_merging_changes_neither_side_and_happens_once(base: Path) -> None:
    config = {"BASE": str(base), "RPC": {"order": {"breaker": 9}}}
    assert merged(config) is merged(config)
    assert config == {"BASE": str(base), "RPC": {"order": {"breaker": 9}}}


def test_lists_and_falsy_values_replace_the_base_whole() -> None:
    assert deep_merge({"a": [1, 2], "b": 1, "c": {"d": 1}}, {"a": [], "b": 0, "c": None}) == {
        "a": [],
        "b": 0,
        "c": None,
    }


def test_missing_key_is_named_with_the_place_where_it_ends(base: Path) -> None:
    container = SimpleNamespace(config={"BASE": str(base)})
    with pytest.raises(ConfigurationError, match=r"'RPC\.order\.nothing' is missing"):
        setting(container, "RPC.order.nothing")
    with pytest.raises(ConfigurationError, match=r"nothing at 'RPC\.nobody'"):
        setting(container, "RPC.nobody.timeout_s")
    assert setting(container, "RPC.nobody.timeout_s", 2) == 2
    assert setting(container, "RPC.nobody", None) is None


@pytest.mark.parametrize("content", ["- a list\n", "a: [\n", None])
def test_broken_base_names_its_file(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "broken.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"broken\.yaml"):
        merged({"BASE": str(path)})
