"""Run the TV middleware: `python -m tv_middleware --port 8030 --state .local/tv`.

Environment: `TV_MIDDLEWARE_KEY` (required: the bearer key its clients bring), `TV_MIDDLEWARE_FAULTS=1` (tests only:
/faults is there).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from tv_middleware.api import Api
from tv_middleware.faults import Faults
from tv_middleware.server import Server
from tv_middleware.state import State


def main() -> int:
    """Parse arguments, serve until SIGTERM or SIGINT, close the state."""
    parser = argparse.ArgumentParser(prog="tv_middleware", description="Which subscriber may watch which TV package.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8030, help="0 picks a free one")
    parser.add_argument("--state", type=Path, default=Path(".local/tv"), help="the folder that holds its state")
    parser.add_argument("--packages", default="tv-basic,tv-premium", help="the catalogue, with commas")
    args = parser.parse_args()
    key = os.environ.get("TV_MIDDLEWARE_KEY", "")
    if not key:
        parser.error("TV_MIDDLEWARE_KEY must hold the key that clients bring")
    faults = Faults() if os.environ.get("TV_MIDDLEWARE_FAULTS") == "1" else None
    state = State(args.state)
    server = Server((args.host, args.port), Api(state, tuple(args.packages.split(",")), key, faults))
    for number in (signal.SIGTERM, signal.SIGINT):
        # Not from the handler itself, which runs in the very loop that `shutdown` waits for.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"tv_middleware: listening on port {server.server_address[1]}", flush=True)
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        server.server_close()
        state.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
