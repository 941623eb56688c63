"""Transition tables: the pure heart of each service's state machine.

A table maps (state, trigger) to what happens. It holds no I/O, no clock and no framework, so the running
service and the saga model test drive the same one. A pair that is not in the table is a defect: it raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


class UnexpectedMessage(Exception):
    """A state met a trigger that its table does not know. The message is retried, then parked."""

    def __init__(self, table: str, state: str, trigger: str) -> None:
        super().__init__(f"{table}: state {state or 'NONE'!r} does not expect {trigger!r}")
        self.table, self.state, self.trigger = table, state, trigger


class Refused(Exception):
    """A command does not fit the state. The caller answers it as a conflict; nothing has changed."""

    def __init__(self, state: str, trigger: str, why: str) -> None:
        super().__init__(why)
        self.state, self.trigger, self.why = state, trigger, why


@dataclass(frozen=True, slots=True)
class Transition:
    """Where a trigger leads (`to`) and which events it causes (`emits`, by trigger name).

    `ignored`: the trigger is known and changes nothing (a duplicate, or news that came too late).
    """

    to: str
    emits: tuple[str, ...] = ()
    ignored: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """The trigger is a command that this state refuses, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Ignore:
    """The trigger is expected here and changes nothing."""


IGNORE = Ignore()

NONE = ""
"""The state of an order this service has not heard of."""

Row = Transition | Refusal | Ignore


def to(state: str, *emits: str) -> Transition:
    """A move to `state`, emitting these events."""
    return Transition(state, emits)


@dataclass(frozen=True)
class Table:
    """A named transition table. `final` lists the states in which the order is closed for this service."""

    name: str
    rows: Mapping[tuple[str, str], Row]
    final: frozenset[str]

    def decide(self, state: str, trigger: str) -> Transition:
        """Return the transition for `trigger` in `state`.

        Raises UnexpectedMessage where the pair is not in the table, Refused where a command is refused.
        """
        row = self.rows.get((state, trigger))
        if row is None:
            raise UnexpectedMessage(self.name, state, trigger)
        if isinstance(row, Refusal):
            raise Refused(state, trigger, row.why)
        if isinstance(row, Ignore):
            return Transition(state, (), ignored=True)
        return row

    def states(self) -> frozenset[str]:
        """Every state named in the table."""
        targets = {row.to for row in self.rows.values() if isinstance(row, Transition)}
        return frozenset({state for state, _ in self.rows} | targets)

    def triggers(self) -> frozenset[str]:
        """Every trigger the table knows."""
        return frozenset(trigger for _, trigger in self.rows)

    def __iter__(self) -> Iterator[tuple[str, str, Row]]:
        for (state, trigger), row in self.rows.items():
            yield state, trigger, row


def rows(*groups: tuple[str | tuple[str, ...], Mapping[str, Row]]) -> dict[tuple[str, str], Row]:
    """Build a table's rows from (state or states, {trigger: row}) groups; a pair given twice is an error."""
    built: dict[tuple[str, str], Row] = {}
    for states, triggers in groups:
        for state in (states,) if isinstance(states, str) else states:
            for trigger, row in triggers.items():
                if (state, trigger) in built:
                    raise ValueError(f"({state!r}, {trigger!r}) is given twice")
                built[state, trigger] = row
    return built
