"""Rolling replacement under load: every process by a new one, as the manifests say, and no client meets a failure."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.harness.client import Client
from tests.harness.drill_load import Load
from tests.harness.drill_stage import Stage, all_processes, measured, replicated
from tools import manifests
from tools.drill_report import Result
from tools.haproxy import HAProxy
from tools.paths import ROOT, SERVICES
from tools.system import System, service_of
from tools.waiting import wait_until

NAME = "rolling replacement"
QUICK_SETTLE_S = "0.5"


def run(stage: Stage) -> Result:
    """Each process of each service is replaced by a new one while orders go on, both gateways one after the other."""
    system, begun = stage.system, time.monotonic()
    with stage.balanced() as balancer, replicated(system, replicas(stage)):
        load = Load(system, url=balancer.url, seed=stage.seed, hands=6 if stage.long else 3)
        load.also(look_around)
        with load:
            wait_until(lambda: load.closed >= 2, "orders go on", timeout_s=120)
            replaced: list[str] = []
            for name in all_processes(system):
                stage.say(f"replacing {name}")
                replace(system, balancer, name, long=stage.long)
                replaced.append(name)
            if stage.long:
                for name in system.replicas("gateway"):
                    stage.say(f"replacing {name} without a word to the balancer")
                    system.replace(name)
                    balancer.wait_admitted(name)
                    replaced.append(name)
        found = measured(stage, NAME, len(replaced), load, begun, [f"replaced: {', '.join(replaced)}"])
    found.problems += [f"failed request: {text}" for text in load.tally.failed[:20]]
    return found


def replicas(stage: Stage) -> dict[str, int]:
    """How many processes of each service: as the manifests want them in production; in the short form one."""
    wanted = {service: manifests.scaling(service).min_replicas for service in SERVICES if service != "gateway"}
    return wanted if stage.long else {}


def replace(system: System, balancer: HAProxy, name: str, *, long: bool) -> None:
    """Replace one process by the strategy of its manifest; what its preStop says is done first."""
    service = service_of(name)
    spec = manifests.workload(service)
    if service == "gateway":
        # Its endpoint is taken away while preStop runs.
        balancer.drain(name)
        pre_stop(system, name, long=long)
        system.replace(name)
        balancer.admit(name)
        balancer.wait_admitted(name)
    elif spec["spec"]["strategy"]["type"] == "Recreate":
        pre_stop(system, name, long=long)
        system.stop(name)
        system.start(name)
    else:
        system.replace(name)


def pre_stop(system: System, name: str, *, long: bool) -> None:
    """Run the manifest's preStop command, with the port that the process has here."""
    service = service_of(name)
    words = list(manifests.probes(service).pre_stop)
    words[0] = sys.executable
    if "--journal-port" in words:
        words[words.index("--journal-port") + 1] = str(system.port(name))
    if not long:
        words[words.index("--settle") + 1] = QUICK_SETTLE_S
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=120)


def look_around(client: Client) -> None:
    """What staff look at meanwhile: each of these is answered by another service."""
    client.call("GET", "/api/visits", as_="dispatcher")
    client.call("GET", "/api/technicians", as_="dispatcher")
    client.call("GET", "/api/jobs", as_="kim")
    client.call("GET", "/api/orders", as_="operator", params={"limit": "5"})
