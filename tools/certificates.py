"""The files with which a private node speaks TLS: its certificate, its key, and who signed it. Made by tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files; `authority` is what clients are given."""

    authority: Path
    certificate: Path
    key: Path
