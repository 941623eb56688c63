"""How the middleware misbehaves when told to: late, failing, or silent after it did what it was asked.

Only where the process was started for tests (`TV_MIDDLEWARE_FAULTS=1`). Kept in memory: a restart heals.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

FaultKind = Literal["delay", "fail", "drop"]
ANY = "*"


@dataclass
class Fault:
    """It meets requests for `subscriber` (`*` is any, also the list) with one of `methods` (empty is any).

    delay: does what it was asked, and answers `seconds` later. fail: does nothing and answers `status`, with
    `retry_after_s` where given. drop: does it and closes the connection instead of answering. `times`: how often,
    None is for ever.
    """

    kind: FaultKind
    subscriber: str = ANY
    methods: tuple[str, ...] = ()
    seconds: float = 0.0
    status: int = 503
    retry_after_s: int | None = None
    words: str = "out of order"
    times: int | None = None
    lifted: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def meets(self, method: str, subscriber: str) -> bool:
        """Whether this fault concerns the request."""
        return (
            self.times != 0
            and self.subscriber in (ANY, subscriber)
            and (not self.methods or method in self.methods)
        )


class Faults:
    """The faults in force, the newest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fields: dict[str, Any]) -> None:
        """Put a fault in force; raises TypeError or ValueError where it makes no sense."""
        fault = Fault(**fields | {"methods": tuple(fields.get("methods", ()))})
        if fault.kind not in get_args(FaultKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(FaultKind))}, not {fault.kind!r}")
        with self._lock:
            self._faults.insert(0, fault)

    def heal(self) -> None:
        """Lift all faults; what still waits is answered now."""
        with self._lock:
            for fault in self._faults:
                fault.lifted.set()
            self._faults.clear()

    def meet(self, method: str, subscriber: str) -> Fault | None:
        """The fault this request meets, counted as used; None where all is well."""
        with self._lock:
            for fault in self._faults:
                if fault.meets(method, subscriber):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None
