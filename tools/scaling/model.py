"""What an order asks of whom until it is visible: the rounds of work of each service, and the costs of each round.

A round takes what waits, up to `most` items, and costs `a + b * n` ms CPU in its process, `c + d * n` in its database
and `e + f * n` in the broker. Per item all rounds of a service together cost what was measured with full batches; what
an order costs more that is alone in the system is the cost per round, shared out by `share`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chassis.settings import load_yaml, merged
from tools.paths import ROOT
from tools.scaling.costs import Costs


@dataclass(frozen=True)
class Shape:
    """A round of work, as the code has it.

    service:  who does it
    most:     items that one round takes at most
    share:    its part of what the service spends per round, by its transactions
    hop:      the measurement with full batches that its work is part of
    items:    how many an order brings
    weight:   its part of what the service spends per item in that measurement
    messages: how many messages an item causes in the broker
    """

    service: str
    most: int
    share: float
    hop: str
    items: int = 1
    weight: float = 1.0
    messages: int = 0


FORWARDED, RELAYED = 100, 500
"""What a gateway's forwarder and a relay take at most; a test holds that the code says the same."""
_SETTINGS = merged(load_yaml(ROOT / "config" / "activation.yaml"))
TAKEN, PROVISIONED, ASKED = (int(_SETTINGS[name]) for name in ("BATCH_MAX", "PROVISION_BATCH", "VISIT_BATCH"))

# Shares: a transaction counts one; provisioning has three, asking for visits two.
SHAPES: Mapping[str, Shape] = {
    "request": Shape("gateway", 1, 0.0, "intake"),
    # Every gateway hears of every change of an order.
    "hear": Shape("gateway", 1, 0.0, ""),
    "forward": Shape("gateway", FORWARDED, 1.0, "placing"),
    "place": Shape("order", FORWARDED, 1 / 3, "placing", messages=2),
    "order relay": Shape("order", RELAYED, 1 / 3, "placing", weight=0.0, messages=2),
    "start activation": Shape("activation", TAKEN, 1 / 7, "activation", weight=1 / 7),
    "provision": Shape("activation", PROVISIONED, 3 / 7, "activation", weight=3 / 7),
    "ask for visits": Shape("activation", ASKED, 2 / 7, "activation", weight=2 / 7, messages=2),
    "request visit": Shape("scheduling", ASKED, 1.0, "activation"),
    "activation relay": Shape("activation", RELAYED, 1 / 7, "activation", weight=1 / 7, messages=2),
    "note activation": Shape("order", TAKEN, 1 / 3, "order"),
    "fold pages": Shape("mypage", TAKEN, 1.0, "mypage", items=2, weight=0.5),
}
HEARD_IN = ("activation", "order", "mypage")
"""Hops in which a gateway has nothing to do but to hear of changes."""
TYPICAL = 4
"""Items in a round, where costs are to be compared before anything was simulated."""


@dataclass(frozen=True)
class Linear:
    """ms of CPU: `fixed` for a round, `each` for an item."""

    fixed: float
    each: float

    def of(self, items: int) -> float:
        return self.fixed + self.each * items


@dataclass(frozen=True)
class Cost:
    """What a round costs in its process, its database and the broker."""

    shape: Shape
    process: Linear
    database: Linear
    broker: Linear

    def an_order(self, items: int = TYPICAL) -> tuple[float, float, float]:
        """ms an order in process, database and broker, in rounds of so many items."""
        many = min(items, self.shape.most)
        return tuple(self.shape.items * each.of(many) / many
                     for each in (self.process, self.database, self.broker))  # type: ignore[return-value]  # fmt: skip


def fitted(alone: float, full: float, shapes: Iterable[Shape]) -> tuple[float, float]:
    """`(per round, per item)` of a service, in ms an order, from what an order costs alone and in full batches.

    Alone, each item is a round of its own: alone = per round + per item. Full: per round * k + per item, where k is
    what is left of it when every round is full.
    """
    left = sum(shape.share / shape.most for shape in shapes)
    per_round = max(0.0, alone - full) / (1 - left) if left < 1 else 0.0
    return per_round, max(0.0, full - per_round * left)


def rounds(costs: Costs) -> dict[str, Cost]:
    """Every round with its costs."""
    broker_shapes = [shape for shape in SHAPES.values() if shape.messages]
    messages = sum(shape.messages for shape in broker_shapes)
    shared = [Shape("", shape.most, shape.messages / messages, "") for shape in broker_shapes]
    per_round, per_item = fitted(costs["one.broker"], costs.full_broker, shared)
    found: dict[str, Cost] = {}
    for name, shape in SHAPES.items():
        found[name] = Cost(
            shape,
            _linear(costs, shape, "cpu"),
            _linear(costs, shape, "db"),
            Linear(per_round * shape.messages / messages, per_item * shape.messages / messages / shape.items),
        )
    return found


def _linear(costs: Costs, shape: Shape, what: str) -> Linear:
    """The two costs of one round; an order relay's items are those of the relay that was measured alone."""
    alike = [each for each in SHAPES.values() if each.service == shape.service]
    hops = {each.hop for each in alike} | (set(HEARD_IN) if shape.service == "gateway" else set())
    full = sum(costs.get(f"full.{hop}.{what}.{shape.service}") for hop in hops)
    # In batches as large as they may be it is no dearer than in those of a loaded system: what is was measured badly.
    most = costs.get(f"load.{what}.{shape.service}", full)
    per_round, per_item = fitted(costs.get(f"one.{what}.{shape.service}"), min(full, most), alike)
    here, relayed = costs.get(f"full.{shape.hop}.{what}.{shape.service}"), costs.get(f"relay.{what}")
    scale = per_item / full if full else 0.0
    if shape is SHAPES["hear"]:
        each = scale * sum(costs.get(f"full.{hop}.{what}.gateway") for hop in HEARD_IN)
    elif shape is SHAPES["order relay"]:
        each = min(relayed, here) * scale
    elif shape is SHAPES["place"]:
        each = max(0.0, here - relayed) * scale
    else:
        each = here * scale * shape.weight
    return Linear(per_round * shape.share, each)
