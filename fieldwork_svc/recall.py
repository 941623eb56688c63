"""After a restore: which jobs were closed since the backup, from fieldwork's own events, which MyPage still has.

Orders were closed by these events, so no technician may decide them a second time. Who was on site, and what was
photographed, since the backup is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from chassis import inbox
from chassis import recall as chassis_recall
from chassis.db import Tx
from contracts.events import Event, FieldworkCancelled, FieldworkCompleted, FieldworkRejected, VisitScheduled
from fieldwork_svc.domain import TABLE, Job, evolve, without_stale
from fieldwork_svc.service import SAGA

OWN = ("fieldwork_completed", "fieldwork_rejected", "fieldwork_cancelled")


def recall(tx: Tx, events: Iterable[Event]) -> int:
    """Take over fieldwork's own events that it does not know, each with the visit it belonged to; returns how many."""
    told = list(events)
    lost = chassis_recall.lost(tx, told, OWN)
    jobs = SAGA.load(tx, (event.order_id for event in lost)) if lost else {}
    visits = [event for event in told if isinstance(event, VisitScheduled) and event.order_id in jobs]
    for event in [*_in_order(without_stale(jobs, _in_order(visits))), *lost]:
        jobs[event.order_id] = recalled(jobs[event.order_id], event)
    SAGA.store(tx, list(jobs.values()))
    # They have taken effect here: sent again, they would be passed over as old news, and counted as unheard.
    inbox.claim(tx, [str(visit.event_id) for visit in visits])
    chassis_recall.keep(tx, lost)
    return len(lost)


def recalled(job: Job, event: Event) -> Job:
    """The job after a visit, or after one event of its own. Nothing changes one that is closed."""
    if job.state in TABLE.final:
        return job
    match event:
        case VisitScheduled():
            return replace(evolve(job, event, event.occurred_at), state="assigned")
        case FieldworkCompleted(results=results, note=note):
            results_json = results.model_dump(mode="json")
            return replace(job, state="completed", closed_at=event.occurred_at, results=results_json, note=note)
        case FieldworkRejected(reason_code=code, note=note):
            return replace(job, state="rejected", closed_at=event.occurred_at, reason_code=code, note=note)
        case FieldworkCancelled():
            return replace(job, state="cancelled", closed_at=event.occurred_at)
    return job


def _in_order(events: Sequence[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event.event_id)
