"""fieldwork: the technicians' jobs. Entrypoints only; decisions are in `domain.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from chassis import clock
from chassis.batch import batch_handler
from chassis.db import Store, Tx
from chassis.hints import Hints
from chassis.rpc_server import rpc
from chassis.saga import Saga
from chassis.service import OperatedService
from chassis.table import Refused
from contracts.changes import EXCHANGE, Change
from contracts.errors import Conflict, Invalid, NotFound
from contracts.events import Event, decode
from contracts.ids import order_id_of
from fieldwork_svc import domain, models, photos, pruning, queries

SAGA = Saga(domain.TABLE, domain.Job, models.table, evolve=domain.evolve, event=domain.event)

MAX_LIMIT = 200


class FieldworkService(OperatedService):
    """Jobs: assigned by `visit_scheduled`, closed by the technician or by a cancel, whichever comes first."""

    name = "fieldwork"
    store = Store(models.Base)
    prunes = (pruning.PHOTOS,)
    hints = Hints(EXCHANGE)

    @batch_handler(decode, *domain.CONSUMES)
    def on_events(self, events: Sequence[Event]) -> None:
        """Assign, move and withdraw jobs."""
        with self.store.transaction() as tx:
            jobs = SAGA.load(tx, {event.order_id for event in events})
            steps = SAGA.handle(tx, domain.without_stale(jobs, events))
            self._announce(tx, [job for step in steps if not step.ignored for job in (step.before, step.after)])

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
    def get_job(self, order_id: str, technician_id: str | None = None) -> dict[str, Any]:
        """Return the order's job; with `technician_id`, only where it is theirs. Raises NotFound, Forbidden."""
        with self.store.read() as conn:
            return self._job(conn, order_id, technician_id)

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

    @rpc
    def add_photo(
        self, order_id: str, technician_id: str, photo_id: str, media_type: str, content_b64: str
    ) -> dict[str, Any]:
        """Keep a photo of the site, once for each id. Raises NotFound, Forbidden, Conflict, Invalid."""
        key, picture = photos.photo_id_of(photo_id), photos.read(media_type, content_b64)
        with self.store.transaction() as tx:
            order = order_id_of(order_id)
            job = SAGA.load(tx, [order])[order]
            domain.check_owner(job, technician_id)
            if not photos.is_kept(tx.conn, order, key, picture):
                domain.check_takes_photos(job)
                photos.keep(tx.conn, order, key, technician_id, picture, tx.now)
                self._announce(tx, [job])
        return {"photo_id": str(key)}

    @rpc
    def list_photos(self, order_id: str, technician_id: str | None = None) -> dict[str, Any]:
        """Return what is known of the job's photos; with `technician_id`, of their own job only.

        Raises NotFound, Forbidden.
        """
        with self.store.read() as conn:
            self._job(conn, order_id, technician_id)
            return photos.list_photos(conn, order_id_of(order_id))

    @rpc
    def get_photo(self, order_id: str, photo_id: str, technician_id: str | None = None) -> dict[str, Any]:
        """Return one picture; with `technician_id`, of their own job only. Raises NotFound, Forbidden."""
        with self.store.read() as conn:
            self._job(conn, order_id, technician_id)
            return photos.get_photo(conn, order_id_of(order_id), photo_id)

    def _job(self, conn: sa.Connection, order_id: str, technician_id: str | None) -> dict[str, Any]:
        job = queries.get_job(conn, order_id_of(order_id))
        if job is None:
            raise NotFound(f"there is no job for order {order_id}")
        domain.check_reader(job["technician_id"], technician_id)
        return job

    def _act(self, command: domain.Command) -> dict[str, Any]:
        with self.store.transaction() as tx:
            job = SAGA.load(tx, [command.order_id])[command.order_id]
            domain.check_owner(job, command.technician_id)
            if not domain.is_repeat(job, command):
                try:
                    job = SAGA.command(tx, command).after
                except Refused as refused:
                    raise Conflict(refused.why) from refused
                self._announce(tx, [job])
            return queries.as_answer(job, photos.count(tx.conn, job.order_id))

    def _announce(self, tx: Tx, jobs: Iterable[domain.Job]) -> None:
        """After the commit, tell whoever shows the jobs of these technicians; of a moved job, the old and the new."""
        technicians = {job.technician_id for job in jobs if job.technician_id is not None}
        changes = [Change("jobs", technician_id) for technician_id in sorted(technicians)]
        tx.after_commit(lambda: self.hints.announce(changes))
