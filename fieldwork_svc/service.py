"""fieldwork: the technicians' jobs. Entrypoints only; decisions are in `domain.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from chassis import clock
from chassis.batch import batch_handler
from chassis.db import Store
from chassis.rpc_server import rpc
from chassis.saga import Saga
from chassis.service import OperatedService
from chassis.table import Refused
from contracts.errors import Conflict, Invalid, NotFound
from contracts.events import Event, decode
from contracts.ids import order_id_of
from fieldwork_svc import domain, models, queries

SAGA = Saga(domain.TABLE, domain.Job, models.table, evolve=domain.evolve, event=domain.event)

MAX_LIMIT = 200


class FieldworkService(OperatedService):
    """Jobs: assigned by `visit_scheduled`, closed by the technician or by a cancel, whichever comes first."""

    name = "fieldwork"
    store = Store(models.Base)

    @batch_handler(decode, *domain.CONSUMES)
    def on_events(self, events: Sequence[Event]) -> None:
        """Assign, move and withdraw jobs."""
        with self.store.transaction() as tx:
            jobs = SAGA.load(tx, {event.order_id for event in events})
            SAGA.handle(tx, domain.without_stale(jobs, events))

    @rpc
    def list_jobs(
        self,
        technician_id: str | None = None,
        date: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """Return a page of the jobs of a local day (`TIMEZONE`; today where left out), of one technician or all."""
        zone = ZoneInfo(self.settings.get("TIMEZONE", "Asia/Seoul"))
        day = clock.utc_now().astimezone(zone).date() if date is None else domain.parse_day(date)
        start, end = domain.day_bounds(day, zone)
        if not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
            raise Invalid("limit is out of range", [{"field": "limit", "message": f"must be 1 to {MAX_LIMIT}"}])
        with self.store.read() as conn:
            return queries.list_jobs(conn, technician_id, start, end, limit, cursor)

    @rpc
    def get_job(self, order_id: str) -> dict[str, Any]:
        """Return the order's job. Raises NotFound."""
        with self.store.read() as conn:
            job = queries.get_job(conn, order_id_of(order_id))
        if job is None:
            raise NotFound(f"there is no job for order {order_id}")
        return job

    @rpc
    def start_job(self, order_id: str, technician_id: str) -> dict[str, Any]:
        """The technician is on site. Raises NotFound, Forbidden, Conflict."""
        return self._act(domain.Start(order_id_of(order_id), technician_id))

    @rpc
    def complete_job(
        self, order_id: str, technician_id: str, results: dict[str, Any], note: str | None = ""
    ) -> dict[str, Any]:
        """Installed: the pivot, nothing is undone from here. Raises NotFound, Forbidden, Conflict, Invalid."""
        return self._act(domain.complete(order_id_of(order_id), technician_id, results, note))

    @rpc
    def reject_job(
        self, order_id: str, technician_id: str, reason_code: str, note: str | None = ""
    ) -> dict[str, Any]:
        """Could not be installed (반송). Raises NotFound, Forbidden, Conflict, Invalid."""
        return self._act(domain.reject(order_id_of(order_id), technician_id, reason_code, note))

    def _act(self, command: domain.Command) -> dict[str, Any]:
        with self.store.transaction() as tx:
            job = SAGA.load(tx, [command.order_id])[command.order_id]
            domain.check_owner(job, command.technician_id)
            if not domain.is_repeat(job, command):
                try:
                    job = SAGA.command(tx, command).after
                except Refused as refused:
                    raise Conflict(refused.why) from refused
            return queries.as_answer(job)
