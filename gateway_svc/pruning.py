"""Of the gateway's tables, what may go because of its age. Its journal has a rule of its own (`journal.py`)."""

from __future__ import annotations

from chassis.prune_rules import ByKey
from gateway_svc.models import audit_log

AUDIT_LOG = ByKey(audit_log, "AUDIT_KEEP_DAYS", audit_log.c.id, audit_log.c.at)
"""What staff did."""
