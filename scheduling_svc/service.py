"""scheduling: visits, their call queue and their appointments. Entrypoints only; decisions are in `domain.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from chassis import clock
from chassis.batch import batch_handler
from chassis.db import Store, Tx
from chassis.rpc_server import rpc
from chassis.saga import Saga
from chassis.service import OperatedService
from chassis.table import NONE, Refused
from contracts.errors import Conflict, NotFound
from contracts.events import Event, decode
from contracts.rpc import Page, VisitAnswer, VisitRequest
from scheduling_svc import appointments, domain, models, queries
from scheduling_svc.policy import Policies
from scheduling_svc.requests import Appointment, Call, OneOrder, VisitList, checked, moment

SAGA = Saga(domain.TABLE, domain.Visit, models.visits, evolve=domain.evolve, event=domain.event)


class SchedulingService(OperatedService):
    """Calls the customer, fixes the visit, assigns a technician."""

    name = "scheduling"
    store = Store(models.Base)
    policies = Policies()

    @batch_handler(decode, *domain.CONSUMES)
    def on_events(self, events: Sequence[Event]) -> None:
        """Cancel and close visits; the windows of closed ones are free again."""
        with self.store.transaction() as tx:
            steps = SAGA.handle(tx, events)
            closed = {s.after.order_id for s in steps if not s.ignored and s.after.state in domain.TABLE.final}
            appointments.free(tx, closed)

    @rpc
    def request_visit(self, **request: Any) -> dict[str, Any]:
        """Put a visit into the call queue (VisitRequest as keywords); repeating it changes nothing.

        Returns a VisitAnswer: `cancelled` where a cancel came first. Raises Invalid.
        """
        wanted = checked(VisitRequest, **request)
        value = wanted.model_dump(mode="json")
        command = domain.RequestVisit(wanted.order_id, value["customer"], value["address"], value["items"])
        with self.store.transaction() as tx:
            state = SAGA.command(tx, command).after.state
        return VisitAnswer(outcome="cancelled" if state == "cancelled" else "accepted").model_dump()

    @rpc
    def list_visits(self, state: str | None = None, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """Return a page of the call queue, whom to call first; or of the visits in `state`. Raises Invalid."""
        wanted = checked(VisitList, state=state, limit=limit, cursor=cursor)
        now = clock.utc_now()
        with self.store.read() as conn:
            visits, following = queries.list_visits(conn, wanted.state, wanted.limit, wanted.cursor, now)
        return Page(items=[queries.visit_answer(v, now) for v in visits], next_cursor=following).model_dump()

    @rpc
    def get_visit(self, order_id: str) -> dict[str, Any]:
        """Return the visit with its call `attempts`, oldest first. Raises NotFound, Invalid."""
        wanted = checked(OneOrder, order_id=order_id).order_id
        with self.store.read() as conn:
            visit = queries.visit_row(conn, wanted)
            if visit is None:
                raise _unknown(wanted)
            attempts = queries.call_attempts(conn, wanted)
        return queries.visit_answer(visit, clock.utc_now()) | {"attempts": attempts}

    @rpc
    def record_call(
        self,
        order_id: str,
        by: str,
        outcome: str,
        note: str | None = None,
        call_back_at: str | None = None,
        call_id: str | None = None,
    ) -> dict[str, Any]:
        """Record a call attempt and return the visit. Raises NotFound, Conflict, Invalid.

        `call_id` (a UUID) makes a repeat harmless: a request can be delivered twice when the broker is lost.
        """
        call = checked(
            Call, order_id=order_id, by=by, outcome=outcome, note=note or "", call_back_at=call_back_at, call_id=call_id
        )
        with _refusals_as_conflicts(), self.store.transaction() as tx:
            visit = _locked(tx, call.order_id)
            judged = domain.judge_call(visit, call.outcome, call.note, call.call_back_at, self.policies.calls, tx.now)
            command = replace(judged, message_id=str(call.call_id or tx.new_id()))
            for step in SAGA.handle(tx, [command]):
                visit = step.after
                queries.add_call_attempt(tx.conn, UUID(step.message.message_id), call, tx.now)
        return queries.visit_answer(visit, tx.now)

    @rpc
    def free_windows(self, order_id: str, from_: str | None = None, to: str | None = None) -> dict[str, Any]:
        """Return the free windows from `from_` (or now) for WINDOW_DAYS days, or until `to` where that is sooner.

        `{"items": [{"window_start", "window_end", "technicians": [{"id", "name"}, best first]}]}`; both bounds are
        RFC 3339 times or local dates. Raises NotFound, Conflict, Invalid.
        """
        wanted = checked(OneOrder, order_id=order_id).order_id
        grid, now = self.policies.grid, clock.utc_now()
        first = now if from_ is None else moment("from", from_, grid)
        last = now + grid.horizon if to is None else moment("to", to, grid)
        with _refusals_as_conflicts(), self.store.read() as conn:
            visit = queries.visit_row(conn, wanted)
            if visit is None:
                raise _unknown(wanted)
            domain.TABLE.decide(visit.state, domain.FixAppointment.trigger)
            return {"items": queries.free_windows(conn, visit, grid.between(first, last, now), grid)}

    @rpc
    def set_appointment(
        self, order_id: str, window_start: str, window_end: str, technician_id: str | None = None, by: str = "unknown"
    ) -> dict[str, Any]:
        """Fix or move the visit, with the best technician where none is named; return the visit.

        Setting what stands already changes nothing. Raises NotFound, Conflict (taken, or closed), Invalid.
        """
        wanted = checked(
            Appointment, order_id=order_id, by=by, window_start=window_start, window_end=window_end,
            technician_id=technician_id,
        )
        with _refusals_as_conflicts(), self.store.transaction() as tx:
            visit = _locked(tx, wanted.order_id)
            domain.TABLE.decide(visit.state, domain.FixAppointment.trigger)
            command = appointments.fix(tx, visit, wanted, self.policies.grid)
            if command is not None:
                visit = SAGA.command(tx, command).after
        return queries.visit_answer(visit, tx.now)

    @rpc
    def list_technicians(self) -> dict[str, Any]:
        """Return every technician with skills, areas, shifts and load (`{"items": [...]}`)."""
        with self.store.read() as conn:
            return {"items": queries.technician_answers(conn, self.policies.grid, clock.utc_now())}


def _locked(tx: Tx, order_id: UUID) -> domain.Visit:
    visit = SAGA.load(tx, [order_id])[order_id]
    if visit.state == NONE:
        raise _unknown(order_id)
    return visit


def _unknown(order_id: UUID) -> NotFound:
    return NotFound(f"no visit has been requested for order {order_id}")


@contextmanager
def _refusals_as_conflicts() -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        raise Conflict(refused.why) from refused
