"""Starts the system of the checkout it runs in, says in JSON how to reach it, and stops it at the end of its input.

    python -P host_child.py FOLDER SETTINGS

`tools.bench.host` runs this file with any checkout as working folder and PYTHONPATH, so it uses no more of that
checkout than System and Nodes. SETTINGS is JSON: settings over those of production.

Each line of its input is a command in JSON, `{"do": "stop", "names": ["order", "order-2"]}`, and is answered with a
line of JSON: how to reach the system now, or `{"error": ...}`.

    stop, start     processes by their names; started ones are ready when it answers
    add             one more process of each of these services
    remove          processes that were added
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tools import packages
from tools.nodes import Nodes
from tools.system import System


def _say(text: str) -> None:
    print(f"» {text}", file=sys.stderr, flush=True)


def _about(system: System) -> dict[str, Any]:
    children = [child for part in system.nodes.parts for child in part.children]
    pids = {child.name: child.pid for child in (*children, *system.processes.values()) if child.alive}
    urls = {name: system.service_url(name) for name in system.processes}
    return {"url": system.url, "env": system.env, "pids": pids, "urls": urls}


def _note_times_of_commits(nodes: Nodes) -> None:
    """Have PostgreSQL note when each transaction committed, which `watch.Eye` asks; it learns that as it starts."""
    server = nodes.postgres
    assert server is not None
    engine = sa.create_engine(nodes.database_uri("postgres"), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("alter system set track_commit_timestamp = on")
    server.stop()
    server.start()


def _carry_out(system: System, do: str, names: Sequence[str]) -> None:
    """Carry out one command, on all its processes at the same time. Raises what System raises."""
    if do == "stop":
        for name in names:
            system.processes[name].ask_to_stop()
        for name in names:
            system.stop(name)
    elif do == "remove":
        for name in names:
            system.remove_replica(name)
    else:
        started = [system.add_replica(name, wait=False) for name in names] if do == "add" else names
        for name in started:
            system.start(name, wait=False)
        for name in started:
            system.wait_ready(name)


def _answer(system: System, line: str) -> dict[str, Any]:
    """What came of a command. Whatever went wrong is for the one who asked to judge."""
    try:
        _carry_out(system, **json.loads(line))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return _about(system)


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
        _note_times_of_commits(nodes)
        system.up()
        print(json.dumps(_about(system)), flush=True)
        for line in sys.stdin:
            print(json.dumps(_answer(system, line)), flush=True)
    finally:
        system.down()
        nodes.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
