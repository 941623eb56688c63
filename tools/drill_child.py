"""One drill as a child process in a private network namespace; its results come back in a JSON file.

    python -m tools.drill_child FOLDER SEED FORM ORDERS NAME

`tools.drill.run` starts it for drills with `own_network`. FORM is `long` or `short`, ORDERS a number or `-`.
"""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools import namespace, packages
from tools.drill_report import Result
from tools.paths import ROOT
from tools.process import tied_to_us

_RESULTS = "results.json"


def run_in_own_network(name: str, module: str, stage: Any) -> list[Result]:
    """Run the drill with what `stage` says of seed, form and orders, in a folder below that of its system.

    Everything it needs from the system's packages (SERVERS in its module) is there before: nothing can be fetched from
    inside. Raises PackagesMissing, NamespaceRefused, RuntimeError where it ended without results.
    """
    packages.ensure(namespace.SERVER, *getattr(importlib.import_module(module), "SERVERS", ()))
    folder = Path(stage.system.folder) / name
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / _RESULTS
    kept.unlink(missing_ok=True)
    form, orders = "long" if stage.long else "short", str(stage.orders or "-")
    command = [sys.executable, "-m", "tools.drill_child", str(folder), str(stage.seed), form, orders, name]
    ended = subprocess.run(tied_to_us([*namespace.private_network(), *command], signal.SIGTERM), cwd=ROOT)
    if not kept.exists():
        raise RuntimeError(f"it ended with {ended.returncode} and without results; what it printed says why")
    return [Result(**found) for found in json.loads(kept.read_text(encoding="utf-8"))]


def main(argv: list[str]) -> int:
    """Inside: run it and keep what it found."""
    drill = importlib.import_module("tools.drill")
    folder, seed, form, orders, name = Path(argv[0]), int(argv[1]), argv[2], argv[3], argv[4]
    if not namespace.is_private():
        print("error: only tools.drill starts this, in a network namespace of its own", file=sys.stderr)
        return 2
    found = drill.run_here(name, folder, seed=seed, long=form == "long", orders=None if orders == "-" else int(orders))
    text = json.dumps([asdict(result) for result in found])
    (folder / _RESULTS).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
