"""The measured figures that everything else follows from: docs/bench/costs.json, made of the bench's section replicas.

Keys: `one.*` an order alone, `full.<hop>.*` in full batches, `load.*` a batch through the whole system,
`drain.<hop>.<k>` a hop's orders/s with k processes. `cpu.<service>` is a process, `db.<service>` what PostgreSQL does
for it, `broker` is RabbitMQ; costs are CPU ms an order, and for `relay.*` an event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.figures import (
    BROKER,
    DATABASE,
    DRAINED,
    IDLE_ALONE,
    INTAKE_ALONE,
    MADE_BY,
    ONE,
    PLACING,
    RATE,
    RELAY,
    SERIAL,
    VISIBLE,
    WHOLE,
    Found,
    of_each,
)

HOPS = {"intake": INTAKE_ALONE, "placing": PLACING, **DRAINED}
SIMULATOR = "element simulator"


@dataclass(frozen=True)
class Figure:
    """A number, its unit, and which measurement it comes from."""

    value: float
    unit: str
    origin: str


class Costs:
    """The figures by key; a cost that was too small to be measured is 0."""

    def __init__(self, figures: Mapping[str, Figure], about: Mapping[str, Any]) -> None:
        self.figures, self.about = dict(figures), dict(about)

    def __getitem__(self, key: str) -> float:
        return self.figures[key].value

    def get(self, key: str, default: float = 0.0) -> float:
        """The value, or `default` where there is no such figure."""
        return self.figures[key].value if key in self.figures else default

    @property
    def full_broker(self) -> float:
        """RabbitMQ's ms an order over all hops until it is visible, in full batches."""
        return sum(self.get(f"full.{hop}.broker") for hop in ("placing", "activation", "order", "mypage"))

    def text(self) -> str:
        """As JSON, a figure a line."""
        rows = ",\n".join(
            f"  {json.dumps(key)}: {json.dumps(vars(figure), ensure_ascii=False)}"
            for key, figure in self.figures.items()
        )
        return f'{{\n "about": {json.dumps(self.about, ensure_ascii=False)},\n "figures": {{\n{rows}\n }}\n}}\n'

    @classmethod
    def read(cls, path: Path) -> Costs:
        """Raises OSError where `make bench` has not written it yet."""
        document = json.loads(path.read_text(encoding="utf-8"))
        return cls({key: Figure(**each) for key, each in document["figures"].items()}, document["about"])


def from_bench(found: Sequence[Found], about: Mapping[str, Any]) -> Costs:
    """The figures of a bench that measured its section replicas. Raises KeyError where one is missing."""
    return Costs(_Reader(found).read(), about)


class _Reader:
    def __init__(self, found: Sequence[Found]) -> None:
        self._found = {(each.name.section, each.name.title): each for each in found}
        self._figures: dict[str, Figure] = {}

    def read(self) -> dict[str, Figure]:
        one = of_each(1)
        a_second = {name: self._value(IDLE_ALONE, name) for name in (*MADE_BY, BROKER, DATABASE)}
        rate = self._value(ONE, RATE)
        self._costs("one", ONE, "", {name: value / rate for name, value in a_second.items()})
        self._costs("load", WHOLE, f"{one}, ", {})
        for hop, section in HOPS.items():
            self._costs(f"full.{hop}", section, f"{one}, ", {})
        self._rates()
        self._keep("relay.rate", self._value(RELAY, one), "events/s", RELAY)
        relayed = self._costs_of(RELAY, f"{one}, ")
        for key, what in (("cpu", "cpu.scheduling"), ("db", "db.scheduling"), ("broker", "broker")):
            self._keep(f"relay.{key}", relayed.get(what, 0.0), "CPU ms an event", RELAY)
        self._keep("queue.rate", self._value(SERIAL, "quorum queue"), "messages/s", f"{SERIAL}: quorum queue")
        self._keep("commit", self._value(SERIAL, "commit on this disk"), "ms", f"{SERIAL}: commit on this disk")
        return self._figures

    def _rates(self) -> None:
        for many in (1, 2, 3):
            for hop, section in HOPS.items():
                self._keep(f"drain.{hop}.{many}", self._value(section, of_each(many)), "orders/s", section)
            title = f"{VISIBLE}, {of_each(many)}"
            self._keep(f"load.rate.{many}", self._value(WHOLE, title), "orders/s", f"{WHOLE}: {title}")
        for service in ("activation", "order", "mypage"):
            title = f"{of_each(1)}, batch of {service}"
            self._keep(f"load.batch.{service}", self._value(WHOLE, title), "messages", f"{WHOLE}: {title}")

    def _costs(self, key: str, section: str, before: str, less: Mapping[str, float]) -> None:
        for what, value in self._costs_of(section, before, less).items():
            self._keep(f"{key}.{what}", value, "CPU ms an order", f"{section}: {before}".rstrip(": ,"))

    def _costs_of(self, section: str, before: str, less: Mapping[str, float] | None = None) -> dict[str, float]:
        """Costs without what idling costs meanwhile. What PostgreSQL does for nobody is shared out among all."""
        less = less or {}
        found = {f"cpu.{name}": self._value(section, before + name) - less.get(name, 0.0) for name in MADE_BY}
        found["broker"] = self._value(section, before + BROKER) - less.get(BROKER, 0.0)
        found["elements"] = self._value(section, before + SIMULATOR)
        database = self._value(section, before + DATABASE) - less.get(DATABASE, 0.0)
        each = {name: self._value(section, f"{before}{DATABASE} of {name}") for name in MADE_BY}
        scale = database / sum(each.values()) if sum(each.values()) else 0.0
        found |= {f"db.{name}": value * scale for name, value in each.items()}
        return {what: max(0.0, value) for what, value in found.items() if value > 0.0}

    def _value(self, section: str, title: str) -> float:
        found = self._found.get((section, title))
        return found.median if found else 0.0

    def _keep(self, key: str, value: float, unit: str, origin: str) -> None:
        self._figures[key] = Figure(float(f"{value:.4g}"), unit, origin)
