"""Scheduling's settings as typed values, read once at the start, so that a wrong one stops the start."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time, timedelta
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from nameko.extensions import DependencyProvider

from chassis.settings import merged
from scheduling_svc.domain import CallPolicy
from scheduling_svc.windows import Grid

DEFAULT_WINDOWS = ("09:00-11:00", "11:00-13:00", "13:00-15:00", "15:00-17:00", "17:00-19:00")


class Policy(NamedTuple):
    """What the settings ask for."""

    grid: Grid
    calls: CallPolicy


class Policies(DependencyProvider):  # type: ignore[misc]
    """Injects the `Policy` of the service's settings."""

    def setup(self) -> None:
        settings = merged(self.container.config)
        self._policy = Policy(grid(settings), calls(settings))

    def get_dependency(self, worker_ctx: Any) -> Policy:
        """Return the policy; it is the same for every worker."""
        return self._policy


def grid(settings: Mapping[str, Any]) -> Grid:
    """The grid of visit windows.

    Settings: TIMEZONE (IANA name), VISIT_WINDOWS (list, or one comma-separated text, of `HH:MM-HH:MM`),
    WINDOW_DAYS, BOOKING_HORIZON_DAYS, MIN_LEAD_S. Raises ValueError naming the setting at fault.
    """
    return Grid(
        timezone=ZoneInfo(settings.get("TIMEZONE", "Asia/Seoul")),
        windows=_windows(settings.get("VISIT_WINDOWS", DEFAULT_WINDOWS)),
        days=int(settings.get("WINDOW_DAYS", 14)),
        horizon=timedelta(days=int(settings.get("BOOKING_HORIZON_DAYS", 60))),
        min_lead=timedelta(seconds=float(settings.get("MIN_LEAD_S", 0))),
    )


def calls(settings: Mapping[str, Any]) -> CallPolicy:
    """The call policy. Settings: MAX_MISSED_CALLS, CALL_RETRY_S, CALL_RETRY_MAX_S, BOOKING_HORIZON_DAYS."""
    return CallPolicy(
        max_missed=int(settings.get("MAX_MISSED_CALLS", 3)),
        retry_s=float(settings.get("CALL_RETRY_S", 1800)),
        retry_max_s=float(settings.get("CALL_RETRY_MAX_S", 86400)),
        horizon=timedelta(days=int(settings.get("BOOKING_HORIZON_DAYS", 60))),
    )


def _windows(value: Any) -> tuple[tuple[time, time], ...]:
    spans = value.split(",") if isinstance(value, str) else value
    windows = tuple(sorted(_span(str(span)) for span in spans))
    for (_, end), (start, _) in pairwise(windows):
        if start < end:
            raise ValueError(f"VISIT_WINDOWS overlap at {start:%H:%M}")
    return windows


def _span(text: str) -> tuple[time, time]:
    """Parse `HH:MM-HH:MM`."""
    try:
        start, end = (time.fromisoformat(part.strip()) for part in text.split("-"))
    except ValueError as exc:
        raise ValueError(f"VISIT_WINDOWS holds {text!r}, which is not HH:MM-HH:MM") from exc
    if start >= end:
        raise ValueError(f"VISIT_WINDOWS holds {text!r}, which ends before it starts")
    return start, end
