"""The world of one order, as small as it can be: four state machines, the network, and messages under way.

It drives the production tables themselves. What it leaves out is data: a trigger carries none here, so two
visits or two cancels look alike. What it makes worse than life: messages have no order at all, a message
once sent may be handled again at any later time (as if there were no inbox), a call may take effect after
its caller gave up, and a worker may die at any instant. What it takes for granted: one worker at a time has its
hand on an order's elements, and no write lands after that worker is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from activation_svc import domain as activation
from chassis.table import NONE, Ignore, Refused, Table, Transition, UnexpectedMessage
from fieldwork_svc import domain as fieldwork
from order_svc import domain as order
from scheduling_svc import domain as scheduling

PARTS = ("order", "activation", "scheduling", "fieldwork")
TABLES = {"order": order.TABLE, "activation": activation.TABLE, "scheduling": scheduling.TABLE,
          "fieldwork": fieldwork.TABLE}
CONSUMES = {"order": order.CONSUMES, "activation": activation.CONSUMES, "scheduling": scheduling.CONSUMES,
            "fieldwork": fieldwork.CONSUMES}

# What a person or a client may send at any time, as often as they like, and who answers it.
COMMANDS = (
    ("order", "gateway", "place"), ("order", "subscriber", "cancel"),
    ("activation", "operator", "retry"), ("activation", "operator", "abandon"),
    ("scheduling", "dispatcher", "missed"), ("scheduling", "dispatcher", "flag"),
    ("scheduling", "dispatcher", "agree"),
    ("fieldwork", "technician", "start"), ("fieldwork", "technician", "complete"),
    ("fieldwork", "technician", "reject"),
)

# The synchronous step, taken apart into its messages: each may be late, lost or repeated.
REQUEST, ACCEPTED, REFUSED = "request_visit", "visit_accepted", "visit_refused"
CALL = {REQUEST: ("scheduling",), ACCEPTED: ("activation",), REFUSED: ("activation",)}

_BACK = {"on": "part", "part": "off"}

STEP, PERSON, FAULT = "step", "person", "fault"
"""Kinds of moves. Steps happen by themselves; persons may act or not; faults may happen and need not."""


class Broken(Exception):
    """A part met a message that its table does not expect."""


class World(NamedTuple):
    """One moment of one order. `lines`: off, part or on. `worker`: activation's hand on the elements.

    `sent` holds every message ever sent, `pending` the (part, message) pairs still to be handled once.
    """

    order: str = NONE
    activation: str = NONE
    scheduling: str = NONE
    fieldwork: str = NONE
    lines: str = "off"
    worker: str = "idle"
    sent: frozenset[str] = frozenset()
    pending: frozenset[tuple[str, str]] = frozenset()


class Move(NamedTuple):
    """Something that may happen next."""

    kind: str
    label: str
    world: World


@dataclass
class System:
    """The tables and the subscriptions; `exercised` collects every (part, state, trigger) that was met.

    `forget`: leave out of a world the messages that can never change anything again (see `_settle`).
    """

    tables: Mapping[str, Table] = field(default_factory=lambda: TABLES)
    exercised: set[tuple[str, str, str]] = field(default_factory=set)
    forget: bool = True

    def __post_init__(self) -> None:
        self.audience = {message: _audience(message) for message in _messages(self.tables)} | CALL
        heard = {part: [m for m, parts in self.audience.items() if part in parts] for part in PARTS}
        self.inert = {
            (part, state): frozenset(m for m in heard[part] if _inert(table, state, m))
            for part, table in self.tables.items() for state in table.states()
        }

    def moves(self, world: World) -> Iterator[Move]:
        """Yield every step, and what else may happen and changes `world`; raise Broken where a table has no answer."""
        for kind, label, after in self._all_moves(world):
            after = self._settle(after) if self.forget else after
            if after != world or kind == STEP:
                yield Move(kind, label, after)

    def _settle(self, world: World) -> World:
        """Forget messages that their hearer ignores in its present state and in every state its table leads to.

        Handling one is a loop on the same world, for ever, so the smaller graph has the same runs. It is a
        thousand times smaller; the whole one keeps the same promises (`python -m tests.model.explore --whole`).
        """
        inert = {part: self.inert[part, getattr(world, part)] for part in PARTS}
        if not inert["activation"] >= {ACCEPTED, REFUSED}:
            inert["scheduling"] -= {REQUEST}  # its answer still matters
        return world._replace(
            sent=frozenset(m for m in world.sent if not self.audience[m]
                           or any(m not in inert[part] for part in self.audience[m])),
            pending=frozenset((part, m) for part, m in world.pending if m not in inert[part]),
        )

    def _all_moves(self, world: World) -> Iterator[tuple[str, str, World]]:
        yield from self._deliveries(world)
        yield from self._commands(world)
        yield from self._worker(world)
        yield from self._visit_request(world)

    def _deliveries(self, world: World) -> Iterator[tuple[str, str, World]]:
        for part, message in sorted(world.pending):
            taken = world._replace(pending=world.pending - {(part, message)})
            yield STEP, f"{part} handles {message}", self._handle(taken, part, message)
        for message in sorted(world.sent):
            for part in self.audience[message]:
                yield FAULT, f"{part} handles {message}, not for the last time", self._handle(world, part, message)

    def _commands(self, world: World) -> Iterator[tuple[str, str, World]]:
        for part, who, command in COMMANDS:
            try:
                yield PERSON, f"{who}: {command}", self._apply(world, part, command)
            except Refused:
                continue  # answered as a conflict: nothing has changed

    def _worker(self, world: World) -> Iterator[tuple[str, str, World]]:
        """Activation's hand on the network elements: one at a time, and it may die between any two writes."""
        if world.worker == "idle":
            if world.activation == "provisioning":
                yield STEP, "worker starts to apply", world._replace(worker="applying")
                yield FAULT, "worker gives up and starts to restore", world._replace(worker="restoring")
            if world.activation in ("reverting_cancelled", "reverting_rejected"):
                yield STEP, "worker starts to restore", world._replace(worker="restoring")
            return
        idle = world._replace(worker="idle")
        yield FAULT, "worker dies", idle
        done, through = ("on", {"off": "part", "part": "on"}) if world.worker == "applying" else ("off", _BACK)
        if world.lines != done:
            yield STEP, f"an element writes ({world.worker})", world._replace(lines=through[world.lines])
        elif world.worker == "applying":
            yield STEP, "worker records provisioned", self._apply(idle, "activation", "provisioned")
        elif world.activation != "provisioning":
            yield STEP, "worker records reverted", self._apply(idle, "activation", "reverted")
        if world.worker == "applying" or world.activation == "provisioning":
            kind = STEP if world.lines == done == "off" else FAULT
            yield kind, "worker records provision_failed", self._apply(idle, "activation", "provision_failed")

    def _visit_request(self, world: World) -> Iterator[tuple[str, str, World]]:
        """The call to scheduling. No outcome (down, hanging, refusing from overload) changes nothing here."""
        under_way = {(part, message) for message, parts in CALL.items() for part in parts} & world.pending
        if world.activation == "provisioned":
            kind, label = (FAULT, "times out and asks again") if under_way else (STEP, "asks for a visit")
            yield kind, f"activation {label}", self._send(world, (REQUEST,))
        for part, message in sorted(under_way):
            yield FAULT, f"{message} is lost", world._replace(pending=world.pending - {(part, message)})

    def _handle(self, world: World, part: str, message: str) -> World:
        try:
            after = self._apply(world, part, message)
        except (UnexpectedMessage, Refused) as exc:
            state = getattr(world, part) or "NONE"
            raise Broken(f"{part} in {state} does not expect {message}") from exc
        if message == REQUEST:
            return self._send(after, (REFUSED if after.scheduling == "cancelled" else ACCEPTED,))
        return after

    def _apply(self, world: World, part: str, trigger: str) -> World:
        state = getattr(world, part)
        self.exercised.add((part, state, trigger))
        transition = self.tables[part].decide(state, trigger)
        return self._send(world._replace(**{part: transition.to}), transition.emits)

    def _send(self, world: World, messages: tuple[str, ...]) -> World:
        if not messages:
            return world
        pending = {(part, message) for message in messages for part in self.audience[message]}
        return world._replace(sent=world.sent.union(messages), pending=world.pending | pending)


def _messages(tables: Mapping[str, Table]) -> set[str]:
    return {event for table in tables.values() for _, _, row in table
            if isinstance(row, Transition) for event in row.emits}


def _audience(message: str) -> tuple[str, ...]:
    event_type = message.partition("/")[0]
    return tuple(part for part in PARTS if event_type in CONSUMES[part])


def _inert(table: Table, state: str, message: str) -> bool:
    """Is `message` ignored in `state` and in every state that the table leads to from there?"""
    ahead, reached = [state], {state}
    while ahead:
        here = ahead.pop()
        row = table.rows.get((here, message))
        if not (isinstance(row, Ignore) or row == Transition(here)):
            return False
        onward = {r.to for s, _, r in table if s == here and isinstance(r, Transition)} - reached
        reached |= onward
        ahead.extend(onward)
    return True
