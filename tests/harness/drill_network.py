"""The network between any two parts is late, loses packets, is a black hole or is cut, one link after the other.

Every process reaches broker, database and elements over links of its own (`tools.relayed`), clients the gateway over
one more. Nothing is lost, doubled or stuck in the end, and nobody who asks the gateway waits for ever meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import eventlet

from tests.harness.drill_load import Load
from tests.harness.drill_patience import Patience
from tests.harness.drill_stage import Stage, measured
from tests.harness.settings import FAST
from tools import bng, olt, rabbit
from tools.drill_report import Result
from tools.faults import LINK_FAULTS, LinkFault, link_schedule
from tools.namespace import NFTABLES
from tools.network import REAL, SIM
from tools.nodes import Nodes
from tools.packet_loss import PacketLoss
from tools.relayed import CLIENTS, Detours, Relay
from tools.system import System
from tools.waiting import wait_until

NAME = "network"
SERVERS = (rabbit.SERVER, olt.SERVER, bng.SERVER, NFTABLES)
GATEWAY = "clients - gateway"
LATENCY = {"delay_ms": 100, "jitter_ms": 50}
LOSS = {"loss": 10, "vanish": 100}
"""Percent of the packets of a link."""
CALM_S = 1.0
"""Between two faults."""


@dataclass
class Scene:
    """A system whose processes meet each other over `links`: the sort of each, by name."""

    system: System
    relay: Relay
    loss: PacketLoss
    links: Mapping[str, str]

    def strike(self, fault: LinkFault) -> None:
        """Inflict it, for as long as it lasts."""
        port = self.relay.links[fault.link]
        if fault.kind in LOSS:
            self.loss.lose(port, LOSS[fault.kind])
        else:
            self.relay.disturb(fault.link, **(LATENCY if fault.kind == "latency" else {"mode": fault.kind}))
        eventlet.sleep(fault.lasts_s)
        self.loss.lose(port, 0)
        self.relay.heal(fault.link)


def run(stage: Stage) -> Result:
    """Every kind of fault on every link in the long form; in the short one each kind, and each sort of link, once."""
    begun = time.monotonic()
    with scene(stage) as there:
        drawn = link_schedule(stage.seed, there.links, whole=stage.long)
        direct, through = there.system.url, f"http://127.0.0.1:{there.relay.links[GATEWAY]}"
        load = Load(there.system, url=through, seed=stage.seed, hands=4)
        patience = Patience(direct, there.system.env["STAFF_PASSWORD"])
        wait_until(lambda: there.relay.told("order - broker")["connections"], "the broker is reached over the relay")
        with load, patience:
            for fault in drawn:
                stage.say(str(fault))
                patience.now = str(fault)
                there.strike(fault)
                patience.now = f"after: {fault}"
                eventlet.sleep(CALM_S)
        what = f"{len(LINK_FAULTS)} kinds of fault on {len(there.links)} links" if stage.long else _listed(drawn)
        notes = [what, *patience.notes]
        found = measured(replace(stage, system=there.system), NAME, len(drawn), load, begun, notes)
        found.problems += patience.problems + _unused(there)
    return found


@contextmanager
def scene(stage: Stage) -> Iterator[Scene]:
    """A system of its own: with real elements in the long form, with simulated ones in the short one."""
    folder = stage.system.folder / "system"
    nodes, relay = Nodes(folder, durable=False, use_environment=False), Relay(folder)
    detours = Detours(relay)
    settings = FAST | {"ELEMENTS_DRIVER": REAL if stage.long else SIM}
    system = System(folder, nodes=nodes, overrides=settings, say=stage.say, on_the_way=detours)
    try:
        loss = PacketLoss()
        relay.start()
        nodes.start()
        system.up()
        relay.open(GATEWAY, system.port("gateway"))
        yield Scene(system, relay, loss, {**detours.sorts, GATEWAY: CLIENTS})
    finally:
        system.down()
        relay.stop()
        nodes.remove()


def _listed(drawn: Sequence[LinkFault]) -> str:
    return "faults: " + ", ".join(map(str, drawn))


def _unused(there: Scene) -> list[str]:
    """Links over which nothing went: disturbing them has shown nothing."""
    return [
        f"nothing ever passed over {name}, so no fault was inflicted there"
        for name in there.links if not there.relay.told(name)["bytes"]
    ]
