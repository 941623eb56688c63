"""The secrets of one machine's system: made at the first start, kept in a file only its owner can read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from tools.paths import BROKER_USERS

_NAMES = (
    "TOKEN_KEY", "STAFF_PASSWORD", "DATABASE_PASSWORD", "BROKER_PASSWORD", "BNG_LINE_KEY", "TV_1_KEY",
    *(f"{user.upper()}_BROKER_PASSWORD" for user in BROKER_USERS),
)  # fmt: skip
_LONG = ("TOKEN_KEY", "BNG_LINE_KEY")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(path.suffix + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Write `NAME=value` lines that only their owner can read."""
    write_private(path, "".join(f"{name}={value}\n" for name, value in sorted(values.items())))


def read_env(path: Path) -> dict[str, str]:
    """Read `NAME=value` lines; a missing file is an empty one."""
    if not path.exists():
        return {}
    lines = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines() if "=" in line)
    return {name: value for name, _, value in lines}


def load_secrets(folder: Path) -> dict[str, str]:
    """The secrets of the system in `folder`. The environment wins over the file; missing ones are made and kept."""
    path = folder / "secrets.env"
    kept = read_env(path)
    made = {name: secrets.token_hex(32 if name in _LONG else 8) for name in _NAMES if name not in kept}
    if made:
        kept |= made
        write_env(path, kept)
    return kept | {name: os.environ[name] for name in _NAMES if os.environ.get(name)}
