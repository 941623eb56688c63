"""Self-healing: processes are killed, hang, or are wedged while they still answer; the liveness probes of the manifests
notice, and a new process takes over.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.harness.drill_load import Load
from tests.harness.drill_stage import Stage, all_processes, measured
from tools.drill_report import Result
from tools.kubelet import Healing, Kubelet
from tools.manifests import probes
from tools.system import System, service_of
from tools.waiting import wait_until

NAME = "self-healing"
SHORT_SPEED = 5.0
WEDGED = "order"
STUCK_S = 30.0


@dataclass(frozen=True)
class Blow:
    """What happens to whom: `kill`, `hang` (SIGSTOP) or `wedge`."""

    how: str
    name: str


def run(stage: Stage) -> Result:
    """Each process is killed and made to hang, one has a handler that never returns; the probes see to all of it."""
    system, begun = stage.system, time.monotonic()
    speed = 1.0 if stage.long else SHORT_SPEED
    with stage.balanced() as balancer, wedgeable(system, STUCK_S / speed):
        kubelet = Kubelet(lambda name: system.processes[name], system.port, speed)
        for name in system.processes:
            kubelet.watch(name, probes(service_of(name)))
        load = Load(system, url=balancer.url, seed=stage.seed, hands=4 if stage.long else 3)
        with load:
            try:
                wait_until(lambda: load.closed >= 1, "orders go on", timeout_s=120)
                healings = _all(system, kubelet, stage, speed)
            finally:
                kubelet.stop()
                system.thaw_all()
                system.start_all()
        notes = [_note(blow, healing, struck_at) for blow, healing, struck_at in healings]
        if not stage.long:
            notes.append(f"times of the manifests divided by {speed:g}")
        return measured(stage, NAME, len(healings), load, begun, notes)


@contextmanager
def wedgeable(system: System, stuck_s: float) -> Iterator[None]:
    """The order service runs with a handler that can be made to hang, until the block ends."""
    child = system.processes[WEDGED]
    argv, env = list(child.argv), dict(child.env)
    system.stop(WEDGED)
    child.argv = [*argv[:-1], "tests.harness.wedged:Wedged"]
    child.env |= {"WEDGE_FILE": str(system.folder / "wedge"), "WEDGE_STUCK_S": f"{stuck_s:g}"}
    try:
        system.start(WEDGED)
        yield
    finally:
        (system.folder / "wedge").unlink(missing_ok=True)
        child.kill()
        child.argv, child.env = argv, env
        system.start(WEDGED)


def _blows(system: System, long: bool) -> list[Blow]:
    """The long form goes through all processes; the short one has each kind once."""
    everybody = all_processes(system)
    if long:
        return [Blow(how, name) for name in everybody for how in ("kill", "hang")] + [Blow("wedge", WEDGED)]
    return [Blow("kill", "scheduling"), Blow("hang", "gateway-2"), Blow("wedge", WEDGED)]


def _all(system: System, kubelet: Kubelet, stage: Stage, speed: float) -> list[tuple[Blow, Healing, float]]:
    """Every blow and its healing: one after the other, in the short form all at once."""
    blows = _blows(system, stage.long)
    if stage.long:
        return [_healed(kubelet, blow, _strike(system, blow, stage), speed) for blow in blows]
    struck = [(blow, _strike(system, blow, stage)) for blow in blows]
    return [_healed(kubelet, blow, struck_at, speed) for blow, struck_at in struck]


def _strike(system: System, blow: Blow, stage: Stage) -> float:
    """Inflict it; return when."""
    stage.say(f"{blow.how} {blow.name}")
    struck_at = time.monotonic()
    if blow.how == "wedge":
        (system.folder / "wedge").touch()
    elif blow.how == "hang":
        system.freeze(blow.name)
    else:
        # By somebody else, so that it is wanted still.
        os.kill(system.processes[blow.name].pid, signal.SIGKILL)
    return struck_at


def _healed(kubelet: Kubelet, blow: Blow, struck_at: float, speed: float) -> tuple[Blow, Healing, float]:
    settings = probes(service_of(blow.name))
    deadline_s = (settings.liveness.notices_after_s + settings.liveness_grace_s + STUCK_S) / speed + 60

    def healed() -> Healing | None:
        return next((each for each in kubelet.healed if each.name == blow.name and each.noticed_at > struck_at), None)

    healing = wait_until(healed, f"{blow.name} is replaced after {blow.how}", timeout_s=deadline_s)
    assert healing is not None
    return blow, healing, struck_at


def _note(blow: Blow, healing: Healing, struck_at: float) -> str:
    noticed_s, back_s = healing.noticed_at - struck_at, healing.back_at - struck_at
    return f"{blow.how} {blow.name}: noticed after {noticed_s:.1f} s ({healing.why}), ready again after {back_s:.1f} s"
