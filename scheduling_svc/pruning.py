"""Of scheduling's tables, what may go because of its age. Visits and bookings stay: they are the books."""

from __future__ import annotations

import sqlalchemy as sa

from chassis.prune_rules import ByKey
from scheduling_svc.domain import TABLE
from scheduling_svc.models import call_attempts, visits

_CLOSED = sa.exists().where(visits.c.order_id == call_attempts.c.order_id, visits.c.state.in_(sorted(TABLE.final)))

CALL_ATTEMPTS = ByKey(call_attempts, "CALL_ATTEMPTS_KEEP_DAYS", call_attempts.c.id, call_attempts.c.at, only=_CLOSED)
"""What was said in calls: of closed visits only, since the call queue and the desk go by the open ones'."""
