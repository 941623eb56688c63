"""Everything that must be there before the first service starts: `python -m tools.prepare`. Again changes nothing.

Databases and migrations, seeds, queues, broker users. Used by `tools.system` and by the compose file's job alike.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping

from tools.migrate import migrate_all
from tools.paths import ROOT, SERVICES


def prepare(environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Prepare the nodes that `environment` names. Raises RuntimeError with the output of the step that failed."""
    say("migrating the databases")
    migrate_all(environment)
    say("seeding technicians, network elements and staff")
    for name in SERVICES:
        if (ROOT / f"{name}_svc" / "seed.py").exists():
            _run(environment, f"{name}_svc.seed")
    # Before any service runs, so that a first event finds all who wait for it.
    say("declaring the queues")
    _run(environment, "chassis.topology", "config/base.yaml", *(f"{name}_svc.service" for name in SERVICES))
    if environment.get("AMQP_MANAGEMENT_URI"):
        say("giving each service a broker user of its own")
        _run(environment, "tools.broker_users", "apply")


def _run(environment: Mapping[str, str], module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    prepare(os.environ, lambda text: print(text, flush=True))
