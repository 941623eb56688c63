"""The pruner: deletes from tables that only grow what is older than the days they are kept.

Runs beside the service's workers, in one process at a time, in small transactions with pauses between them: nobody
waits for it. It may die at any moment; the next run goes on. What may go is in `prune_rules.py` and, for a service's
own tables, beside them; docs/decisions/0032 says why, and what protects a message that comes again after that.
"""

from __future__ import annotations

import logging
import random
import time
from datetime import datetime, timedelta
from typing import Any

import eventlet
import sqlalchemy as sa
from nameko.exceptions import ConfigurationError
from nameko.extensions import DependencyProvider

from chassis import clock, dialect, metrics, pruned
from chassis.db import Store, Tx, store_of
from chassis.health import register_check
from chassis.prune_rules import INBOX, OUTBOX, Rule
from chassis.settings import merged
from chassis.wake import wakes

log = logging.getLogger(__name__)

PRUNER = "pruner"
"""Its wake-up call, and the lock of the one that prunes."""
PAUSE_S = 0.1
"""Between two transactions: others come first."""
STOP_S = 5.0
MOST_SHOWN = 20_000


class Pruner(DependencyProvider):
    """`pruner = Pruner(rule, ...)`: the service's own rules beside those of the chassis.

    Settings: `PRUNE_EVERY_S`, and days for each rule (`OUTBOX_KEEP_DAYS`, `INBOX_KEEP_DAYS`, ...), 0 for ever.
    """

    def __init__(self, *own: Rule) -> None:
        self._own = own
        super().__init__()

    def setup(self) -> None:
        config = merged(self.container.config)
        self._every = timedelta(seconds=float(config["PRUNE_EVERY_S"]))
        days = {rule: float(config[rule.setting]) for rule in (OUTBOX, INBOX, *self._own)}
        check_days(days[OUTBOX], days[INBOX])
        self._kept = {rule: timedelta(days=kept) for rule, kept in days.items() if kept > 0}
        self._name = self.container.service_name
        self._wakes = wakes(self.container)
        self._stopping, self._asked = False, False
        self._gt: Any = None
        register_check(self.container, PRUNER, live=lambda: self._gt is None or not self._gt.dead)

    def start(self) -> None:
        self._store: Store = store_of(self.container)
        self._gt = self.container.spawn_managed_thread(self._run, identifier=PRUNER)

    def stop(self) -> None:
        """Let the transaction at hand finish."""
        self._stopping = True
        self._wakes.wake(PRUNER)
        if self._gt is not None:
            with eventlet.Timeout(STOP_S, False):
                self._gt.wait()

    def get_dependency(self, worker_ctx: Any) -> Pruner:
        return self

    def ask(self) -> None:
        """Prune now, whenever it was done last."""
        self._asked = True
        self._wakes.wake(PRUNER)

    def show(self, conn: sa.Connection) -> list[dict[str, Any]]:
        """What the next run would delete from each table, counting up to 20,000 rows (`at_least` where there are more).

        `{"table", "keep_days", "before", "rows", "at_least", "pruned_before", "pruned_rows", "looked_at"}`.
        """
        now, known, gone = self._store.now(conn), pruned.looked_at(conn), pruned.until(conn)
        shown = []
        for rule, kept in self._kept.items():
            rows, at_least = self._counted(conn, rule, now - kept)
            looked_at, so_far = known.get(rule.table, (None, 0))
            shown.append({
                "table": rule.table, "keep_days": kept / timedelta(days=1), "before": clock.rfc3339(now - kept),
                "rows": rows, "at_least": at_least, "pruned_before": _text(gone.get(rule.table)),
                "pruned_rows": so_far, "looked_at": _text(looked_at),
            })
        return shown

    def _counted(self, conn: sa.Connection, rule: Rule, before: datetime) -> tuple[int, bool]:
        rows, after = 0, None
        while rows < MOST_SHOWN:
            found = rule.find(conn, before, after)
            rows, after = rows + rule.count(conn, found.keys, before), found.last
            if after is None:
                return rows, False
            eventlet.sleep(0)
        return rows, True

    def _run(self) -> None:
        # Not at once: a process that has just started has other things to do, and a new release its first minutes.
        self._wait(self._every * random.uniform(0.05, 0.15))
        while not self._stopping:
            try:
                if self._asked or self._is_due():
                    self._asked = False
                    self.prune()
                wait = self._every * random.uniform(0.5, 1.0)
            except sa.exc.SQLAlchemyError as exc:
                metrics.PRUNE_ERRORS.labels(self._name).inc()
                wait = min(self._every, timedelta(minutes=1))
                log.warning("pruning failed, again in %.0f s: %r", wait.total_seconds(), exc)
            self._wait(wait)

    def _wait(self, wait: timedelta) -> None:
        if not self._stopping and not self._asked:
            self._wakes.wait(PRUNER, self._wakes.seen(PRUNER), wait.total_seconds())

    def _is_due(self) -> bool:
        with self._store.engine.connect() as conn:
            return pruned.is_due(conn, {rule.table for rule in self._kept}, self._store.now(conn), self._every)

    def prune(self) -> dict[str, int]:
        """Prune every table to its end; returns rows deleted by table."""
        began = time.monotonic()
        counts = {rule.table: self._table(rule, kept) for rule, kept in self._kept.items()}
        metrics.PRUNE_LAST.labels(self._name).set_to_current_time()
        if any(counts.values()):
            log.info("pruned in %.1f s: %s", time.monotonic() - began, {k: n for k, n in counts.items() if n})
        return counts

    def _table(self, rule: Rule, kept: timedelta) -> int:
        total, after = 0, None
        while not self._stopping:
            with self._store.transaction() as tx:
                if not dialect.try_lock_name(tx.conn, f"{PRUNER} {rule.table}"):
                    return total  # another process is at it
                count, after = self._chunk(tx, rule, tx.now - kept, after)
            metrics.PRUNED.labels(self._name, rule.table).inc(count)
            total += count
            if after is None:
                break
            eventlet.sleep(PAUSE_S)
        return total

    def _chunk(self, tx: Tx, rule: Rule, before: datetime, after: Any | None) -> tuple[int, Any | None]:
        found = rule.find(tx.conn, before, after)
        count = rule.delete(tx, found.keys, before) if found.keys else 0
        if count or found.last is None:
            pruned.note(tx, rule.table, count, before if count else None)
        return count, found.last


def check_days(outbox: float, inbox: float) -> None:
    """Raise ConfigurationError where the inbox would forget ids that an outbox can still send.

    A message is sent again (`republish_events`) until it is OUTBOX_KEEP_DAYS old, and stays for as long again.
    """
    if inbox > 0 and (outbox <= 0 or inbox < 2 * outbox):
        raise ConfigurationError(
            f"INBOX_KEEP_DAYS is {inbox:g} and OUTBOX_KEEP_DAYS is {outbox:g}: ids must be remembered at least twice "
            "as long as messages are kept (0 keeps for ever)"
        )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else clock.rfc3339(moment)
