"""Run the simulator: `python -m element_sim --config config/elements.yaml`.

Environment: `ELEMENT_SIM_HOST` (127.0.0.1), `ELEMENT_SIM_PORT` (8010; 0 picks a free one), `ELEMENT_SIM_STATE` (the
folder that holds its state).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from element_sim.inventory import load
from element_sim.server import Simulator, run
from element_sim.state import State


def _ready(port: int) -> None:
    print(f"element_sim: listening on port {port}", flush=True)


async def _serve(simulator: Simulator, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(simulator, host, port, _ready, stop)


def main() -> int:
    """Parse arguments, serve until SIGTERM or SIGINT, close the state."""
    parser = argparse.ArgumentParser(prog="element_sim", description="A simulator of network elements.")
    parser.add_argument("--config", type=Path, default=Path("config/elements.yaml"), help="the elements there are")
    parser.add_argument("--host", default=os.environ.get("ELEMENT_SIM_HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("ELEMENT_SIM_PORT", "8010")))
    parser.add_argument("--state", type=Path, default=Path(os.environ.get("ELEMENT_SIM_STATE", ".local/elements")))
    args = parser.parse_args()
    state = State(args.state)
    try:
        asyncio.run(_serve(Simulator(load(args.config), state), args.host, args.port))
    finally:
        state.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
