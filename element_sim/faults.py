"""How an element misbehaves when told to: refuse, hang, answer late, or be dead. Kept in memory: a restart heals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

FaultKind = Literal["refuse", "hang", "delay", "die"]
ANY = "*"


@dataclass
class Fault:
    """One order to misbehave.

    It meets requests for `element` and `key` (`*` is any) whose verb is in `verbs` (empty is any), `times` times
    (None is for ever). `effect`: a hanging element does what it was asked, and only the answer never comes.
    """

    kind: FaultKind
    element: str = ANY
    key: str = ANY
    verbs: tuple[str, ...] = ()
    words: str = "refused by the element"
    seconds: float = 0.0
    effect: bool = False
    times: int | None = None

    def meets(self, verb: str, element: str, key: str) -> bool:
        """Whether this fault concerns the request."""
        return (
            self.times != 0
            and self.element in (ANY, element)
            and self.key in (ANY, key)
            and (not self.verbs or verb in self.verbs)
        )


class Faults:
    """The faults in force, the newest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, request: dict[str, Any]) -> None:
        """Put a fault in force from a control request; raises ValueError or TypeError where it makes no sense."""
        self._faults.insert(0, Fault(
            kind=request["verb"],
            element=str(request.get("element") or ANY),
            key=str(request.get("key") or ANY),
            verbs=tuple(request.get("verbs") or ()),
            words=str(request.get("words") or "refused by the element"),
            seconds=float(request.get("seconds") or 0.0),
            effect=bool(request.get("effect")),
            times=None if request.get("times") is None else int(request["times"]),
        ))

    def heal(self, element: str) -> None:
        """Lift the faults of one element, or all of them."""
        self._faults = [] if element == ANY else [fault for fault in self._faults if fault.element != element]

    def meet(self, verb: str, element: str, key: str) -> Fault | None:
        """The fault this request meets, counted as used; None where the element is well."""
        for fault in self._faults:
            if fault.meets(verb, element, key):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None
