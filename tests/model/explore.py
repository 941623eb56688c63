"""Explore every world one order can come into, breadth first, and judge the promises on the whole graph.

`python -m tests.model.explore` prints the result; `--whole` keeps every message for ever (a million worlds, ten
million moves, minutes and some gigabytes).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from chassis.table import Refusal, Transition
from tests.model import promises
from tests.model.world import FAULT, PARTS, PERSON, STEP, Broken, Move, System, World


class Violation(AssertionError):
    """A promise is broken; the message tells which one, with the shortest way to it."""


@dataclass
class Graph:
    """Every world reached, with the moves out of it and the first (shortest) way into it."""

    moves: dict[World, list[Move]] = field(default_factory=dict)
    came_from: dict[World, tuple[World, Move]] = field(default_factory=dict)

    @property
    def transitions(self) -> int:
        return sum(len(moves) for moves in self.moves.values())

    def trace(self, world: World) -> str:
        """Tell the shortest way from the beginning to `world`, one move a line."""
        steps: list[str] = []
        while world in self.came_from:
            before, move = self.came_from[world]
            steps.append(_line(move, before))
            world = before
        return "\n".join(f"{number:3}. {step}" for number, step in enumerate(reversed(steps), 1))


def explore(system: System) -> Graph:
    """Visit every reachable world and hold the promises on each move; raise Violation with the shortest trace."""
    graph = Graph()
    ahead = [World()]
    known = {ahead[0]: ahead[0]}
    for world in ahead:
        graph.moves[world] = moves = []
        for move in _moves(system, graph, world):
            if broken := promises.broken_by_move(world, move.world):
                raise _violation(graph, world, f"{broken}\n     by: {_line(move, world)}")
            if move.world not in known:
                known[move.world] = move.world
                graph.came_from[move.world] = (world, move)
                ahead.append(move.world)
            moves.append(Move(move.kind, sys.intern(move.label), known[move.world]))
    _judge(graph)
    return graph


def _moves(system: System, graph: Graph, world: World) -> Iterator[Move]:
    try:
        yield from system.moves(world)
    except Broken as exc:
        raise _violation(graph, world, str(exc)) from exc


def _judge(graph: Graph) -> None:
    """Hold the promises that only the whole graph can show."""
    for world, moves in graph.moves.items():
        if not any(move.kind == STEP for move in moves) and (broken := promises.broken_by_rest(world)):
            raise _violation(graph, world, broken)
    if circle := _circle(graph):
        raise _violation(graph, circle, "steps go round in a circle without any fault or person")
    out = _way_out(graph)
    for world in graph.moves:
        if world not in out:
            raise _violation(graph, world, "there is no way out of this world, however people act and nothing fails")


def _circle(graph: Graph) -> World | None:
    """Return a world on a circle of steps alone, or None. (Kahn: take away what nothing leads to.)"""
    into = dict.fromkeys(graph.moves, 0)
    for world in graph.moves:
        for onward in _steps(graph, world):
            into[onward] += 1
    free = [world for world, count in into.items() if not count]
    for world in free:
        for onward in _steps(graph, world):
            into[onward] -= 1
            if not into[onward]:
                free.append(onward)
    return next((world for world in graph.moves if into[world]), None)


def _way_out(graph: Graph) -> set[World]:
    """Every world from which steps and persons, without any fault, can close the order everywhere."""
    back: dict[World, list[World]] = {}
    for world, moves in graph.moves.items():
        for move in moves:
            if move.kind != FAULT:
                back.setdefault(move.world, []).append(world)
    ahead = [world for world in graph.moves if promises.is_over(world)]
    out = set(ahead)
    for world in ahead:
        for before in back.get(world, ()):
            if before not in out:
                out.add(before)
                ahead.append(before)
    return out


def _steps(graph: Graph, world: World) -> Iterator[World]:
    return (move.world for move in graph.moves[world] if move.kind == STEP)


def dead_rows(system: System) -> list[str]:
    """Rows of the tables that change or refuse something and that no run ever meets."""
    return [
        f"{part}: {state or 'NONE'} + {trigger}"
        for part in PARTS for state, trigger, row in system.tables[part]
        if isinstance(row, Transition | Refusal) and (part, state, trigger) not in system.exercised
    ]


def _violation(graph: Graph, world: World, promise: str) -> Violation:
    return Violation(f"{promise}\n{graph.trace(world)}\n  in {_tell(world)}")


def _line(move: Move, before: World) -> str:
    changes = [f"{name} {getattr(before, name) or 'NONE'} -> {getattr(move.world, name)}"
               for name in World._fields[:6] if getattr(before, name) != getattr(move.world, name)]
    said = sorted(move.world.sent - before.sent)
    told = changes + [f"sends {' and '.join(said)}"] * bool(said)
    note = {PERSON: "", STEP: "", FAULT: " (fault)"}[move.kind]
    return f"{move.label}{note}" + (f": {', '.join(told)}" if told else "")


def _tell(world: World) -> str:
    states = [f"{name}={value or 'NONE'}" for name, value in zip(World._fields[:6], world[:6], strict=True)]
    return " ".join([*states, f"pending={_names(world.pending) or 'nothing'}"])


def _names(pending: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{message} for {part}" for part, message in sorted(pending))


def main() -> None:
    """Print how many worlds and moves there are, and the rows that nothing meets."""
    system = System(forget="--whole" not in sys.argv)
    graph = explore(system)
    over = sum(1 for world in graph.moves if promises.is_over(world))
    sys.stdout.write(f"{len(graph.moves)} states, {graph.transitions} transitions, {over} of them ends\n")
    sys.stdout.writelines(f"never met: {row}\n" for row in dead_rows(system))


if __name__ == "__main__":
    main()
