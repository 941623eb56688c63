"""What moves an activation besides events: its own workers' outcomes, and what operators do about a fallout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID


@dataclass(frozen=True, slots=True)
class FailedTry:
    """One try that failed: at which step, on which element, in whose words. `refused`: the element said no.

    `ports`: the service ports it was about, as `{"element", "port"}`.
    """

    step: str
    error: str
    element: str | None = None
    refused: bool = False
    ports: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Provisioned:
    """Every line is live, read back from its element."""

    trigger: ClassVar[str] = "provisioned"
    order_id: UUID
    lines: tuple[dict[str, Any], ...]
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class ProvisionFailed:
    """The tries are used up. `not_restored` says why what was written could not be put back, where that is so."""

    trigger: ClassVar[str] = "provision_failed"
    order_id: UUID
    not_restored: FailedTry | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Reverted:
    """Every element is as it was, read back."""

    trigger: ClassVar[str] = "reverted"
    order_id: UUID
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class VisitAccepted:
    """Scheduling has taken the visit request."""

    trigger: ClassVar[str] = "visit_accepted"
    order_id: UUID
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """An operator has mended what was wrong, or wants another port: try again. `by` is the operator's name."""

    trigger: ClassVar[str] = "retry"
    order_id: UUID
    by: str = ""
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Abandon:
    """An operator gives the order up: put everything back."""

    trigger: ClassVar[str] = "abandon"
    order_id: UUID
    by: str = ""
    reason: str = ""
    message_id: str | None = None
