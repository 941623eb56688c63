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
from scheduling_svc.urgency import UrgencyPolicy
from scheduling_svc.windows import Grid

DEFAULT_WINDOWS = ("09:00-11:00", "11:00-13:00", "13:00-15:00", "15:00-17:00", "17:00-19:00")
DEFAULT_RISK_AGES_S = (86400, 259200)


class Policy(NamedTuple):
    """What the settings ask for."""

    grid: Grid
    calls: CallPolicy
    urgency: UrgencyPolicy
    claim_lasts: timedelta


class Policies(DependencyProvider):  # type: ignore[misc]
    """Injects the `Policy` of the service's settings."""

    def setup(self) -> None:
        settings = merged(self.container.config)
        self._policy = Policy(grid(settings), calls(settings), urgency(settings), claim_lasts(settings))

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


def urgency(settings: Mapping[str, Any]) -> UrgencyPolicy:
    """The rule of cancel risk and of the call order.

    Settings: RISK_AGES_S (list, or one comma-separated text, of seconds), RISK_OVERDUE_S, RISK_MEDIUM_AT,
    RISK_HIGH_AT, MISSED_CALL_URGENCY_S. Raises ValueError naming the setting at fault.
    """
    value = settings.get("RISK_AGES_S", DEFAULT_RISK_AGES_S)
    ages = [float(age) for age in (value.split(",") if isinstance(value, str) else value)]
    medium_at, high_at = int(settings.get("RISK_MEDIUM_AT", 1)), int(settings.get("RISK_HIGH_AT", 3))
    if not 0 < medium_at <= high_at:
        raise ValueError(f"RISK_MEDIUM_AT ({medium_at}) must be at least 1 and at most RISK_HIGH_AT ({high_at})")
    return UrgencyPolicy(
        ages=tuple(timedelta(seconds=age) for age in sorted(ages)),
        overdue=timedelta(seconds=float(settings.get("RISK_OVERDUE_S", 1800))),
        medium_at=medium_at,
        high_at=high_at,
        missed_call=timedelta(seconds=float(settings.get("MISSED_CALL_URGENCY_S", 14400))),
    )


def claim_lasts(settings: Mapping[str, Any]) -> timedelta:
    """How long a call claim stands. Setting: CLAIM_S. Raises ValueError where it is not positive."""
    lasts = timedelta(seconds=float(settings.get("CLAIM_S", 180)))
    if lasts <= timedelta():
        raise ValueError("CLAIM_S must be more than 0 seconds")
    return lasts


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
