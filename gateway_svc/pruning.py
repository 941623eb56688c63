"""Of the gateway's tables, what may go because of its age. And of its journal, which is a file."""

from __future__ import annotations

from chassis.prune_rules import ByKey
from gateway_svc.models import audit_log

AUDIT_LOG = ByKey(audit_log, "AUDIT_KEEP_DAYS", audit_log.c.id, audit_log.c.at)
"""What staff did."""

JOURNAL_AT_ONCE = 500
JOURNAL = """
    delete from entries where seq in (
        select seq from (select seq, state, accepted_at from entries order by seq limit ?)
        where state not in ('pending', 'failed') and accepted_at < ?
    )
"""
"""Settled entries, of the oldest so many (what is not settled stays among them) those from before that moment."""
