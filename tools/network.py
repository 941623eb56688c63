"""The real network elements together: two access nodes, a BNG and a TV middleware, as private servers.

Names as in config/elements.yaml. What the environment says where to find (OLT_1_HOST, OLT_2_HOST, BNG_1_DB_URI,
TV_1_URL) is used as it is there, and not started.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tools import bng, olt, packages
from tools.bng import Bng
from tools.keys import load_secrets
from tools.olt import Olt
from tools.process import Child
from tools.tv import Tv

REAL, SIM = "real", "sim"
_ELSEWHERE = {"olt-1": "OLT_1_HOST", "olt-2": "OLT_2_HOST", "bng-1": "BNG_1_DB_URI", "tv-1": "TV_1_URL"}


class Element(Protocol):
    """One private network element. It can be killed or frozen at any time, and started or thawed again."""

    name: str

    @property
    def children(self) -> tuple[Child, ...]:
        """Its processes."""

    def environment(self) -> dict[str, str]:
        """How activation reaches it, once it has been started."""

    def start(self) -> None:
        """Start what of it does not run; returns when it answers."""

    def stop(self) -> None:
        """Stop it as an operator would; what it holds stays."""

    def kill(self) -> None:
        """`kill -9`."""

    def freeze(self) -> None:
        """It hangs: nothing answers."""

    def thaw(self) -> None:
        """It goes on."""


class Network:
    """The elements under `folder`. `radius_uri`: the database of the BNG's accounts, made where it is missing.

    `environment` may name elements that run elsewhere.
    """

    def __init__(self, folder: Path, *, radius_uri: str, environment: Mapping[str, str] = os.environ) -> None:
        folder = folder.resolve()
        made: list[Element] = [
            Olt("olt-1", folder / "olt-1"),
            Olt("olt-2", folder / "olt-2"),
            Bng(folder / "bng-1", uri=radius_uri, name="bng-1"),
            Tv(folder / "tv-1", key=load_secrets(folder)["TV_1_KEY"], name="tv-1"),
        ]
        self.elements = {element.name: element for element in made if not environment.get(_ELSEWHERE[element.name])}

    def __getitem__(self, name: str) -> Element:
        return self.elements[name]

    def start(self) -> None:
        """Start what does not run; returns when each answers. Raises PackagesMissing, NotInTime."""
        packages.ensure(*self.servers())
        for element in self.elements.values():
            if not all(child.alive for child in element.children):
                element.start()

    def stop(self) -> None:
        """Stop what was started here; what the elements hold stays."""
        for element in self.elements.values():
            for child in element.children:
                child.ask_to_stop()
        for element in self.elements.values():
            element.stop()

    def servers(self) -> tuple[packages.Server, ...]:
        """The packages' servers that it needs."""
        kinds = {type(element) for element in self.elements.values()}
        return tuple(server for kind, server in ((Olt, olt.SERVER), (Bng, bng.SERVER)) if kind in kinds)

    def environment(self) -> dict[str, str]:
        """How activation reaches the elements, once they have been started."""
        return {name: value for element in self.elements.values() for name, value in element.environment().items()}
