"""Which elements there are and which keys each has. What an element does not have, it refuses in its own words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

NAMESPACES = {"olt": "service-port", "bng": "account", "tv": "entitlement"}


@dataclass(frozen=True)
class Element:
    """One network element. `slots`, `pons` and `onus` count an OLT's service ports and are 0 elsewhere."""

    name: str
    kind: str
    slots: int = 0
    pons: int = 0
    onus: int = 0

    def why_not(self, key: str) -> str | None:
        """The element's words where it has no such key, else None. Keys read `namespace/name`."""
        namespace, _, name = key.partition("/")
        if namespace != NAMESPACES[self.kind]:
            return f"{self.name}: unknown object class {namespace!r}"
        if not name:
            return f"{self.name}: {namespace} without a name"
        if self.kind == "olt" and not self._has_port(name.split("/")):
            return f"{self.name}: no such port {name}"
        return None

    def _has_port(self, parts: list[str]) -> bool:
        counts = (self.slots, self.pons, self.onus)
        return len(parts) == 3 and all(
            part.isascii() and part.isdigit() and 1 <= int(part) <= count
            for part, count in zip(parts, counts, strict=True)
        )


def load(path: Path) -> dict[str, Element]:
    """Read the elements from a YAML file (`elements: {name: {kind, slots, pons, onus}}`; other fields are not for us).

    Raises ValueError for a kind that does not exist.
    """
    described: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["elements"]
    elements = {
        name: Element(name, fields["kind"], *(int(fields.get(count, 0)) for count in ("slots", "pons", "onus")))
        for name, fields in described.items()
    }
    for element in elements.values():
        if element.kind not in NAMESPACES:
            raise ValueError(f"{element.name}: kind must be one of {', '.join(NAMESPACES)}, not {element.kind!r}")
    return elements
