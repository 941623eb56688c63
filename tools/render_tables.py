"""Render the services' transition tables as Markdown with Mermaid diagrams: docs/state-machines.md.

`python -m tools.render_tables` writes the page; a test holds that the committed page says what the code does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from activation_svc import domain as activation
from chassis.table import NONE, Ignore, Refusal, Table, Transition
from fieldwork_svc import domain as fieldwork
from mypage_svc import domain as mypage
from order_svc import domain as order
from scheduling_svc import domain as scheduling

PAGE = Path(__file__).resolve().parent.parent / "docs" / "state-machines.md"

TABLES = (order.TABLE, activation.TABLE, scheduling.TABLE, fieldwork.TABLE)
CONSUMES = {
    order.TABLE.name: order.CONSUMES,
    activation.TABLE.name: activation.CONSUMES,
    scheduling.TABLE.name: scheduling.CONSUMES,
    fieldwork.TABLE.name: fieldwork.CONSUMES,
    "mypage": mypage.SUBSCRIBES,
}

_INTRODUCTION = """\
# State machines

Written by `python -m tools.render_tables` from the transition tables in each service's `domain.py`; change those, not
this page. A pair of state and trigger that is in no table is a defect: the message is retried, then parked. The saga
model test (`tests/model`) explores every interleaving of one order over these same tables.

A trigger is an event, a command (RPC) or the outcome of the service's own work. `activation_reverted/rejected` and
`activation_reverted/cancelled` are one event, `activation_reverted`, told apart by its `outcome`. MyPage has no state
machine: it folds every event into the page, in whatever order they come.
"""


def render() -> str:
    """Return the whole page."""
    return "\n".join([_INTRODUCTION, _events(), *(_service(table) for table in TABLES)])


def _events() -> str:
    """Which service emits each event and which services' tables act on it."""
    emitters: dict[str, str] = {}
    for table in TABLES:
        for _, _, row in table:
            if isinstance(row, Transition):
                emitters |= {event.partition("/")[0]: table.name for event in row.emits}
    lines = ["## Events", "", "| event | from | acted on by |", "| --- | --- | --- |"]
    for event, emitter in emitters.items():
        hearers = [name for name, consumes in CONSUMES.items() if event in consumes]
        lines.append(f"| `{event}` | {emitter} | {', '.join(hearers)} |")
    return "\n".join([*lines, ""])


def _service(table: Table) -> str:
    consumes = ", ".join(f"`{event}`" for event in CONSUMES[table.name])
    return "\n".join([
        f"## {table.name}", "", f"Consumes {consumes}.", "",
        "```mermaid", *_diagram(table), "```", "",
        "| state | trigger | becomes | emits |", "| --- | --- | --- | --- |",
        *(line for state in _states(table) for line in _rows_of(table, state)), "",
    ])


def _states(table: Table) -> list[str]:
    return list(dict.fromkeys(state for state, _, _ in table))


def _diagram(table: Table) -> Iterator[str]:
    """Moves between states; several triggers with the same way share one arrow."""
    yield "stateDiagram-v2"
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, trigger, row in table:
        if isinstance(row, Transition) and row.to != state:
            arrows.setdefault((state, row.to), []).append(trigger)
    for (before, after), triggers in arrows.items():
        yield f"    {before or '[*]'} --> {after} : {', '.join(triggers)}"
    for state in _states(table):
        if state in table.final:
            yield f"    {state} --> [*]"


def _rows_of(table: Table, state: str) -> Iterator[str]:
    """The rows of one state: what moves, what is refused, and in one line what is ignored."""
    here: Mapping[str, object] = {trigger: row for s, trigger, row in table if s == state}
    name = "(unknown)" if state == NONE else f"**{state}**" if state in table.final else state
    for trigger, row in here.items():
        if isinstance(row, Transition):
            emits = "".join(f" `{event}`" for event in row.emits)
            yield f"| {name} | `{trigger}` | {row.to} |{emits} |"
    for trigger, row in here.items():
        if isinstance(row, Refusal):
            yield f"| {name} | `{trigger}` | refused: {row.why} | |"
    ignored = [f"`{trigger}`" for trigger, row in here.items() if isinstance(row, Ignore)]
    if ignored:
        yield f"| {name} | {', '.join(ignored)} | ignored | |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
