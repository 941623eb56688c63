"""Whom to call first, and how likely the customer is to cancel. Pure: no I/O, no clock, no framework.

`call_queue.py` says the same in SQL, so that a page of the queue is one query; a property test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from scheduling_svc.domain import IN_QUEUE, Visit

CancelRisk = Literal["low", "medium", "high"]

PROMISED, RISKY, DUE, FLAGGED, NOT_DUE, OUTSIDE = range(6)
"""The places of the call order: a smaller one is called sooner. `OUTSIDE`: nobody needs to call."""


@dataclass(frozen=True, slots=True)
class UrgencyPolicy:
    """Points for cancel risk, and what a missed call adds to the urgency.

    One point for each age in `ages` that the request has reached, for each missed call, and for a promised call-back
    that is `overdue`; a refusal alone is `high_at` points. From `medium_at` points the risk is medium, from `high_at`
    high. In the call order each missed call counts as if the request were `missed_call` older.
    """

    ages: tuple[timedelta, ...]
    overdue: timedelta
    medium_at: int
    high_at: int
    missed_call: timedelta


def is_due(visit: Visit, now: datetime) -> bool:
    """Whether it is time to call."""
    return visit.state in IN_QUEUE and (visit.next_call_at is None or visit.next_call_at <= now)


def cancel_risk(visit: Visit, policy: UrgencyPolicy, now: datetime) -> CancelRisk:
    """How likely the customer is to cancel before a visit is agreed; `low` for visits outside the queue."""
    points = _points(visit, policy, now)
    return "high" if points >= policy.high_at else "medium" if points >= policy.medium_at else "low"


def call_place(visit: Visit, policy: UrgencyPolicy, now: datetime) -> tuple[int, datetime | None]:
    """The visit's place in the call order, and the moment that decides within the place (the earlier first).

    Promised call-backs that are due come first, the longest overdue before others; then who is due and of high cancel
    risk, then who is due (both by age, missed calls adding to it); then flagged ones; then who is not due yet.
    """
    place = _place(visit, policy, now)
    if place in (PROMISED, NOT_DUE):
        moment = visit.next_call_at
    elif place == OUTSIDE:
        moment = visit.window_start
    elif place == FLAGGED or visit.requested_at is None:
        moment = visit.requested_at
    else:
        moment = visit.requested_at - visit.missed_calls * policy.missed_call
    return place, moment or visit.requested_at


def _place(visit: Visit, policy: UrgencyPolicy, now: datetime) -> int:
    if visit.state not in IN_QUEUE:
        return OUTSIDE
    if not is_due(visit, now):
        return NOT_DUE
    if visit.last_outcome == "call_back":
        return PROMISED
    if visit.state == "flagged":
        return FLAGGED
    return RISKY if cancel_risk(visit, policy, now) == "high" else DUE


def _points(visit: Visit, policy: UrgencyPolicy, now: datetime) -> int:
    if visit.state not in IN_QUEUE or visit.requested_at is None:
        return 0
    requested_at = visit.requested_at
    points = visit.missed_calls + sum(now - requested_at >= age for age in policy.ages)
    if visit.last_outcome == "refused":
        points += policy.high_at
    promised_at = visit.next_call_at if visit.last_outcome == "call_back" else None
    if promised_at is not None and now - promised_at >= policy.overdue:
        points += 1
    return points
