"""scheduling: visits, their call queue and their appointments. Entrypoints only; decisions are in `domain.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chassis.batch import batch_handler
from chassis.db import Store, Tx
from chassis.hints import Hints
from chassis.rpc_server import rpc
from chassis.saga import Saga
from chassis.service import OperatedService
from chassis.table import NONE, Refused
from contracts.changes import EXCHANGE, Change
from contracts.errors import Conflict, Invalid, NotFound
from contracts.events import Event, decode
from contracts.rpc import Page, VisitAnswer, VisitRequest
from scheduling_svc import appointments, board, call_queue, claims, domain, models, pruning, queries
from scheduling_svc.policy import Policies
from scheduling_svc.requests import (
    Appointment,
    BoardDay,
    Call,
    NextClaim,
    OneOrder,
    Outcome,
    VisitClaim,
    VisitList,
    checked,
    moment,
    result_of,
    visit_request,
)

SAGA = Saga(domain.TABLE, domain.Visit, models.visits, evolve=domain.evolve, event=domain.event)


class SchedulingService(OperatedService):
    """Calls the customer, fixes the visit, assigns a technician."""

    name = "scheduling"
    store = Store(models.Base)
    prunes = (pruning.CALL_ATTEMPTS,)
    policies = Policies()
    hints = Hints(EXCHANGE)

    @batch_handler(decode, *domain.CONSUMES)
    def on_events(self, events: Sequence[Event]) -> None:
        """Cancel and close visits; the windows of closed ones are free again."""
        with self.store.transaction() as tx:
            steps = SAGA.handle(tx, events)
            closed = {s.after.order_id for s in steps if not s.ignored and s.after.state in domain.TABLE.final}
            appointments.free(tx, closed)
            claims.drop(tx, closed)
            self._announce(tx, *dict.fromkeys(s.after.order_id for s in steps if not s.ignored))

    @rpc
    def request_visit(self, **request: Any) -> dict[str, Any]:
        """Put a visit into the call queue (VisitRequest as keywords); repeating it changes nothing.

        Returns a VisitAnswer: `cancelled` where a cancel came first. Raises Invalid.
        """
        wanted = visit_request(request)
        return VisitAnswer(outcome=self._queue_up([wanted])[wanted.order_id]).model_dump()

    @rpc
    def request_visits(self, requests: list[Any]) -> list[dict[str, Any]]:
        """Put several visits into the call queue (a VisitRequest each): a VisitResult for each, in their order.

        Repeating them changes nothing. A request that is not valid is answered so, and spoils none of the others.
        """
        wanted: list[VisitRequest | Invalid] = []
        for request in requests:
            try:
                wanted.append(visit_request(request))
            except Invalid as error:
                wanted.append(error)
        outcomes = self._queue_up([each for each in wanted if isinstance(each, VisitRequest)])
        results = [result_of(request, each, outcomes) for request, each in zip(requests, wanted, strict=True)]
        return [result.model_dump(mode="json") for result in results]

    @rpc
    def list_visits(self, state: str | None = None, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """Return a page of the call queue, whom to call first; or of the visits in `state`. Raises Invalid."""
        wanted = checked(VisitList, state=state, limit=limit, cursor=cursor)
        with self.store.read() as conn:
            now = self.store.now(conn)
            visits, following = call_queue.list_visits(
                conn, wanted.state, wanted.limit, wanted.cursor, self.policies.urgency, now
            )
            items = self._answers(conn, visits, now)
        return Page(items=items, next_cursor=following).model_dump()

    @rpc
    def get_visit(self, order_id: str) -> dict[str, Any]:
        """Return the visit with its call `attempts`, oldest first. Raises NotFound, Invalid."""
        wanted = checked(OneOrder, order_id=order_id).order_id
        with self.store.read() as conn:
            visit = queries.visit_row(conn, wanted)
            if visit is None:
                raise _unknown(wanted)
            answer = self._answers(conn, [visit], self.store.now(conn))[0]
            return answer | {"attempts": queries.call_attempts(conn, wanted)}

    @rpc
    def claim_visit(self, order_id: str, by: str) -> dict[str, Any]:
        """Say that `by` is on the phone with this customer, or still is; return the visit.

        The claim ends CLAIM_S seconds later, when released, or when its holder records the call or fixes the
        appointment. Raises NotFound, Invalid, Conflict (another's claim stands, or the visit is closed).
        """
        wanted = checked(VisitClaim, order_id=order_id, by=by)
        with _refusals_as_conflicts(), self.store.transaction() as tx:
            visit = _locked(tx, wanted.order_id)
            domain.TABLE.decide(visit.state, domain.FixAppointment.trigger)
            if not claims.claim(tx, wanted.order_id, wanted.by, self.policies.claim_lasts):
                self._announce(tx, wanted.order_id)
            return self._answers(tx.conn, [visit], tx.now)[0]

    @rpc
    def claim_next(self, by: str) -> dict[str, Any] | None:
        """Claim the first due visit in the call order that nobody holds; return it, None where there is none.

        Two who ask at once get two visits. A visit whose customer refused is not handed out. Raises Invalid.
        """
        wanted = checked(NextClaim, by=by)
        with self.store.transaction() as tx:
            order_id = claims.claim_next(tx, wanted.by, self.policies.claim_lasts, self.policies.urgency)
            visit = None if order_id is None else queries.visit_row(tx.conn, order_id)
            if visit is None:
                return None
            self._announce(tx, visit.order_id)
            return self._answers(tx.conn, [visit], tx.now)[0]

    @rpc
    def release_visit(self, order_id: str, by: str) -> dict[str, Any]:
        """End the caller's claim, if there is one; another's stays. Return the visit. Raises NotFound, Invalid."""
        wanted = checked(VisitClaim, order_id=order_id, by=by)
        with self.store.transaction() as tx:
            visit = _locked(tx, wanted.order_id)
            claims.release(tx, wanted.order_id, wanted.by)
            self._announce(tx, wanted.order_id)
            return self._answers(tx.conn, [visit], tx.now)[0]

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
        """Record a call attempt, end the caller's claim, and return the visit. Raises NotFound, Conflict, Invalid.

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
                claims.check(tx, call.order_id, call.by)
                self._end_call(tx, call.order_id, call.by)
            return self._answers(tx.conn, [visit], tx.now)[0]

    @rpc
    def free_windows(self, order_id: str, from_: str | None = None, to: str | None = None) -> dict[str, Any]:
        """Return the free windows from `from_` (or now) for WINDOW_DAYS days, or until `to` where that is sooner.

        `{"items": [{"window_start", "window_end", "technicians": [{"id", "name"}, best first]}]}`; both bounds are
        RFC 3339 times or local dates. Raises NotFound, Conflict, Invalid.
        """
        wanted = checked(OneOrder, order_id=order_id).order_id
        grid = self.policies.grid
        first = None if from_ is None else moment("from", from_, grid)
        last = None if to is None else moment("to", to, grid)
        with _refusals_as_conflicts(), self.store.read() as conn:
            now = self.store.now(conn)
            visit = queries.visit_row(conn, wanted)
            if visit is None:
                raise _unknown(wanted)
            domain.TABLE.decide(visit.state, domain.FixAppointment.trigger)
            windows = grid.between(first or now, last or now + grid.horizon, now)
            return {"items": queries.free_windows(conn, visit, windows, grid)}

    @rpc
    def set_appointment(
        self,
        order_id: str,
        window_start: str,
        window_end: str,
        technician_id: str | None = None,
        by: str = "unknown",
        revision: int | None = None,
        note: str | None = None,
    ) -> dict[str, Any]:
        """Fix or move the visit, with the best technician where none is named; return the visit.

        With a `note`, which may be empty, it was agreed in a call, which is recorded. The caller's claim ends.
        Setting what stands already changes nothing. Raises NotFound, Invalid, Conflict (taken, closed, another is on
        the phone with the customer, or the visit no longer has this `revision`).
        """
        wanted = checked(
            Appointment, order_id=order_id, by=by, window_start=window_start, window_end=window_end,
            technician_id=technician_id, revision=revision, note=note,
        )
        with _refusals_as_conflicts(), self.store.transaction() as tx:
            visit = _locked(tx, wanted.order_id)
            domain.TABLE.decide(visit.state, domain.FixAppointment.trigger)
            command = appointments.fix(tx, visit, wanted, self.policies.grid)
            if command is not None:
                _check_revision(visit, wanted.revision)
                visit = SAGA.command(tx, command).after
                claims.check(tx, wanted.order_id, wanted.by)
                queries.add_agreed_call(tx.conn, tx.new_id(), wanted, tx.now)
            self._end_call(tx, wanted.order_id, wanted.by)
            return self._answers(tx.conn, [visit], tx.now)[0]

    @rpc
    def day_board(self, date: str) -> dict[str, Any]:
        """Return the `DayBoard` of a local day: who works when, and who is booked. Raises Invalid."""
        wanted = checked(BoardDay, date=date)
        with self.store.read() as conn:
            return board.day_board(conn, wanted.date, self.policies.grid).model_dump(mode="json")

    @rpc
    def list_technicians(self) -> dict[str, Any]:
        """Return every technician with skills, areas, shifts and load (`{"items": [...]}`)."""
        with self.store.read() as conn:
            return {"items": queries.technician_answers(conn, self.policies.grid, self.store.now(conn))}

    def _queue_up(self, wanted: Sequence[VisitRequest]) -> dict[UUID, Outcome]:
        """What became of each order. Mostly nobody has heard of any, so only those that are known are looked up."""
        commands = [domain.requested(request) for request in wanted]
        outcomes: dict[UUID, Outcome] = {}
        if commands:
            with self.store.single() as tx:
                added = call_queue.add(tx, SAGA, commands)
                self._announce(tx, *added)
            outcomes |= dict.fromkeys(added, "accepted")
        known = [command for command in commands if command.order_id not in outcomes]
        if known:
            with self.store.transaction() as tx:
                steps = SAGA.commands(tx, known)
                self._announce(tx, *(step.after.order_id for step in steps if not step.ignored))
            for step in steps:
                outcomes[step.after.order_id] = "cancelled" if step.after.state == "cancelled" else "accepted"
        return outcomes

    def _answers(self, conn: sa.Connection, visits: Sequence[domain.Visit], now: datetime) -> list[dict[str, Any]]:
        held = claims.live(conn, [visit.order_id for visit in visits], now)
        return [queries.visit_answer(v, held.get(v.order_id), self.policies.urgency, now) for v in visits]

    def _end_call(self, tx: Tx, order_id: UUID, by: str) -> None:
        claims.release(tx, order_id, by)
        self._announce(tx, order_id)

    def _announce(self, tx: Tx, *order_ids: UUID) -> None:
        hints = [Change("visits", str(order_id)) for order_id in order_ids]
        tx.after_commit(lambda: self.hints.announce(hints))


def _locked(tx: Tx, order_id: UUID) -> domain.Visit:
    visit = SAGA.load(tx, [order_id])[order_id]
    if visit.state == NONE:
        raise _unknown(order_id)
    return visit


def _check_revision(visit: domain.Visit, revision: int | None) -> None:
    if revision not in (None, visit.revision):
        raise Conflict(f"somebody moved this visit meanwhile: it has revision {visit.revision}, not {revision}")


def _unknown(order_id: UUID) -> NotFound:
    return NotFound(f"no visit has been requested for order {order_id}")


@contextmanager
def _refusals_as_conflicts() -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        raise Conflict(refused.why) from refused
