"""The network elements together, as activation sees them: snapshot, apply, verify, restore, each over many orders.

An order goes from element to element in its plan's order, and not on after one that failed. Orders for the same
elements go together; orders for other elements go side by side with them. All four may be repeated. A write without an
answer is unknown, and is settled at once by reading back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from eventlet import GreenPool

from activation_svc.breaker import ElementBreaker
from activation_svc.driver import (
    Change,
    Content,
    Driver,
    ElementDiffers,
    ElementError,
    ElementRefused,
    ElementUnreachable,
)
from activation_svc.plan import Entry, Plan, elements_of

log = logging.getLogger(__name__)

Plans = Mapping[UUID, Plan]
Failures = dict[UUID, ElementError]
Found = dict[tuple[str, str], Content | None]

STEP_TIMEOUT_S = 20.0
"""No step writes for longer than this; a lease lasts longer (`leases.LEASE_S`)."""
AT_ONCE = 16


class NetworkElements(Protocol):
    """What activation needs of its elements."""

    def snapshot(self, plans: Plans) -> tuple[dict[UUID, Plan], Failures]:
        """What stands now under the keys of these plans, by order; and the orders for which that is not known."""

    def apply(self, plans: Plans) -> Failures:
        """Write every entry. An order that fails may be partly written."""

    def verify(self, plans: Plans) -> Failures:
        """Read back: the orders whose entries are not exactly as in their plan, or cannot be read."""

    def restore(self, snapshots: Plans) -> Failures:
        """Put back what the snapshots say, the last written entry first; delete what was not there."""

    def avoided(self) -> frozenset[str]:
        """Elements that do not answer just now: better not to give out anything of theirs."""

    def entries(self, element: str) -> dict[str, Content]:
        """Everything that stands on one element. Raises ElementError."""


class Elements:
    """Elements behind their drivers. One call of a driver takes `call_timeout_s` at most (and reads back after it)."""

    def __init__(
        self,
        drivers: Mapping[str, Driver],
        *,
        breakers: Mapping[str, ElementBreaker] | None = None,
        call_timeout_s: float = 6.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.drivers = dict(drivers)
        self.breakers = dict(breakers or {name: ElementBreaker(name, clock=clock) for name in drivers})
        self._call_timeout_s = call_timeout_s
        self._clock = clock

    def snapshot(self, plans: Plans) -> tuple[dict[UUID, Plan], Failures]:
        """See NetworkElements."""
        found, failures = self._read_all(plans)
        return {
            order_id: tuple(Entry(entry.element, entry.key, found[entry.element, entry.key]) for entry in plan)
            for order_id, plan in plans.items() if order_id not in failures
        }, failures

    def apply(self, plans: Plans) -> Failures:
        """See NetworkElements."""
        return self._side_by_side(plans, self._write)

    def verify(self, plans: Plans) -> Failures:
        """See NetworkElements."""
        found, failures = self._read_all(plans)
        for order_id, plan in plans.items():
            for entry in plan if order_id not in failures else ():
                if found[entry.element, entry.key] != entry.content:
                    failures.setdefault(order_id, ElementDiffers(entry.element, f"{entry.key} reads back otherwise"))
        return failures

    def restore(self, snapshots: Plans) -> Failures:
        """See NetworkElements."""
        return self.apply({order_id: tuple(reversed(plan)) for order_id, plan in snapshots.items()})

    def avoided(self) -> frozenset[str]:
        """See NetworkElements."""
        return frozenset(name for name, breaker in self.breakers.items() if breaker.state != "closed")

    def entries(self, element: str) -> dict[str, Content]:
        """See NetworkElements."""
        driver = self._driver(element)
        deadline = self._clock() + STEP_TIMEOUT_S
        return self.breakers[element].call(lambda: driver.entries(deadline), lambda found: None)

    def close(self) -> None:
        """End every session with every element."""
        for driver in self.drivers.values():
            driver.close()

    def _side_by_side(self, plans: Plans, step: Callable[[str, Plans, float], Failures]) -> Failures:
        """Walk each group of orders along its elements, all groups at once. Returns who failed at which."""
        deadline = self._clock() + STEP_TIMEOUT_S

        def walk(route: tuple[str, ...], group: dict[UUID, Plan]) -> Failures:
            failures: Failures = {}
            for element in route:
                mine = {
                    order_id: tuple(entry for entry in plan if entry.element == element)
                    for order_id, plan in group.items() if order_id not in failures
                }
                if mine:
                    failures |= step(element, mine, deadline)
            return failures

        groups: dict[tuple[str, ...], dict[UUID, Plan]] = {}
        for order_id, plan in plans.items():
            groups.setdefault(elements_of(plan), {})[order_id] = plan
        if len(groups) == 1:
            return walk(*groups.popitem())
        failures: Failures = {}
        for failed in GreenPool(AT_ONCE).starmap(walk, groups.items()):
            failures |= failed
        return failures

    def _read_all(self, plans: Plans) -> tuple[Found, Failures]:
        """Read each element once for all orders, all elements at once: reading has no order."""
        found: Found = {}
        failures: Failures = {}
        deadline = self._clock() + STEP_TIMEOUT_S

        def read(element: str, group: Plans) -> None:
            keys = list(dict.fromkeys(entry.key for plan in group.values() for entry in plan))
            try:
                contents = self._ask(element, lambda driver, until: driver.read(keys, until), deadline)
            except ElementError as why:
                if isinstance(why, ElementRefused) and len(group) > 1:
                    for order_id, plan in group.items():
                        read(element, {order_id: plan})
                    return
                for order_id in group:
                    failures.setdefault(order_id, why)
                return
            found.update({(element, key): contents[key] for key in keys})

        by_element: dict[str, dict[UUID, Plan]] = {}
        for order_id, plan in plans.items():
            for entry in plan:
                mine = by_element.setdefault(entry.element, {})
                mine[order_id] = (*mine.get(order_id, ()), entry)
        if not by_element:
            return found, failures
        *others, here = by_element.items()
        pool = GreenPool(AT_ONCE)
        reading = [pool.spawn(read, element, group) for element, group in others]
        read(*here)  # No greenlet of its own: most orders have two elements, which so cost one.
        for each in reading:
            each.wait()
        return found, failures

    def _write(self, element: str, group: Plans, deadline: float) -> Failures:
        works = [[Change(entry.key, entry.content) for entry in plan] for plan in group.values()]
        try:
            results = self._ask(
                element, lambda driver, until: self._settled(driver, works, until, deadline), deadline, _all_silent
            )
        except ElementError as why:
            return dict.fromkeys(group, why)
        return {order_id: why for order_id, why in zip(group, results, strict=True) if why is not None}

    def _settled(
        self, driver: Driver, works: Sequence[Sequence[Change]], until: float, deadline: float
    ) -> list[ElementError | None]:
        """Write; then find out which works without an answer took effect all the same. The others keep their error."""
        try:
            results = driver.write(works, until)
        except ElementUnreachable as why:
            results = [why] * len(works)
        unknown = [at for at, result in enumerate(results) if isinstance(result, ElementUnreachable)]
        if not unknown:
            return results
        keys = list(dict.fromkeys(change.key for at in unknown for change in works[at]))
        try:
            found = driver.read(keys, self._until(deadline))
        except ElementError as why:
            log.info("%s: what it did with %d works stays unknown: %s", driver.element, len(unknown), why)
            return results
        for at in unknown:
            if all(found[change.key] == change.content for change in works[at]):
                results[at] = None
        return results

    def _ask(
        self,
        element: str,
        ask: Callable[[Driver, float], Any],
        deadline: float,
        failure_in: Callable[[Any], ElementUnreachable | None] = lambda result: None,
    ) -> Any:
        """Ask a driver through its breaker. Raises ElementError."""
        driver = self._driver(element)
        if self._clock() >= deadline:
            raise ElementUnreachable(element, "the time for this step is over")
        return self.breakers[element].call(lambda: ask(driver, self._until(deadline)), failure_in)

    def _until(self, deadline: float) -> float:
        return min(deadline, self._clock() + self._call_timeout_s)

    def _driver(self, element: str) -> Driver:
        if element not in self.drivers:
            raise ElementRefused(element, f"there is no element {element!r} in the configuration")
        return self.drivers[element]


def _all_silent(results: Iterable[ElementError | None]) -> ElementUnreachable | None:
    """The reason, where no work at all got an answer; one that did shows that the element is there."""
    last: ElementUnreachable | None = None
    for result in results:
        if not isinstance(result, ElementUnreachable):
            return None
        last = result
    return last
