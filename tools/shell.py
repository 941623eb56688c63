"""The shell of `make shell`: Nameko's own, to the broker in AMQP_URI, over TLS where that says so.

`nameko shell` itself prints the broker's address with its password when it starts, and knows no TLS from an address.
"""

from __future__ import annotations

import os
import sys

from nameko.cli.shell import ShellRunner, make_nameko_helper

from chassis.broker import client_config

BANNER = (
    f"Nameko, Python {sys.version.split()[0]}\n"
    "n.rpc.<service>.<method>(...) calls a service; what there is, see docs/runbook.md and contracts/rpc.py"
)


def main() -> int:
    """Stay until the person at it leaves."""
    ShellRunner(BANNER, {"n": make_nameko_helper(client_config(os.environ))}).start_shell(name=None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
