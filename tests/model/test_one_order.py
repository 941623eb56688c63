"""Every interleaving of one order, over the production tables; and proof that a broken table would be caught."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from chassis.table import IGNORE, NONE, Row, Table, to
from tests.model.explore import Graph, Violation, dead_rows, explore
from tests.model.promises import OUTCOMES, is_over
from tests.model.world import TABLES, System, World


@pytest.fixture(scope="module")
def explored() -> tuple[System, Graph]:
    system = System()
    return system, explore(system)


def test_every_interleaving_of_one_order_keeps_every_promise(
    explored: tuple[System, Graph], capsys: pytest.CaptureFixture[str]
) -> None:
    """`explore` raises where a promise breaks (tests/model/promises.py); here it says how far it has looked."""
    _, graph = explored
    with capsys.disabled():
        print(f"\nsaga model: {len(graph.moves)} states visited, {graph.transitions} transitions, all promises kept")
    assert len(graph.moves) > 500, "the model has shrunk: does it still drive the whole saga?"


def test_every_outcome_is_reached(explored: tuple[System, Graph]) -> None:
    ends = {world.order for world in explored[1].moves if is_over(world)}
    assert ends == set(OUTCOMES)


def test_every_state_of_every_table_is_reached(explored: tuple[System, Graph]) -> None:
    for part, table in TABLES.items():
        reached = {getattr(world, part) for world in explored[1].moves}
        assert reached == table.states(), f"{part} never comes into {table.states() - reached}"


def test_every_row_that_changes_or_refuses_something_is_met(explored: tuple[System, Graph]) -> None:
    assert dead_rows(explored[0]) == []


def test_a_cancel_at_every_point_before_the_verdict_ends_without_another_person(
    explored: tuple[System, Graph]
) -> None:
    """At every point where the order is not closed, the subscriber may say cancel, and it is taken or refused."""
    _, graph = explored
    for world, moves in graph.moves.items():
        cancels = [move.world.order for move in moves if move.label == "subscriber: cancel"]
        can = world.order in ("placed", "fallout", "activated", "scheduled")
        assert cancels == (["cancelling"] if can else []), graph.trace(world)


BREAKS: dict[str, tuple[str, Callable[[dict[tuple[str, str], Row]], object], str]] = {
    "no tombstone for a cancel that overtakes its order": (
        "activation", lambda rows: rows.update({(NONE, "order_cancel_requested"): IGNORE}),
        "an order in cancelling closes by itself, but it waits for",
    ),
    "the row of the tombstone is missing": (
        "activation", lambda rows: rows.pop((NONE, "order_cancel_requested")),
        "activation in NONE does not expect order_cancel_requested",
    ),
    "a cancelling activation does not hear that the work is done": (
        "activation", lambda rows: rows.update({("cancelling", "fieldwork_completed"): IGNORE}),
        "nothing happens any more, and the order is not over",
    ),
    "a cancel after provisioning does not put the network back": (
        "activation", lambda rows: rows.update(
            {("cancelling", "visit_cancelled"): to("reverted", "activation_reverted/cancelled")}),
        "the order is put back, but the lines are on",
    ),
    "a withdrawn job can still be completed": (
        "fieldwork", lambda rows: rows.update(
            {("cancelled", "complete"): to("completed", "fieldwork_completed")}),
        "the job is decided once, but cancelled became completed",
    ),
    "an order is closed before its network is put back": (
        "order", lambda rows: rows.update({("placed", "fieldwork_rejected"): to("rejected", "order_rejected")}),
        "the order is put back, but the lines are on",
    ),
    "a closed order is opened again": (
        "order", lambda rows: rows.update({("completed", "visit_scheduled"): to("scheduled")}),
        "an outcome is final, but completed became scheduled",
    ),
    "scheduling forgets to pass the cancel on": (
        "scheduling", lambda rows: rows.update(
            {("scheduled", "activation_cancel_requested"): to("cancelled", "visit_cancelled")}),
        "",
    ),
    "a dispatcher's reschedule wakes two parts that answer each other for ever": (
        "fieldwork", lambda rows: rows.update({("assigned", "visit_scheduled"): to("assigned", "visit_scheduled")}),
        "steps go round in a circle",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_table_is_caught_with_the_shortest_trace(name: str) -> None:
    part, damage, promise = BREAKS[name]
    with pytest.raises(Violation) as caught:
        explore(System(TABLES | {part: _broken(TABLES[part], damage)}))
    assert promise in str(caught.value)
    steps = re.findall(r"^ +(\d+)\. ", str(caught.value), flags=re.MULTILINE)
    assert [int(step) for step in steps] == list(range(1, len(steps) + 1))


def test_the_trace_reads_as_a_story_from_the_placing_to_the_broken_promise() -> None:
    """The cancel overtakes its order, nobody remembers it, and the order waits for a visit nobody wants."""
    part, damage, _ = BREAKS["no tombstone for a cancel that overtakes its order"]
    with pytest.raises(Violation) as caught:
        explore(System(TABLES | {part: _broken(TABLES[part], damage)}))
    told = str(caught.value).splitlines()
    assert told[1:4] == [
        "  1. gateway: place: order NONE -> placed, sends order_placed",
        "  2. subscriber: cancel: order placed -> cancelling, sends order_cancel_requested",
        "  3. activation handles order_cancel_requested",
    ], str(caught.value)


def _broken(table: Table, damage: Callable[[dict[tuple[str, str], Row]], object]) -> Table:
    rows = dict(table.rows)
    damage(rows)
    return Table(table.name, rows, table.final)


def test_the_beginning_is_an_order_nobody_has_heard_of() -> None:
    assert [move.label for move in System().moves(World())] == ["gateway: place"]
