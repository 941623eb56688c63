"""The network elements, as activation sees them: snapshot, apply, verify, restore. Here over the simulator's socket.

Each call takes the plans of many orders, because elements are asked for many entries at once; each order fails for
itself. All four may be repeated. A write without an answer is unknown, and is settled at once by reading back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from activation_svc.element_link import Answer, ElementError, ElementUnreachable, Links, Request
from activation_svc.plan import Entry, Plan

Plans = Mapping[UUID, Plan]
Failures = dict[UUID, ElementError]

STEP_TIMEOUT_S = 20.0
"""No step writes for longer than this; a lease lasts longer (`leases.LEASE_S`)."""


class ElementDiffers(ElementError):
    """Reading back showed something else than was written."""


class NetworkElements(Protocol):
    """What activation needs of any kind of element."""

    def snapshot(self, plans: Plans) -> tuple[dict[UUID, Plan], Failures]:
        """What stands now under the keys of these plans, by order; and the orders for which that is not known."""

    def apply(self, plans: Plans) -> Failures:
        """Write every entry. An order that fails may be partly written."""

    def verify(self, plans: Plans) -> Failures:
        """Read back: the orders whose entries are not exactly as in their plan, or cannot be read."""

    def restore(self, snapshots: Plans) -> Failures:
        """Put back what the snapshots say, the last written entry first; delete what was not there."""


@dataclass(frozen=True, slots=True)
class _Ask:
    order_id: UUID
    entry: Entry
    request: Request


class ElementSim:
    """Network elements played by `element_sim`. `links` holds the connections, one pool an element."""

    def __init__(self, links: Links, clock: Callable[[], float] = time.monotonic) -> None:
        self._links = links
        self._clock = clock

    def snapshot(self, plans: Plans) -> tuple[dict[UUID, Plan], Failures]:
        """See NetworkElements."""
        found, failures = self._ask(plans, _read)
        return {
            order_id: tuple(
                Entry(entry.element, entry.key, found[order_id][entry.element, entry.key]["entry"]) for entry in plan
            )
            for order_id, plan in plans.items() if order_id not in failures
        }, failures

    def apply(self, plans: Plans) -> Failures:
        """See NetworkElements."""
        return self._ask(plans, _put)[1]

    def verify(self, plans: Plans) -> Failures:
        """See NetworkElements."""
        found, failures = self._ask(plans, _read)
        for order_id, plan in plans.items():
            if order_id in failures:
                continue
            for entry in plan:
                if found[order_id][entry.element, entry.key]["entry"] != entry.content:
                    failures[order_id] = ElementDiffers(entry.element, f"{entry.key} reads back otherwise")
                    break
        return failures

    def restore(self, snapshots: Plans) -> Failures:
        """See NetworkElements."""
        return self._ask({order_id: tuple(reversed(plan)) for order_id, plan in snapshots.items()}, _put)[1]

    def _ask(
        self, plans: Plans, request: Callable[[Entry], Request]
    ) -> tuple[dict[UUID, dict[tuple[str, str], dict[str, Any]]], Failures]:
        """Ask element by element, in the plans' order. An order that failed at one is not taken to the next."""
        deadline = self._clock() + STEP_TIMEOUT_S
        by_element: dict[str, list[_Ask]] = {}
        for order_id, plan in plans.items():
            for entry in plan:
                by_element.setdefault(entry.element, []).append(_Ask(order_id, entry, request(entry)))
        failures: Failures = {}
        answers: dict[UUID, dict[tuple[str, str], dict[str, Any]]] = {order_id: {} for order_id in plans}
        for element, asks in by_element.items():
            asks = [ask for ask in asks if ask.order_id not in failures]
            results = self._links.exchange(element, [ask.request for ask in asks], deadline)
            if request is _put:
                results = self._settle(element, asks, results, deadline)
            for ask, result in zip(asks, results, strict=True):
                if isinstance(result, ElementError):
                    failures.setdefault(ask.order_id, result)
                else:
                    answers[ask.order_id][element, ask.entry.key] = result
        return answers, failures

    def _settle(
        self, element: str, asks: list[_Ask], results: list[Answer | ElementError], deadline: float
    ) -> list[Answer | ElementError]:
        """Find out which writes without an answer took effect all the same; the others keep their error."""
        unknown = [at for at, result in enumerate(results) if isinstance(result, ElementUnreachable)]
        if not unknown:
            return results
        settled = list(results)
        answers = self._links.exchange(element, [_read(asks[at].entry) for at in unknown], deadline)
        for at, answer in zip(unknown, answers, strict=True):
            if not isinstance(answer, ElementError) and answer["entry"] == asks[at].entry.content:
                settled[at] = answer
        return settled


def _read(entry: Entry) -> Request:
    return {"verb": "read", "element": entry.element, "key": entry.key}


def _put(entry: Entry) -> Request:
    if entry.content is None:
        return {"verb": "delete", "element": entry.element, "key": entry.key}
    return {"verb": "write", "element": entry.element, "key": entry.key, "entry": entry.content}
