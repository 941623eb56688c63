"""Starts the system of the checkout it runs in, says in JSON how to reach it, and stops it at the end of its input.

    python -P host_child.py FOLDER SETTINGS

`tools.bench.host` runs this file with any checkout as working folder and PYTHONPATH, so it uses no more of that
checkout than System and Nodes. SETTINGS is JSON: settings over those of production.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from tools import packages
from tools.nodes import Nodes
from tools.system import System


def _say(text: str) -> None:
    print(f"» {text}", file=sys.stderr, flush=True)


def _about(system: System) -> dict[str, Any]:
    children = [child for part in system.nodes.parts for child in part.children]
    pids = {child.name: child.pid for child in (*children, *system.processes.values())}
    return {"url": system.url, "env": system.env, "pids": pids}


def _leave(signum: int, frame: Any) -> None:
    raise SystemExit(128 + signum)


def main(folder: Path, settings: dict[str, str]) -> int:
    """Run it; durable: what is committed is on disk."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: who started us ends us
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    nodes = Nodes(folder, use_environment=False)
    system = System(folder, nodes=nodes, overrides=settings, say=_say)
    packages.ensure(*nodes.servers())
    try:
        nodes.start()
        system.up()
        print(json.dumps(_about(system)), flush=True)
        sys.stdin.read()
    finally:
        system.down()
        nodes.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
