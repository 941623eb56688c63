"""Settings: a service's YAML over the shared base, every value open to the environment.

Not for secrets' storage: those arrive through `${VAR}` in the YAML. Read with `merged(container.config)`,
with `setting(container, "A.B")`, or injected into a service by the `Settings` dependency.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from nameko.cli.main import setup_yaml_parser
from nameko.exceptions import ConfigurationError
from nameko.extensions import DependencyProvider

BASE_KEY = "BASE"
_REQUIRED = object()
_parser_ready = False
# The config itself is kept beside its merged form, so that its id cannot be given to another dict.
_merged: dict[tuple[int, str], tuple[dict[str, Any], dict[str, Any]]] = {}


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Return the YAML file at `path` with Nameko's `${VAR:default}` replaced from the environment.

    Raises ConfigurationError naming the file where it is missing, broken, or not a mapping.
    """
    global _parser_ready
    if not _parser_ready:
        setup_yaml_parser()
        _parser_ready = True
    try:
        loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"settings file {str(path)!r} cannot be read: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigurationError(f"settings file {str(path)!r} must hold a mapping, not {type(loaded).__name__}")
    return loaded


def deep_merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return a new dict: `over` wins, mappings are merged key by key, everything else is replaced whole."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        both_map = isinstance(below, dict) and isinstance(value, dict)
        result[key] = deep_merge(below, value) if both_map else value  # type: ignore[arg-type]
    return result


def merged(config: dict[str, Any]) -> dict[str, Any]:
    """Return `config` over the YAML file that config["BASE"] names (a path relative to the working folder).

    The result is cached for this config object; a config without BASE is its own merged form.
    """
    base = config.get(BASE_KEY)
    if not base:
        return config
    key = (id(config), str(base))
    if key not in _merged:
        _merged[key] = (config, deep_merge(merged(load_yaml(base)), config))
    return _merged[key][1]


def lookup(settings: dict[str, Any], path: str, default: Any = _REQUIRED) -> Any:
    """Return the value at the dotted `path`, or `default`; ConfigurationError names the key where both lack."""
    value: Any = settings
    walked: list[str] = []
    for part in path.split("."):
        walked.append(part)
        if not isinstance(value, dict) or value.get(part) is None:
            if default is _REQUIRED:
                raise ConfigurationError(f"setting {path!r} is missing (nothing at {'.'.join(walked)!r})")
            return default
        value = value[part]
    return value


def setting(container: Any, path: str, default: Any = _REQUIRED) -> Any:
    """Return the container's setting at the dotted `path` ("RPC.order.timeout_s"), or `default`.

    Raises ConfigurationError naming the key where it is missing and no default is given.
    """
    return lookup(merged(container.config), path, default)


class Settings(DependencyProvider):
    """Injects the merged settings as a dict: `self.settings["MIN_INTERNET_QUANTITY"]`."""

    def setup(self) -> None:
        """Merge once, so that a broken settings file stops the start and not the first request."""
        self._settings = merged(self.container.config)

    def get_dependency(self, worker_ctx: Any) -> dict[str, Any]:
        """Return the merged settings."""
        return self._settings
