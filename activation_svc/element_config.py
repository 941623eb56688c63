"""The elements there are: `config/elements.yaml`, checked and typed, with values from the environment."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from activation_svc.plan import PORT, Resource

_VARIABLE = re.compile(r"\$\{(\w+)(?::([^}]*))?\}")


class ElementConfig(BaseModel):
    """One element. `slots`, `pons`, `onus` and `vlans` ("100-3999") are an OLT's, `addresses` (a network) a BNG's.

    `address` is what its driver needs to reach it; all its values are text, and some of them are secrets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["olt", "bng", "tv"]
    driver: Literal["netconf", "radius", "http", "sim"]
    address: dict[str, str] = Field(default_factory=dict, repr=False)
    slots: int = Field(default=0, ge=0, le=99)
    pons: int = Field(default=0, ge=0, le=999)
    onus: int = Field(default=0, ge=0, le=999)
    vlans: str = Field(default="", pattern=r"^([1-9]\d*-[1-9]\d*)?$")
    addresses: ipaddress.IPv4Network | None = None

    @model_validator(mode="after")
    def _vlans_exist(self) -> ElementConfig:
        first, last = self.vlan_range
        if self.vlans and not 1 <= first <= last <= 4094:
            raise ValueError(f"vlans must lie within 1-4094, not {self.vlans}")
        return self

    @property
    def vlan_range(self) -> tuple[int, int]:
        """The first and the last VLAN; (1, 0) where there is none."""
        first, _, last = self.vlans.partition("-")
        return (int(first), int(last)) if self.vlans else (1, 0)


def load(path: Path, environment: Mapping[str, str] = os.environ) -> dict[str, ElementConfig]:
    """The elements by name. Raises pydantic.ValidationError, OSError or yaml.YAMLError for a file that is none."""
    described = yaml.safe_load(path.read_text(encoding="utf-8"))["elements"]
    return {name: ElementConfig.model_validate(_expanded(fields, environment)) for name, fields in described.items()}


def resources_of(name: str, element: ElementConfig) -> Iterator[Resource]:
    """Everything this element has to give out, pool by pool, in a fixed order."""
    for slot in range(1, element.slots + 1):
        for pon in range(1, element.pons + 1):
            for onu in range(1, element.onus + 1):
                yield Resource(PORT, name, f"{slot}/{pon}/{onu}")
    first, last = element.vlan_range
    for vlan in range(first, last + 1):
        yield Resource("vlan", name, str(vlan))
    for address in element.addresses.hosts() if element.addresses is not None else ():
        yield Resource("ip", name, str(address))


def _expanded(value: Any, environment: Mapping[str, str]) -> Any:
    """Replace `${NAME:default}` in every text; what the environment gives stays text, also where it is all digits."""
    if isinstance(value, dict):
        return {key: _expanded(inner, environment) for key, inner in value.items()}
    if not isinstance(value, str):
        return str(value) if isinstance(value, int) else value
    return _VARIABLE.sub(lambda name: environment.get(name[1]) or name[2] or "", value)
