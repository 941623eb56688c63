"""What must hold for one order, whatever happens: each promise is a question about one world or one move."""

from __future__ import annotations

from chassis.table import NONE
from tests.model.world import World

OUTCOMES = ("completed", "rejected", "cancelled")

_WAITING_FOR_A_PERSON = (
    ("activation", "fallout", "an operator"),
    ("scheduling", "requested", "a dispatcher"),
    ("scheduling", "flagged", "a dispatcher"),
    ("fieldwork", "assigned", "a technician"),
    ("fieldwork", "started", "a technician"),
)

_PROVISIONED = ("provisioned", "active", "cancelling", "in_service")

_ENDS = {
    "completed": ({"in_service"}, {"completed"}, {"completed"}, "on"),
    "rejected": ({"reverted"}, {"rejected"}, {"rejected"}, "off"),
    "cancelled": ({"reverted"}, {NONE, "cancelled"}, {NONE, "cancelled"}, "off"),
}


def is_over(world: World) -> bool:
    """Is the order closed in every part, the network as the outcome demands, and nothing under way?"""
    end = _ENDS.get(world.order)
    if end is None or world.pending or world.worker != "idle":
        return False
    activation, scheduling, fieldwork, lines = end
    return (world.activation in activation and world.scheduling in scheduling
            and world.fieldwork in fieldwork and world.lines == lines)


def broken_by_move(before: World, after: World) -> str | None:
    """Return the promise that the move from `before` to `after` breaks, or None."""
    return _outcome(before, after) or _pivot(before, after) or _network(after) or _end(before, after)


def _outcome(before: World, after: World) -> str | None:
    if before.order in OUTCOMES and after.order != before.order:
        return f"an outcome is final, but {before.order} became {after.order}"
    said = {event for event in after.sent if event in {f"order_{outcome}" for outcome in OUTCOMES}}
    expected = {f"order_{after.order}"} if after.order in OUTCOMES else set()
    if said != expected:
        return f"an order in {after.order or 'NONE'} says {sorted(expected)}, but {sorted(said)} were said"
    if after.order in ("completed", "rejected") and after.fieldwork != after.order:
        return f"the order is {after.order}, but field work is {after.fieldwork or 'NONE'}"
    if after.order == "cancelled" and after.fieldwork not in (NONE, "cancelled"):
        return f"the order is cancelled, but field work is {after.fieldwork}"
    return None


def _pivot(before: World, after: World) -> str | None:
    if before.fieldwork in OUTCOMES and after.fieldwork != before.fieldwork:
        return f"the job is decided once, but {before.fieldwork} became {after.fieldwork}"
    return None


def _end(before: World, after: World) -> str | None:
    if is_over(before) and (after.order, after.lines, after.worker) != (before.order, before.lines, before.worker):
        return "what is over stays over, but something moved"
    return None


def _network(after: World) -> str | None:
    network = (after.lines, after.worker)
    if "completed" in (after.order, after.fieldwork) and network != ("on", "idle"):
        return f"the work is done, but the lines are {after.lines} and the worker is {after.worker}"
    if after.activation in _PROVISIONED and network != ("on", "idle"):
        return f"the activation is {after.activation}, but the lines are {after.lines}"
    if (after.order in ("rejected", "cancelled") or after.activation == "reverted") and network != ("off", "idle"):
        return f"the order is put back, but the lines are {after.lines} and the worker is {after.worker}"
    return None


def broken_by_rest(world: World) -> str | None:
    """Return the promise broken where nothing happens by itself any more, or None."""
    if is_over(world) or world == World():
        return None
    waiting = [who for part, state, who in _WAITING_FOR_A_PERSON if getattr(world, part) == state]
    if not waiting:
        return "nothing happens any more, and the order is not over"
    if world.order in ("cancelling", "rejecting", *OUTCOMES):
        return f"an order in {world.order} closes by itself, but it waits for {waiting[0]}"
    return None
